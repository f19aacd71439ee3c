"""docs/plot_half_labelled.py: maps keep speakers together and in their places; the picture is drawn."""

import importlib.util
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from sv.io import ArkWriter, write_table

ROOT = Path(__file__).parents[2]
SPEAKER = np.repeat(np.arange(4), 12)


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plot_half_labelled", ROOT / "docs" / "plot_half_labelled.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unit(spread: float, seed: int = 1) -> NDArray[np.float64]:
    """48 embeddings of 4 speakers, of length 1."""
    centers = np.random.default_rng(0).normal(size=(4, 16))
    rows = centers[SPEAKER] + spread * np.random.default_rng(seed).normal(size=(48, 16))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def means(place: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([place[number == SPEAKER].mean(axis=0) for number in range(4)])


def test_a_map_keeps_speakers_together_and_a_second_one_in_their_places(drawing: ModuleType) -> None:
    before = drawing.tsne(unit(0.5), None)
    after = drawing.tsne(unit(0.3, seed=2), before)
    for place in (before, after):
        distances = np.linalg.norm(place[:, None] - means(place), axis=2)
        assert (distances.argmin(axis=1) == SPEAKER).all()
    moved = np.linalg.norm(means(before)[:, None] - means(after), axis=2)
    assert (moved.argmin(axis=1) == np.arange(4)).all()


@pytest.mark.slow
@pytest.mark.parametrize("doubts", [False, True])
def test_the_picture_is_drawn(
    step: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, doubts: bool
) -> None:
    utts = [f"u{number:02}" for number in range(48)]
    truth = {utt: f"s{number}" for utt, number in zip(utts, SPEAKER, strict=True)}
    write_table(tmp_path / "truth", truth)
    for number in range(2):
        folder = tmp_path / "exp" / f"round{number}"
        (folder / "embeddings" / "calls").mkdir(parents=True)
        with ArkWriter(folder / "embeddings/calls/xvector.ark", folder / "embeddings/calls/xvector.scp") as writer:
            for utt, row in zip(utts, unit(0.5 - 0.2 * number), strict=True):
                writer.write(utt, row.astype(np.float32))
        (folder / "clusters").mkdir()
        write_table(folder / "clusters" / "utt2spk", {utt: f"c{spk}" for utt, spk in list(truth.items())[2:]})
        report = {"clusters": 4, "nmi": 1.0, "shrinkage": 1.0 if number else 0.3}
        (folder / "clusters" / "clusters.json").write_text(json.dumps(report))
    (tmp_path / "exp" / "rounds.json").write_text('{"best": 1}')
    if doubts:
        lines = [f"{utt} c{truth[utt]} c{truth[utt]} {0.01 + row / 100} 1\n" for row, utt in enumerate(utts)]
        (tmp_path / "exp/round1/pseudo_labels").write_text("".join(lines))
    done = step("docs/plot_half_labelled.py", tmp_path / "exp", "calls", tmp_path / "truth", tmp_path / "x.png")
    assert done.returncode == 0, done.stderr
    picture = (tmp_path / "x.png").read_bytes()
    width, height = (int.from_bytes(picture[first : first + 4], "big") for first in (16, 20))
    assert picture.startswith(b"\x89PNG") and (width, height) == (1500 if doubts else 1000, 500)
