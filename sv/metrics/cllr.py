"""Cost of calibrated scores: actDCF and Cllr, for scores that are natural logarithms of likelihood ratios.

    actDCF = DCF(t) / min(p_target, 1 - p_target), at Bayes' threshold t = ln (1 - p_target) / p_target
    Cllr   = 1/2 mean log2(1 + e^-llr) over targets + 1/2 mean log2(1 + e^llr) over non-targets

actDCF - minDCF and Cllr - minCllr are the loss by calibration. A system that always says llr = 0 has a Cllr of 1.
Brummer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech & Language, 2006.
"""

import math

from sv.metrics.error_rates import SortedScores, check_prior


def bayes_threshold(p_target: float) -> float:
    """Return the log-likelihood ratio from which on accepting costs less than rejecting.

    Raises:
        UserError: a prior out of its range.
    """
    check_prior(p_target)
    return math.log(1 - p_target) - math.log(p_target)


def act_dcf(scores: SortedScores, p_target: float) -> float:
    """Return the normalized detection cost at Bayes' threshold; raise UserError for a prior out of its range."""
    threshold = bayes_threshold(p_target)
    cost = p_target * scores.miss(threshold) + (1 - p_target) * scores.false_accept(threshold)
    return float(cost / min(p_target, 1 - p_target))


def one_error_cllr(scores: SortedScores) -> float:
    """Return what one more trial of either kind adds to Cllr if it is as bad as the worst, in bits."""
    target, nontarget = scores.llr_nats()
    worst = target.max() / scores.target.total + nontarget.max() / scores.nontarget.total
    return float(worst / (2 * math.log(2)))


def cllr(scores: SortedScores) -> float:
    """Return the cost of log-likelihood ratios over all priors, in bits."""
    target, nontarget = scores.llr_nats()
    return (scores.target.mean(target) + scores.nontarget.mean(nontarget)) / (2 * math.log(2))
