"""EER and minDCF of score files of any length, exact, from counts of the distinct scores.

A score file holds five decimals: cosines take at most 200,001 values, and 50 million of them need no more memory than
half a million. The counts are all that EER and minDCF depend on, since tied trials are accepted or rejected together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import Scores, iter_scores
from sv.scoring.metrics import Metrics

_CHUNK = 1 << 20  # scores gathered before they are counted


@dataclass(frozen=True)
class ScoreCounts:
    """How often each score occurs.

    Attributes:
        values: (distinct,) float64, rising.
        target, nontarget: (distinct,) int64, trials that have it.
    """

    values: NDArray[np.float64]
    target: NDArray[np.int64]
    nontarget: NDArray[np.int64]

    def merge(self, values: NDArray[np.float64], is_target: NDArray[np.bool_]) -> "ScoreCounts":
        """These counts and those of further trials; each (trials,)."""
        distinct, row = np.unique(np.concatenate([self.values, values]), return_inverse=True)
        old, new = row[: len(self.values)], row[len(self.values) :]
        target = np.bincount(new[is_target], minlength=len(distinct))
        nontarget = np.bincount(new[~is_target], minlength=len(distinct))
        target[old] += self.target
        nontarget[old] += self.nontarget
        return ScoreCounts(distinct, target, nontarget)


def count_scores(blocks: Iterable[Scores]) -> ScoreCounts:
    """Counts of the scores of labelled blocks, such as `iter_scores` gives.

    Raises:
        UserError: scores without labels.
    """
    none = np.empty(0, dtype=np.int64)
    counts, waiting, size = ScoreCounts(np.empty(0), none, none), [], 0
    for block in blocks:
        if block.is_target is None:
            raise UserError("scores without labels; score a trial list 'enroll test target|nontarget'")
        waiting.append((block.values, block.is_target))
        size += len(block.values)
        if size >= _CHUNK:
            counts, waiting, size = _count(counts, waiting), [], 0
    return _count(counts, waiting)


def _count(counts: ScoreCounts, waiting: list[tuple[NDArray[Any], NDArray[np.bool_]]]) -> ScoreCounts:
    if not waiting:
        return counts
    values, labels = zip(*waiting, strict=True)
    return counts.merge(np.concatenate(values), np.concatenate(labels))


def evaluate_file(path: str | Path, p_targets: Sequence[float] = (0.01, 0.05)) -> Metrics:
    """`evaluate` of a score file that need not fit into memory; the same numbers.

    Raises:
        UserError: a file that can not be read; without labels; without targets or non-targets.
    """
    try:
        return evaluate_counts(count_scores(iter_scores(path)), p_targets)
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def evaluate_counts(counts: ScoreCounts, p_targets: Sequence[float] = (0.01, 0.05)) -> Metrics:
    """`evaluate` of counted scores: EER in percent, minDCF at each prior, and their thresholds.

    Raises:
        UserError: no targets or no non-targets; a prior out of its range.
    """
    num_target, num_nontarget = int(counts.target.sum()), int(counts.nontarget.sum())
    for number, kind in ((num_target, "target"), (num_nontarget, "nontarget")):
        if number == 0:
            raise UserError(f"no {kind} trials; EER and minDCF need trials of both kinds, target and nontarget")
    thresholds = np.append(counts.values, np.nextafter(counts.values[-1], np.inf))
    missed = np.append(0, np.cumsum(counts.target))  # below each threshold
    rejected = np.append(0, np.cumsum(counts.nontarget))
    miss, accept = missed / num_target, (num_nontarget - rejected) / num_nontarget
    equal, equal_threshold = _eer(thresholds, miss, accept)
    costs = {p: _min_dcf(thresholds, miss, accept, p) for p in p_targets}
    return Metrics(
        eer=equal,
        eer_threshold=equal_threshold,
        min_dcf={p: cost for p, (cost, _) in costs.items()},
        min_dcf_threshold={p: threshold for p, (_, threshold) in costs.items()},
        num_target=num_target,
        num_nontarget=num_nontarget,
    )


def _eer(
    thresholds: NDArray[np.float64], miss: NDArray[np.float64], accept: NDArray[np.float64]
) -> tuple[float, float]:
    """On the straight line between the two operating points where miss overtakes false accept."""
    after = int(np.argmax(miss >= accept))  # never the first: there all are accepted
    before = after - 1
    gap_before, gap_after = accept[before] - miss[before], miss[after] - accept[after]
    share = gap_before / (gap_before + gap_after)
    nearer = before if gap_before <= gap_after else after
    return float(100 * (miss[before] + share * (miss[after] - miss[before]))), float(thresholds[nearer])


def _min_dcf(
    thresholds: NDArray[np.float64], miss: NDArray[np.float64], accept: NDArray[np.float64], p_target: float
) -> tuple[float, float]:
    if not 0 < p_target < 1:
        raise UserError(f"p_target {p_target}: expected 0 < p_target < 1")
    cost = p_target * miss + (1 - p_target) * accept
    lowest = int(np.argmin(cost))
    return float(cost[lowest]) / min(p_target, 1 - p_target), float(thresholds[lowest])
