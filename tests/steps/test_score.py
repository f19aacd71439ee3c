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
def test_calibration_of_what_is_not_there_names_its_stage_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    exp = tmp_path / "exp"
    (exp / "scores").mkdir(parents=True)
    where = [exp, tmp_path / "train", tmp_path / "test"]
    (exp / "scores" / "O.kaldi.score").touch()

    def error(backend: str) -> str:
        result = run("steps/score.sh", "--backend", backend, "--calibrate-on", "heldout.kaldi", *where, "O.kaldi")
        assert result.returncode == 1
        return result.stderr.replace(f"{exp}/", "")

    made = "heldout.kaldi does not exist; make it with steps/make_calibration_trials.py (stage 7)\n"
    assert error("cos") == f"score.sh: error: calibration/{made}"
    (exp / "calibration").mkdir()
    (exp / "calibration" / "heldout.kaldi").touch()
    assert "mean_vec.npy does not exist; make it with" in error("cos")
    kinds = (("asnorm", "train_asnorm300_", 6), ("snorm", "train_snorm_", 6), ("plda", "plda_", 7))
    for backend, prefix, stage in kinds:
        told = f"scores/{prefix}O.kaldi.score does not exist; score it first (stage {stage})\n"
        assert error(backend) == f"score.sh: error: {told}"
    assert sorted(path.name for path in exp.rglob("*.*")) == ["O.kaldi.score", "heldout.kaldi"]
