"""Fused score files: a weight a system, and the files that are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import read_scored_trials
from sv.metrics.error_rates import min_dcf, sort_scores
from sv.scoring.calibration import fit
from sv.scoring.fusion import fuse_files


def write_scores_file(path: Path, seed: int, name: str) -> Path:
    """100 target and 500 non-target trials, scores of two Gaussians."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True)
    rows = [("target", s) for s in rng.normal(0.6, 0.2, 100)] + [("nontarget", s) for s in rng.normal(0.1, 0.2, 500)]
    path.write_text("".join(f"{name}{i} {name}{i + 1} {s:.5f} {label}\n" for i, (label, s) in enumerate(rows)))
    return path


@pytest.fixture
def systems(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """Held-out and test scores of two systems."""
    heldout = [write_scores_file(tmp_path / system / "heldout.score", seed, "h") for seed, system in enumerate("ab")]
    scores = [write_scores_file(tmp_path / system / "O.score", 2 + seed, "O") for seed, system in enumerate("ab")]
    return heldout, scores


def test_fusion_has_a_weight_a_system_and_is_better_than_one(systems: tuple[list[Path], ...], tmp_path: Path) -> None:
    heldout, scores = systems
    fuse_files(heldout, scores, tmp_path / "O.score")
    assert len(json.loads((tmp_path / "O.score.json").read_text())["weights"]) == 2
    costs = []
    for path in (tmp_path / "O.score", scores[0]):
        found = read_scored_trials(path)
        costs.append(min_dcf(sort_scores(found.values[found.labels()], found.values[~found.labels()]), 0.05))
    assert costs[0] < costs[1]


def test_no_score_speaks_against_the_same_speaker(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    is_target, common = np.arange(600) < 100, rng.normal(0, 0.2, 600)  # an error that both systems make
    values = np.stack([0.5 * is_target + common + rng.normal(0, 0.1, 600), common + rng.normal(0, 0.05, 600)])
    heldout = []
    for name, scores in zip("ab", values, strict=True):
        heldout.append(tmp_path / name / "heldout.score")
        heldout[-1].parent.mkdir()
        rows = zip(scores, np.where(is_target, "target", "nontarget"), strict=True)
        heldout[-1].write_text("".join(f"h{i} h{i + 1} {score:.5f} {kind}\n" for i, (score, kind) in enumerate(rows)))
    scores = [write_scores_file(tmp_path / name / "O.score", 2, "O") for name in "ab"]
    fuse_files(heldout, scores, tmp_path / "O.score")
    first, second = json.loads((tmp_path / "O.score.json").read_text())["weights"]
    assert first > 5 and second == 0
    assert fit(values.T, is_target, ["a", "b"]).weights[1] < -5  # without a bound


def test_files_that_make_no_sense_are_refused(systems: tuple[list[Path], ...], tmp_path: Path) -> None:
    heldout, scores = systems
    out = tmp_path / "fused.score"
    cases = [
        (heldout, scores, scores[0], "would overwrite scores that it is made from"),
        (scores, scores, out, f"{min(scores)} is to be fused by weights of its own trials"),
        (heldout, scores[:1], out, "--heldout has 2 files, --scores 1; give one a system each"),
        (heldout, [scores[0], scores[0]], out, f"--scores: {scores[0]} comes twice"),
        ([heldout[0], heldout[0]], scores, out, f"--heldout: {heldout[0]} comes twice"),
    ]
    for on, of, to, message in cases:
        with pytest.raises(UserError) as caught:
            fuse_files(on, of, to)
        assert message in str(caught.value)
    with pytest.raises(UserError, match=r"heldout\.score: p_target 1\.0"):
        fuse_files(heldout, scores, out, p_target=1.0)
    scores[1].write_text(scores[1].read_text().replace("O7 O8", "X7 O8", 1))
    with pytest.raises(UserError, match=r"O\.score:8: X7 and O8 is not the trial of"):
        fuse_files(heldout, scores, out)
    assert not out.exists()


def test_distances_are_refused(systems: tuple[list[Path], ...], tmp_path: Path) -> None:
    heldout, scores = systems
    for path in heldout:
        rows = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{a} {b} {-float(score):.5f} {label}\n" for a, b, score, label in rows))
    with pytest.raises(UserError, match=r"a/heldout\.score: targets do not score higher .* distances, negate them"):
        fuse_files(heldout, scores, tmp_path / "O.score")
    assert not (tmp_path / "O.score").exists()
