"""docs/sphereface2.md: what it says of the gradients, and that its pictures are drawn."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plot_sphereface2", ROOT / "docs" / "plot_sphereface2.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wrong_labels_pull_less_than_in_aam(drawing: ModuleType) -> None:
    torch.manual_seed(0)

    def at(slope: Tensor, degrees: float) -> float:
        return float(slope[int((drawing.DEGREES - degrees).abs().argmin())])

    (c, _), (a, _), (aam, _) = drawing.pulls("C"), drawing.pulls("A"), drawing.aam_pulls(40)
    assert [round(at(slope, degrees)) for slope, degrees in ((c, 62), (c, 90), (a, 64), (a, 90))] == [32, 17, 26, 12]
    assert at(aam, 65) == pytest.approx(at(aam, 90), rel=0.05) and at(aam, 90) > 1.8 * at(c, 90)


def test_only_in_aam_another_speaker_pulls_by_how_hard_the_own_one_is(drawing: ModuleType) -> None:
    torch.manual_seed(0)
    at_60 = int((drawing.DEGREES - 60).abs().argmin())
    easy, hard = (drawing.aam_pulls(degrees)[1][at_60] for degrees in (40, 70))
    assert hard > 20 * easy


def test_the_measured_curves_are_those_of_the_study(drawing: ModuleType) -> None:
    found = drawing.measured_options()
    table = (ROOT / "egs" / "speechocean762" / "STUDY.md").read_text().partition("| option |")[2].partition("\n\n")[0]
    values = {option: list(eers) for option, eers in found.items()}
    assert values == {
        "lambda": [0.5, 0.6, 0.7, 0.8, 0.9],
        "t": [1, 2, 3, 5],
        "margin": [0.1, 0.2, 0.3, 0.4],
        "scale": [16, 32, 64],
    }
    for option, value, row in (("lambda", 0.5, "`--lambda 0.5`"), ("scale", 64, "64"), ("t", 3, "plain")):
        assert f"| {row} | {' | '.join(f'{eer:.2f}' for eer in found[option][value])} |" in table


@pytest.mark.slow
def test_pictures_are_drawn(drawing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_IMAGES", tmp_path)
    monkeypatch.setattr("sys.argv", ["plot_sphereface2.py"])
    drawing.main()
    text = (ROOT / "docs" / "sphereface2.md").read_text()
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes().startswith(b"\x89PNG") and f"(images/{path.name})" in text
    assert len(list(tmp_path.iterdir())) == 5
