"""The list of encoders, and the page that shows it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.models import MODELS
from sv.models.catalog import describe, table

Step = Callable[..., subprocess.CompletedProcess[str]]


def test_size_and_flops_of_a_network_by_hand() -> None:
    entry = describe("XVEC")
    frames = (196, 192, 186, 186, 186)
    sizes = ((80 * 5, 512), (512 * 3, 512), (512 * 3, 512), (512, 512), (512, 1500))
    products = sum(count * inputs * outputs for count, (inputs, outputs) in zip(frames, sizes, strict=True))
    products += 3000 * 512 + 512 * 512
    assert entry.flops == 2 * products
    assert (entry.parameters, entry.embedding_dim, entry.checkpoints) == (4_610_524, 512, "WeSpeaker")


def test_step_prints_the_rows_asked_for(step: Step) -> None:
    done = step("steps/list_models.py", "ReDimNet", "resnet_small")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == [
        "| `ReDimNet` |  |  | 192 | ReDimNet's authors |",
        "| `resnet_small` | 0.24 | 0.13 | 128 |  |",
    ]
    rows = [json.loads(line) for line in step("steps/list_models.py", "--json", "ReDimNet", "XVEC").stdout.splitlines()]
    assert [(row["name"], row["parameters"]) for row in rows] == [("ReDimNet", None), ("XVEC", 4_610_524)]


def test_unknown_name_lists_the_known_ones(step: Step) -> None:
    done = step("steps/list_models.py", "ResNet35")
    assert done.returncode == 1 and "unknown model 'ResNet35'; did you mean 'ResNet34'" in done.stderr


@pytest.mark.slow
def test_the_page_shows_all_encoders(root: Path) -> None:
    page = (root / "docs" / "models.md").read_text()
    assert "\n".join(table([])) in page
    assert all(f"| `{name}` |" in page for name in MODELS.names())
