"""steps/score.sh: what is wrong with a call is one line. The recipes' tests run what it does."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exp", "train", "test"], "no trial list to score"),
        (
            ["--backend", "pldaa", "exp", "train", "test", "O"],
            "--backend is one of cos, asnorm, snorm, znorm, tnorm, plda",
        ),
        (["exp", "train"], "wrong number of arguments: 2"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_why(run: Run, words: list[str], message: str) -> None:
    result = run("steps/score.sh", *words)
    assert result.returncode == 2 and message in result.stderr.splitlines()[0]


@pytest.mark.slow
def test_calibration_before_the_embeddings_writes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    where = [tmp_path / "exp", tmp_path / "train", tmp_path / "test"]
    result = run("steps/score.sh", "--calibrate-on", "heldout.kaldi", *where, "O.kaldi")
    assert result.returncode == 1 and "mean_vec.npy does not exist; make it with" in result.stderr
    assert not list((tmp_path / "exp").iterdir())
