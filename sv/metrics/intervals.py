"""Ends of confidence intervals, from the value of a measure and its standard deviation over speakers.

Quantiles are those of Student's t with half as many degrees of freedom as there are speakers: a few speakers make most
of the errors, so the deviation is itself poorly known. Where what each adds has an excess kurtosis of 2, a variance
measured on n speakers has n / 2 degrees of freedom (Satterthwaite, "An approximate distribution of estimates of
variance components", Biometrics Bulletin, 1946). An interval is symmetric on a scale that its ends cannot leave:

    EER             logit p +- t sd / (p (1 - p))
    minDCF          the same of half the cost, cut off at 1: the cost of rejecting everything is reached, not approached
                    as a rate approaches 100 %, and near it 1 / (1 - p) would make any interval as wide as [0, 1]
    actDCF, Cllr    ln c +- t sd / c: they have no upper limit

Everywhere `speakers` is what `sv.metrics.jackknife.effective_speakers` returns. How often intervals hold the truth on
simulated lists: bench/README.md (coverage.py).
"""

import math

Interval = tuple[float, float]

LEVEL = 0.95  # how often an interval is to hold the truth


def percent_interval(percent: float, deviation: float, speakers: float) -> Interval:
    """Return the interval of a rate in percent; see `rate_interval`."""
    low, high = rate_interval(percent / 100, deviation / 100, speakers)
    return 100 * low, 100 * high


def rate_interval(rate: float, deviation: float, speakers: float) -> Interval:
    """Return the interval of a rate from 0 to 1.

    If there was no error at all, the upper end is the largest share of speakers with errors that still fits `speakers`
    without one; if the rate is 1, the lower end is 1 minus that.
    """
    spare = _spare(speakers)
    if rate <= 0:
        return 0.0, spare
    if rate >= 1:
        return 1 - spare, 1.0
    from scipy.special import expit, logit

    reach = student_quantile(speakers) * deviation / (rate * (1 - rate))
    return float(expit(logit(rate) - reach)), float(expit(logit(rate) + reach))


def min_dcf_interval(cost: float, deviation: float, speakers: float) -> Interval:
    """Return the interval of a cost from 0 to 1; without an error that of `rate_interval`."""
    if cost <= 0:
        return rate_interval(cost, deviation, speakers)
    low, high = rate_interval(cost / 2, deviation / 2, speakers)
    return 2 * low, min(2 * high, 1.0)


def cost_interval(cost: float, deviation: float, speakers: float) -> Interval:
    """Return the interval of a cost from 0 on; without an error that of `rate_interval`."""
    if cost <= 0:
        return 0.0, _spare(speakers)
    reach = student_quantile(speakers) * deviation / cost
    return cost * math.exp(-reach), cost * math.exp(reach)


def student_quantile(speakers: float) -> float:
    """Return how many deviations an interval reaches to either side."""
    from scipy.special import stdtrit

    return float(stdtrit(speakers / 2, (1 + LEVEL) / 2))


def p_value(gap: float, deviation: float, speakers: float) -> float:
    """Return how likely a difference as large is if the systems are equally good, two-sided."""
    from scipy.special import stdtr

    return 2 * float(stdtr(speakers / 2, -abs(gap) / deviation))


def _spare(speakers: float) -> float:
    """Return the largest share of speakers with errors that still fits `speakers` without one."""
    return float(1 - ((1 - LEVEL) / 2) ** (1 / speakers))
