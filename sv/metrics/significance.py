"""Confidence intervals of EER, minDCF, actDCF and Cllr, and whether two systems differ on the same trials.

Both take the standard deviation from `sv.metrics.bootstrap`, where speakers are drawn again, and the quantiles of
Student's t with as many degrees of freedom as there are speakers less one. The product of two speakers' weights counts
three times what is peculiar to a trial of theirs (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics,
2007), which of a rare false accept is nearly everything; so of a cost a part of it is taken off, see `_deviations`.

An interval is symmetric on a scale that its ends can not leave:

    EER      logit p +- t sd / (p (1 - p))
    minDCF   the same of half the cost, cut off at 1: the cost of rejecting everything is reached, not approached as a
             rate approaches 100 %, and near it 1 / (1 - p) would make any interval as wide as [0, 1]
    actDCF   ln c +- t sd / c: it has no upper limit
    Cllr     the same with half the degrees of freedom; see `cllr_interval`

How often they hold the truth on simulated lists: bench/README.md (coverage.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t as student

from sv.errors import UserError
from sv.metrics.bootstrap import SpeakerTrials, replicate
from sv.metrics.cllr import bayes_threshold
from sv.metrics.error_rates import sort_scores
from sv.metrics.measures import Measures, measure

Interval = tuple[float, float]

# Of v / n in `_deviations`, for minDCF and actDCF. Many false accepts have an excess of 2 at a given threshold, but few
# tell v badly, and the threshold of minDCF, chosen anew in each draw, hides a part. These are the values with which the
# coverage of simulated lists is nearest to what is asked for (bench/README.md, coverage.py).
_TAKEN_OFF = (0.5, 1.0)


@dataclass(frozen=True)
class Intervals:
    """Confidence intervals of one system.

    Attributes:
        eer: percent.
        min_dcf: by p_target.
        num_speakers: that were resampled.
        level, replicates, seed: how.
        act_dcf: by p_target; empty unless the scores are log-likelihood ratios.
        cllr: bits; None unless they are.
    """

    eer: Interval
    min_dcf: dict[float, Interval]
    num_speakers: int
    level: float
    replicates: int
    seed: int
    act_dcf: dict[float, Interval] = field(default_factory=dict)
    cllr: Interval | None = None


@dataclass(frozen=True)
class Difference:
    """One measure of two systems on the same trials.

    Attributes:
        name: "EER (%)", "minDCF (p_target 0.01)".
        first, second: its value for either system.
        interval: of second - first.
        p_value: two-sided; how likely a difference as large is if the systems are equally good.
    """

    name: str
    first: float
    second: float
    interval: Interval
    p_value: float


def measure_trials(trials: SpeakerTrials, p_targets: Sequence[float], *, llr: bool = False) -> Measures:
    """As `measure`."""
    return measure(sort_scores(trials.scores[trials.is_target], trials.scores[~trials.is_target]), p_targets, llr=llr)


def intervals(
    trials: SpeakerTrials,
    p_targets: Sequence[float] = (0.01, 0.05),
    *,
    metrics: Measures | None = None,
    level: float = 0.95,
    replicates: int = 200,
    seed: int = 0,
) -> Intervals:
    """Confidence intervals of EER and minDCF over speakers, and for log-likelihood ratios of actDCF and Cllr.

    Args:
        trials: all trials, or a sample of them.
        p_targets: priors of minDCF and actDCF.
        metrics: of all trials, with actDCF and Cllr where they are wanted; None: measure EER and minDCF on `trials`.
        level: how often the interval is to hold the truth.
        replicates: how often speakers are drawn.
        seed: decides the draws.

    Raises:
        UserError: see `replicate`; a level that is not between 0 and 1.
    """
    _check_level(level)
    metrics = metrics or measure_trials(trials, p_targets)
    llr = metrics.cllr is not None
    found = replicate([trials], p_targets, llr=llr, replicates=replicates, seed=seed)[:, 0]  # (replicates, measures)
    accepts = _accepts(trials, metrics, p_targets)
    deviation, speakers = _deviations(found, accepts, p_targets), len(trials.speakers)
    low, high = rate_interval(metrics.eer / 100, deviation[0] / 100, speakers, level)
    values = [value for _, value in _named_values(metrics, p_targets)]
    count = len(p_targets)
    if llr:
        for row, p_target in enumerate(p_targets, 1 + count):
            deviation[row] = math.hypot(deviation[row], _unseen(trials, metrics, p_target))
    kinds = [min_dcf_interval] * count + [cost_interval] * count * llr + [cllr_interval] * llr
    costs = [
        interval_of(value, sd, speakers, level)
        for interval_of, value, sd in zip(kinds, values[1:], deviation[1:], strict=True)
    ]
    return Intervals(
        eer=(100 * low, 100 * high),
        min_dcf=dict(zip(p_targets, costs[:count], strict=True)),
        num_speakers=speakers,
        level=level,
        replicates=replicates,
        seed=seed,
        act_dcf=dict(zip(p_targets, costs[count : 2 * count], strict=True)) if llr else {},
        cllr=costs[-1] if llr else None,
    )


def _named_values(metrics: Measures, p_targets: Sequence[float]) -> list[tuple[str, float]]:
    """What `replicate` measures of each draw, in its order, of all trials."""
    found = [("EER (%)", metrics.eer), *((f"minDCF (p_target {p:g})", metrics.min_dcf[p]) for p in p_targets)]
    if metrics.cllr is not None:
        found += [(f"actDCF (p_target {p:g})", metrics.act_dcf[p]) for p in p_targets]
        found.append(("Cllr", metrics.cllr))
    return found


def rate_interval(rate: float, deviation: float, speakers: int, level: float) -> Interval:
    """Interval of a rate from 0 to 1.

    Where there was no error at all, its upper end is the share of speakers with errors that so many speakers without
    one still allow; where the rate is 1, its lower end the same from above.
    """
    spare = _spare(speakers, level)
    if rate <= 0:
        return 0.0, spare
    if rate >= 1:
        return 1 - spare, 1.0
    reach = student.ppf((1 + level) / 2, speakers - 1) * deviation / (rate * (1 - rate))
    return float(expit(logit(rate) - reach)), float(expit(logit(rate) + reach))


def min_dcf_interval(cost: float, deviation: float, speakers: int, level: float) -> Interval:
    """Interval of a cost from 0 to 1; where there was no error, or 1 in every draw, as of `rate_interval`."""
    if cost <= 0 or (cost >= 1 and deviation == 0):
        return rate_interval(cost, deviation, speakers, level)
    low, high = rate_interval(cost / 2, deviation / 2, speakers, level)
    return 2 * low, min(2 * high, 1.0)


def cost_interval(cost: float, deviation: float, speakers: int, level: float) -> Interval:
    """Interval of a cost from 0 on; where there was no error at all as of `rate_interval`."""
    if cost <= 0:
        return 0.0, _spare(speakers, level)
    reach = float(student.ppf((1 + level) / 2, speakers - 1)) * deviation / cost
    return cost * math.exp(-reach), cost * math.exp(reach)


def cllr_interval(cost: float, deviation: float, speakers: int, level: float) -> Interval:
    """As `cost_interval` of half as many speakers.

    A few speakers make up most of Cllr, so that its deviation is itself known badly: where what each adds has an excess
    kurtosis of 2, a variance measured on n speakers has n / 2 degrees of freedom (Satterthwaite, "An approximate
    distribution of estimates of variance components", 1946).
    """
    return cost_interval(cost, deviation, max(2, (speakers + 1) // 2), level)


def _accepts(trials: SpeakerTrials, metrics: Measures, p_targets: Sequence[float]) -> list[NDArray[np.float64]]:
    """Whether each non-target trial is accepted, 0 or 1, where minDCF is reached and at Bayes' thresholds."""
    thresholds = [metrics.min_dcf_threshold[p] for p in p_targets]
    if metrics.cllr is not None:
        thresholds += [bayes_threshold(p) for p in p_targets]
    scores = trials.scores[~trials.is_target]
    return [(scores >= threshold).astype(float) for threshold in thresholds]


def _deviations(
    found: NDArray[np.float64], accepts: Sequence[NDArray[np.float64]], p_targets: Sequence[float]
) -> list[float]:
    """Standard deviations of what was measured of each draw, less what its weights count too often of false accepts.

    These have the variance v / n, v being that of one of n trials, and up to three times as much in the draws. Not all
    of the excess is taken off, see `_TAKEN_OFF`, and never more than two thirds of a variance.

    Args:
        found: (replicates, measures).
        accepts: see `_accepts`; of two systems their difference.
    """
    variance = found.var(axis=0, ddof=1)
    for column, accepted in enumerate(accepts):
        kind, prior = divmod(column, len(p_targets))
        weight = (1 - p_targets[prior]) / min(p_targets[prior], 1 - p_targets[prior])
        excess = _TAKEN_OFF[kind] * weight**2 * accepted.var() / len(accepted)
        variance[1 + column] = max(variance[1 + column] - excess, variance[1 + column] / 3)
    deviations: list[float] = np.sqrt(variance).tolist()
    return deviations


def _unseen(trials: SpeakerTrials, metrics: Measures, p_target: float) -> float:
    """What errors that no draw tells of may add to actDCF, of each kind that `trials` have none of.

    Of a whole list it is what one error more costs. A sample of n of N trials may have none where all have as many as
    N / n: their deviation is sqrt(N / n), of N trials.
    """
    accepted = trials.scores >= bayes_threshold(p_target)
    kinds = (
        (~accepted[trials.is_target], p_target, metrics.num_target),
        (accepted[~trials.is_target], 1 - p_target, metrics.num_nontarget),
    )
    costs = (prior / math.sqrt(len(wrong) * total) for wrong, prior, total in kinds if not wrong.any())
    return sum(costs) / min(p_target, 1 - p_target)


def _spare(speakers: int, level: float) -> float:
    """The share of speakers with errors that so many without one still allow."""
    return float(1 - ((1 - level) / 2) ** (1 / speakers))


def compare(
    first: SpeakerTrials,
    second: SpeakerTrials,
    p_targets: Sequence[float] = (0.01, 0.05),
    *,
    metrics: Sequence[Measures] = (),
    level: float = 0.95,
    replicates: int = 200,
    seed: int = 0,
) -> list[Difference]:
    """EER, minDCF, and of log-likelihood ratios actDCF and Cllr, of two systems, with the interval of their difference.

    The same speakers are drawn for both: what makes a list hard for both drops out.

    Args:
        first, second: the same trials, in the same order, or the same sample of them.
        p_targets: priors.
        metrics: of all trials of either; none: measure EER and minDCF on those given.
        level, replicates, seed: as of `intervals`.

    Raises:
        UserError: see `replicate`; a level that is not between 0 and 1.
    """
    _check_level(level)
    one, other = metrics or [measure_trials(trials, p_targets) for trials in (first, second)]
    llr = one.cllr is not None
    found = replicate([first, second], p_targets, llr=llr, replicates=replicates, seed=seed)
    accepts = zip(_accepts(first, one, p_targets), _accepts(second, other, p_targets), strict=True)
    deviation = _deviations(found[:, 1] - found[:, 0], [b - a for a, b in accepts], p_targets)
    values = zip(_named_values(one, p_targets), _named_values(other, p_targets), deviation, strict=True)
    return [_difference(name, a, b, sd, len(first.speakers), level) for (name, a), (_, b), sd in values]


def _difference(name: str, first: float, second: float, deviation: float, speakers: int, level: float) -> Difference:
    gap = second - first
    reach = float(student.ppf((1 + level) / 2, speakers - 1)) * deviation
    if deviation > 0:
        p_value = 2 * float(student.sf(abs(gap) / deviation, speakers - 1))
    else:
        p_value = 1.0 if gap == 0 else 0.0
    return Difference(name, first, second, (gap - reach, gap + reach), p_value)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UserError(f"confidence level {level}: expected a number between 0 and 1, such as 0.95")
