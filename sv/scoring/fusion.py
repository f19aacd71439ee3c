"""Fuse the score files of several systems by weights trained on held-out speakers. Test trials are never held.

No weight is below 0: a higher score of a system never speaks against the same speaker. Scores of one network are alike,
and few held-out speakers would give them large weights of opposite signs, which do not hold for others.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, WrongCall, counted, log
from sv.io import ScoredTrials, ScoreWriter, atomic_write, iter_same_trials
from sv.io.paths import path_from
from sv.io.progress import byte_bar
from sv.metrics.provenance import check_same_enrollment, check_scored_alike, mark_derived
from sv.scoring.calibration import Calibration, fit


def fuse_files(heldout: Sequence[Path], scores: Sequence[Path], out: Path, *, p_target: float = 0.05) -> None:
    """Write the fused log-likelihood ratios, and their weights as OUT.json beside them.

    Args:
        heldout: score files of the held-out speakers' trials, one a system.
        scores: score files of the test trials, the systems in the same order.
        out: file to write.
        p_target: prior at which decisions matter most.

    Raises:
        UserError: files that are given twice or on both sides; files over different trials; a system whose held-out
            trials were scored otherwise; no system scores targets higher; see `fit`.
    """
    _check_files(heldout, scores, out)
    for pair in zip(heldout, scores, strict=True):
        check_scored_alike(pair)
    check_same_enrollment(heldout)
    check_same_enrollment(scores)
    calibration = _train(heldout, [f"score of {path_from(path, out.parent)}" for path in scores], p_target)
    weights = out.with_name(f"{out.name}.json")
    with atomic_write(out) as f, byte_bar(scores[0], out.name) as bar:
        writer = ScoreWriter(f)
        for systems in iter_same_trials(scores):
            writer.write(systems[0].as_trials(), calibration.llrs(_features_of(systems)))
            bar.update(systems[0].num_bytes)
    calibration.save(weights)
    mark_derived(out, scores, weights)
    log.info("weights %s", ", ".join(f"{weight:.3f}" for weight in calibration.weights))


def _check_files(heldout: Sequence[Path], scores: Sequence[Path], out: Path) -> None:
    if len(heldout) != len(scores):
        raise WrongCall(
            f"--heldout has {counted(len(heldout), 'file')}, --scores {len(scores)}; give one a system each"
        )
    known, fused = ({path.resolve() for path in paths} for paths in (heldout, scores))
    if both := known & fused:
        raise UserError(f"{min(both)} is to be fused by weights of its own trials; give --heldout held-out speakers")
    if out.resolve() in known | fused:
        raise UserError(f"{out} would overwrite scores that it is made from; give another file")
    for option, paths in (("--heldout", heldout), ("--scores", scores)):
        if twice := [path for path, count in Counter(paths).items() if count > 1]:
            raise WrongCall(f"{option}: {twice[0]} comes twice; give each system once")


def _train(heldout: Sequence[Path], names: Sequence[str], p_target: float) -> Calibration:
    blocks = [(systems[0].labels(), _features_of(systems)) for systems in iter_same_trials(heldout)]
    is_target, features = (np.concatenate(column) for column in zip(*blocks, strict=True))
    try:
        found = fit(features, is_target, names, p_target=p_target, nonnegative=True)
    except UserError as error:
        raise UserError(f"{heldout[0]}: {error}") from error
    if not any(found.weights):
        raise UserError(
            f"{heldout[0]}: targets do not score higher than non-targets, nor in the other files; if these are "
            "distances, negate them"
        )
    return found


def _features_of(systems: Sequence[ScoredTrials]) -> NDArray[np.float64]:
    """Return the scores of each system, (trials, systems)."""
    return np.column_stack([scores.values for scores in systems])
