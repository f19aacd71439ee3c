"""The list of encoders, and the page that shows it."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.models import MODELS, catalog
from sv.models.catalog import describe, measure, table

Step = Callable[..., subprocess.CompletedProcess[str]]


def test_size_and_flops_of_a_network_by_hand() -> None:
    entry = measure("XVEC")
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
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.names())
def test_what_is_told_is_true_of_the_network(name: str) -> None:
    assert describe(name) == measure(name), "run steps/list_models.py --renew"


def test_the_list_is_told_without_torch(run: Step) -> None:
    done = run("env", "PYTHONPROFILEIMPORTTIME=1", "steps/list_models.py")
    assert done.returncode == 0 and done.stdout.splitlines() == list(table([]))
    assert re.search(r"\| +pydantic$", done.stderr, re.MULTILINE) and not re.search(
        r"\| +torch$", done.stderr, re.MULTILINE
    )


def test_an_encoder_that_is_not_in_the_file_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = catalog._FILE.read_text().splitlines(keepends=True)
    monkeypatch.setattr(catalog, "_FILE", tmp_path / "catalog.csv")
    catalog._FILE.write_text("".join(row for row in rows if not row.startswith("XVEC,")))
    assert describe("XVEC").parameters == 4_610_524


def test_the_page_shows_all_encoders(root: Path) -> None:
    page = (root / "docs" / "models.md").read_text()
    assert "\n".join(table([])) in page
    assert all(f"| `{name}` |" in page for name in MODELS.names())
