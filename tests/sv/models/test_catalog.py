"""The list of encoders, and the page that shows it."""

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


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.names())
def test_what_is_told_is_true_of_the_network(name: str) -> None:
    assert describe(name) == measure(name), "run steps/list_models.py --renew"


def test_an_encoder_that_is_not_in_the_file_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = catalog._FILE.read_text().splitlines(keepends=True)
    monkeypatch.setattr(catalog, "_FILE", tmp_path / "catalog.csv")
    catalog._FILE.write_text("".join(row for row in rows if not row.startswith("XVEC,")))
    assert describe("XVEC").parameters == 4_610_524


def test_the_page_shows_all_encoders(root: Path) -> None:
    page = (root / "docs" / "models.md").read_text()
    assert "\n".join(table([])) in page
    assert all(f"| `{name}` |" in page for name in MODELS.names())
