"""The convex hull of the ROC: what scores are worth after the best monotonic recalibration.

Pool-adjacent-violators (PAV) gives each score the share of targets among its neighbours, never falling with the score.
The borders of its pools are the corners of the hull, so one pass gives the hull's EER (ROCCH-EER, never above the plain
EER) and minCllr, the cost of the log-likelihood ratios that PAV makes of the scores.

Brummer and de Villiers, "The BOSARIS Toolkit", 2011, arXiv 1304.2865, sections 3 and 4.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from sv.metrics.error_rates import SortedScores, sort_scores

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Hull:
    """PAV's pools, by ascending score.

    Attributes:
        target, nontarget: (pools,) trials of each kind in each pool.
    """

    target: Counts
    nontarget: Counts

    def corners(self) -> tuple[Doubles, Doubles]:
        """Miss and false-accept rate, (pools + 1,) each: all accepted first, none last."""
        miss = np.concatenate([[0], np.cumsum(self.target)]) / self.target.sum()
        accept = 1 - np.concatenate([[0], np.cumsum(self.nontarget)]) / self.nontarget.sum()
        return miss, accept

    def eer(self) -> float:
        """Percent; where the hull crosses miss = false accept."""
        miss, accept = self.corners()
        after = int(np.argmax(miss >= accept))  # the last corner has miss 1 and false accept 0
        gap_before, gap_after = accept[after - 1] - miss[after - 1], miss[after] - accept[after]
        share = gap_before / (gap_before + gap_after)
        return 100 * float(miss[after - 1] + share * (miss[after] - miss[after - 1]))

    def llrs(self) -> Doubles:
        """Log-likelihood ratio of each pool; -inf where it holds no target, +inf where no non-target."""
        with np.errstate(divide="ignore"):
            ratio = np.log(self.target / self.target.sum()) - np.log(self.nontarget / self.nontarget.sum())
        return np.asarray(ratio)

    def min_cllr(self) -> float:
        """Cllr in bits of the pools' log-likelihood ratios; pools of one kind alone cost nothing."""
        ratio = self.llrs()
        with np.errstate(invalid="ignore"):  # 0 trials at an infinite cost
            miss_bits = np.where(self.target > 0, self.target * np.logaddexp(0, -ratio), 0).sum() / self.target.sum()
            accept_bits = np.where(self.nontarget > 0, self.nontarget * np.logaddexp(0, ratio), 0).sum()
        return float((miss_bits + accept_bits / self.nontarget.sum()) / (2 * np.log(2)))


def hull_of_sorted(scores: SortedScores) -> Hull:
    """PAV over the distinct scores, tied trials in one pool."""
    target, nontarget = _runs(scores)
    size = target + nontarget
    pools = isotonic_regression(target / size, weights=size.astype(np.float64)).blocks[:-1]
    return Hull(np.add.reduceat(target, pools), np.add.reduceat(nontarget, pools))


def _runs(scores: SortedScores) -> tuple[Counts, Counts]:
    """Trials of each kind by ascending score, successive scores of one and the same kind alone taken together.

    PAV gives neighbours of equal share the same value: so the non-targets between two targets are one run.
    """
    distinct = np.unique(scores.target.values)  # (targets,) at most
    target = np.diff(scores.target.below(distinct), append=scores.target.total)
    below, through = scores.nontarget.below(distinct), scores.nontarget.through(distinct)
    # Runs in turn: non-targets below the first target score, trials at it, non-targets up to the second one, ...
    targets, nontargets = np.zeros(2 * len(distinct) + 1, np.int64), np.empty(2 * len(distinct) + 1, np.int64)
    targets[1::2] = target
    nontargets[1::2] = through - below
    nontargets[0::2] = np.append(below, scores.nontarget.total) - np.insert(through, 0, 0)
    filled = targets + nontargets > 0
    return targets[filled], nontargets[filled]


def rocch_eer(target: ArrayLike, nontarget: ArrayLike) -> float:
    """EER in percent on the convex hull of the ROC.

    Args:
        target: scores of target trials, in any order and shape.
        nontarget: scores of non-target trials.

    Raises:
        UserError: a list is empty, or holds NaN or an infinite value.
    """
    return hull_of_sorted(sort_scores(target, nontarget)).eer()


def min_cllr(target: ArrayLike, nontarget: ArrayLike) -> float:
    """Cllr in bits after the best monotonic recalibration: what of Cllr is not due to calibration. As `rocch_eer`."""
    return hull_of_sorted(sort_scores(target, nontarget)).min_cllr()
