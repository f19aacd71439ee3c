"""steps/fuse.py: weights, and scores that do not belong together."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.jobs import DoneMark
from sv.metrics.provenance import origin
from tests.sv.scoring.two_gaussians import make_scored_system, write_scores_file

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    return make_scored_system(tmp_path / "exp")


def mark(path: Path, **options: object) -> None:
    """Mark a score file as made so."""
    DoneMark(path.with_name(f".done.{path.name}"), options).write([path])


@pytest.mark.parametrize("swapped", [False, True])
def test_systems_of_a_fusion_are_the_same_on_both_sides(step: Run, exp: Path, swapped: bool) -> None:
    other = exp.parent / "other"
    for folder, model in ((exp, "a"), (other, "b")):
        for seed, name in enumerate(("heldout.kaldi", "O.kaldi")):
            path = folder / "scores" / f"{name}.score"
            write_scores_file(path, seed + 2 * (model == "b"), name[0])
            mark(path, backend="cos", model_sha256=model * 64, trials_sha256=name)
    heldout = [folder / "scores" / "heldout.kaldi.score" for folder in (exp, other)]
    scores = [folder / "scores" / "O.kaldi.score" for folder in (exp, other)]
    out = exp / "scores" / "fused_O.kaldi.score"
    result = step("steps/fuse.py", "--heldout", *heldout, "--scores", *scores[:: -1 if swapped else 1], "--", out)
    if swapped:
        models = "model is bbbbbbbbbbbb, there aaaaaaaaaaaa"
        told = f"{scores[1]} was not scored like {heldout[0]}: {models}; score both the same way"
        assert (result.returncode, result.stderr) == (1, f"fuse.py: error: {told}\n") and not out.exists()
    else:
        assert result.returncode == 0 and origin(out)["backend"] == "fused", result.stderr


def test_fused_scores_are_written_with_their_weights(step: Run, exp: Path) -> None:
    other = exp.parent / "other" / "scores"
    write_scores_file(other / "heldout.kaldi.score", 5, "h")
    write_scores_file(other / "O.kaldi.score", 6, "O")
    heldout = [folder / "heldout.kaldi.score" for folder in (exp / "scores", other)]
    scores = [folder / "O.kaldi.score" for folder in (exp / "scores", other)]
    out = exp.parent / "fused" / "O.kaldi.score"
    result = step("steps/fuse.py", "--p-target", 0.2, "--heldout", *heldout, "--scores", *scores, "--", out)
    assert result.returncode == 0 and "weights " in result.stderr, result.stderr
    weights = json.loads((out.parent / "O.kaldi.score.json").read_text())
    assert len(weights["weights"]) == 2 and weights["p_target"] == 0.2
