"""Convex hull of the ROC: EER and Cllr after the best monotonic recalibration.

Pool-adjacent-violators (PAV) gives each score the share of targets among its neighbours, never falling with the score.
The borders of its pools are the corners of the hull. So the pools' log-likelihood ratios, taken as scores, have the EER
on the hull (ROCCH-EER, never above the plain EER), and their Cllr is minCllr.

Brummer and de Villiers, "The BOSARIS Toolkit", 2011, arXiv 1304.2865, sections 3 and 4.
"""

import numpy as np
from numpy.typing import NDArray

from sv.metrics.cllr import cllr
from sv.metrics.error_rates import Ranked, SortedScores, eer

Counts = NDArray[np.int64]


def eer_rocch(scores: SortedScores) -> float:
    """Return the EER in percent on the convex hull of the ROC."""
    return eer(scores.once(pav_llrs))


def min_cllr(scores: SortedScores) -> float:
    """Return Cllr in bits after the best monotonic recalibration: the part of Cllr that calibration cannot remove."""
    return cllr(scores.once(pav_llrs))


def pav_llrs(scores: SortedScores) -> SortedScores:
    """Return PAV's log-likelihood ratio of each trial: a value for each pool, with the number of its trials.

    It is -inf in a pool without targets, +inf in one without non-targets.
    """
    from scipy.optimize import isotonic_regression  # half a second, and most callers need no hull

    target, nontarget = _runs(scores)
    size = target + nontarget
    pools = isotonic_regression(target / size, weights=size.astype(np.float64)).blocks[:-1]
    target, nontarget = np.add.reduceat(target, pools), np.add.reduceat(nontarget, pools)
    with np.errstate(divide="ignore"):
        llrs = np.log(target / target.sum()) - np.log(nontarget / nontarget.sum())
    llrs = np.maximum.accumulate(llrs)  # pools of equal share may differ in the last bit
    kinds = (Ranked(llrs[count > 0], count[count > 0]) for count in (target, nontarget))
    return SortedScores(*kinds)


def _runs(scores: SortedScores) -> tuple[Counts, Counts]:
    """Count the trials of each kind by ascending score; successive scores of one and the same kind are one run.

    PAV gives neighbours of equal share the same value, so the non-targets between two targets can be taken together.
    """
    distinct = np.unique(scores.target.values)  # at most (targets,)
    target = np.diff(scores.target.below(distinct), append=scores.target.total)
    below, through = scores.nontarget.below(distinct), scores.nontarget.through(distinct)
    # Runs in turn: non-targets below the first target score, trials at it, non-targets up to the second one, ...
    targets, nontargets = np.zeros(2 * len(distinct) + 1, np.int64), np.empty(2 * len(distinct) + 1, np.int64)
    targets[1::2] = target
    nontargets[1::2] = through - below
    nontargets[0::2] = np.append(below, scores.nontarget.total) - np.insert(through, 0, 0)
    filled = targets + nontargets > 0
    return targets[filled], nontargets[filled]
