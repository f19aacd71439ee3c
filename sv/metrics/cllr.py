"""What calibrated scores cost: actDCF and Cllr, for scores that are natural logarithms of likelihood ratios.

    actDCF = DCF(t) / min(c_miss p_target, c_fa (1 - p_target)), at Bayes' threshold t = ln c_fa (1 - p) / (c_miss p)
    Cllr   = 1/2 mean log2(1 + e^-llr) over targets + 1/2 mean log2(1 + e^llr) over non-targets

actDCF less minDCF, and Cllr less minCllr, is what calibration loses. Always saying llr = 0 has a Cllr of 1.
Brummer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech & Language, 2006.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from sv.metrics.error_rates import SortedScores, check_costs, sort_scores


def bayes_threshold(p_target: float, *, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """The log-likelihood ratio from which on accepting costs less than rejecting."""
    check_costs(p_target, c_miss, c_fa)
    return math.log(c_fa * (1 - p_target)) - math.log(c_miss * p_target)


def act_dcf(
    target: ArrayLike, nontarget: ArrayLike, p_target: float, *, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """Normalized detection cost at Bayes' threshold.

    Args:
        target: log-likelihood ratios of target trials, in any order and shape.
        nontarget: of non-target trials.
        p_target, c_miss, c_fa: as for `min_dcf`.

    Raises:
        UserError: a list is empty, or holds NaN or an infinite value; a prior or cost out of its range.
    """
    return act_dcf_of_sorted(sort_scores(target, nontarget), p_target, c_miss=c_miss, c_fa=c_fa)


def act_dcf_of_sorted(scores: SortedScores, p_target: float, *, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """As `act_dcf`."""
    threshold = bayes_threshold(p_target, c_miss=c_miss, c_fa=c_fa)
    miss_cost, accept_cost = c_miss * p_target, c_fa * (1 - p_target)
    cost = miss_cost * scores.miss(threshold) + accept_cost * scores.false_accept(threshold)
    return float(cost / min(miss_cost, accept_cost))


def cllr(target: ArrayLike, nontarget: ArrayLike) -> float:
    """Cost of log-likelihood ratios over all priors, in bits. Arguments and errors as for `act_dcf`."""
    return cllr_of_sorted(sort_scores(target, nontarget))


def cllr_of_sorted(scores: SortedScores) -> float:
    """As `cllr`."""
    target, nontarget = scores.target.values.astype(np.float64), scores.nontarget.values.astype(np.float64)
    nats = scores.target.mean(np.logaddexp(0, -target)) + scores.nontarget.mean(np.logaddexp(0, nontarget))
    return nats / (2 * math.log(2))
