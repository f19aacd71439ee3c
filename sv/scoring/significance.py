"""Confidence intervals of EER and minDCF, and whether two systems differ on the same trials.

Both take the standard deviation from `sv.scoring.bootstrap`, where speakers are drawn again, and the quantiles of
Student's t with as many degrees of freedom as there are speakers less one. An interval is symmetric on the logit scale,

    logit p +- t sd / (p (1 - p)),

so that it stays within 0 and 100 %. How often it holds the truth on simulated lists: bench/README.md (coverage.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import expit, logit
from scipy.stats import t as student

from sv.errors import UserError
from sv.scoring.bootstrap import SpeakerTrials, replicate
from sv.scoring.metrics import Metrics, evaluate

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """Confidence intervals of one system.

    Attributes:
        eer: percent.
        min_dcf: by p_target.
        num_speakers: that were resampled.
        level, replicates, seed: how.
    """

    eer: Interval
    min_dcf: dict[float, Interval]
    num_speakers: int
    level: float
    replicates: int
    seed: int


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


def metrics_of(trials: SpeakerTrials, p_targets: Sequence[float]) -> Metrics:
    """As `evaluate`."""
    return evaluate(trials.scores[trials.is_target], trials.scores[~trials.is_target], p_targets)


def intervals(
    trials: SpeakerTrials,
    p_targets: Sequence[float] = (0.01, 0.05),
    *,
    metrics: Metrics | None = None,
    level: float = 0.95,
    replicates: int = 200,
    seed: int = 0,
) -> Intervals:
    """Confidence intervals of EER and minDCF over speakers.

    Args:
        trials: all trials, or a sample of them.
        p_targets: priors of minDCF.
        metrics: of all trials; None: measure them on `trials`.
        level: how often the interval is to hold the truth.
        replicates: how often speakers are drawn.
        seed: decides the draws.

    Raises:
        UserError: see `replicate`; a level that is not between 0 and 1.
    """
    _check_level(level)
    metrics = metrics or metrics_of(trials, p_targets)
    found = replicate([trials], p_targets, replicates=replicates, seed=seed)[:, 0]  # (replicates, 1 + priors)
    deviation, speakers = found.std(axis=0, ddof=1), len(trials.speakers)
    low, high = rate_interval(metrics.eer / 100, float(deviation[0]) / 100, speakers, level)
    costs = {
        p: rate_interval(metrics.min_dcf[p], float(sd), speakers, level)
        for p, sd in zip(p_targets, deviation[1:], strict=True)
    }
    return Intervals((100 * low, 100 * high), costs, speakers, level, replicates, seed)


def rate_interval(rate: float, deviation: float, speakers: int, level: float) -> Interval:
    """Interval of a rate from 0 to 1.

    Where there was no error at all, its upper end is the share of speakers with errors that so many speakers without
    one still allow; where the rate is 1, its lower end the same from above.
    """
    spare = 1 - ((1 - level) / 2) ** (1 / speakers)
    if rate <= 0:
        return 0.0, spare
    if rate >= 1:
        return 1 - spare, 1.0
    reach = student.ppf((1 + level) / 2, speakers - 1) * deviation / (rate * (1 - rate))
    return float(expit(logit(rate) - reach)), float(expit(logit(rate) + reach))


def compare(
    first: SpeakerTrials,
    second: SpeakerTrials,
    p_targets: Sequence[float] = (0.01, 0.05),
    *,
    level: float = 0.95,
    replicates: int = 200,
    seed: int = 0,
) -> list[Difference]:
    """EER and minDCF of two systems on the same trials, in the same order, with the interval of their difference.

    The same speakers are drawn for both: what makes a list hard for both drops out.

    Raises:
        UserError: see `replicate`; a level that is not between 0 and 1.
    """
    _check_level(level)
    found = replicate([first, second], p_targets, replicates=replicates, seed=seed)
    deviation = (found[:, 1] - found[:, 0]).std(axis=0, ddof=1)  # (1 + priors,)
    one, other = metrics_of(first, p_targets), metrics_of(second, p_targets)
    names = ["EER (%)", *(f"minDCF (p_target {p:g})" for p in p_targets)]
    pairs = [(one.eer, other.eer), *((one.min_dcf[p], other.min_dcf[p]) for p in p_targets)]
    speakers = len(first.speakers)
    return [
        _difference(name, a, b, float(sd), speakers, level)
        for name, (a, b), sd in zip(names, pairs, deviation, strict=True)
    ]


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
