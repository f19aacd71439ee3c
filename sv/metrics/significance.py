"""Confidence intervals of measures, and whether two systems differ on the same trials.

Both take the standard deviation from `sv.metrics.bootstrap`, where speakers are drawn again, and the ends from
`sv.metrics.intervals`. The product of two speakers' weights counts three times what is peculiar to one of their trials
(Owen, "The pigeonhole bootstrap", Annals of Applied Statistics, 2007), which is nearly everything of a rare false
accept; so a part of it is taken off the deviation of a cost, see `_deviations`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv.metrics.bootstrap import replicate
from sv.metrics.intervals import LEVEL, Interval, student_quantile
from sv.metrics.measures import Column, Entry, to_json
from sv.metrics.trial_speakers import SpeakerTrials


@dataclass(frozen=True)
class Difference:
    """One measure of two systems on the same trials.

    Attributes:
        column: the measure.
        first, second: its value for either system.
        interval: of second - first.
        p_value: two-sided; how likely a difference as large is if the systems are equally good.
    """

    column: Column
    first: float
    second: float
    interval: Interval
    p_value: float


def intervals(
    trials: SpeakerTrials, measured: Entry, columns: Sequence[Column], *, replicates: int = 200, seed: int = 0
) -> Entry:
    """Return confidence intervals over speakers, and how they were worked out, as they stand in results.json.

    Args:
        trials: all trials, or a sample of them.
        measured: values and thresholds of all trials.
        columns: what was measured; measures without interval are left out.
        replicates: number of draws.
        seed: decides the draws.

    Raises:
        UserError: see `replicate`.
    """
    columns = [column for column in columns if column.measure.interval]
    found = replicate([trials], columns, replicates=replicates, seed=seed)[:, 0]  # (replicates, columns)
    deviations = _deviations(found, columns, [_accepts(trials, measured, column) for column in columns])
    ends, speakers = {}, len(trials.speakers)
    for column, deviation in zip(columns, deviations, strict=True):
        assert column.measure.interval is not None
        if column.measure.unseen:
            deviation = math.hypot(deviation, _unseen(trials, measured, column))
        ends[column] = column.measure.interval(column.read(measured), deviation, speakers)
    how = {"num_speakers": speakers, "level": LEVEL, "replicates": replicates, "seed": seed, "resampled": "speakers"}
    return {**to_json(ends), **how}


def _accepts(trials: SpeakerTrials, measured: Entry, column: Column) -> NDArray[np.float64]:
    """Return whether each non-target trial is accepted, 0 or 1, at the measure's threshold; nothing if it has none."""
    threshold = column.read(measured, "_threshold")
    scores = trials.scores[~trials.is_target] if column.measure.excess else np.empty(0)
    return (scores >= threshold).astype(float) if len(scores) else scores


def _deviations(
    found: NDArray[np.float64], columns: Sequence[Column], accepts: Sequence[NDArray[np.float64]]
) -> list[float]:
    """Return standard deviations over draws, less what the draws' weights count too often of false accepts.

    These have the variance v / n, where v is that of one of n trials, and up to three times as much in the draws. Not
    all of the excess is taken off, see `Measure.excess`, and never more than two thirds of a variance.

    Args:
        found: (replicates, columns).
        columns: what was measured.
        accepts: see `_accepts`; of two systems their difference.
    """
    variances = found.var(axis=0, ddof=1)
    for row, (column, accepted) in enumerate(zip(columns, accepts, strict=True)):
        if column.measure.excess and column.p_target is not None:
            weight = (1 - column.p_target) / min(column.p_target, 1 - column.p_target)
            excess = column.measure.excess * weight**2 * accepted.var() / len(accepted)
            variances[row] = max(variances[row] - excess, variances[row] / 3)
    deviations: list[float] = np.sqrt(variances).tolist()
    return deviations


def _unseen(trials: SpeakerTrials, measured: Entry, column: Column) -> float:
    """Return what errors that no draw can tell of may add to a cost, for each kind of which `trials` have none.

    For a whole list it is what one more error costs. A sample of n of N trials may have none where all have as many as
    N / n: their deviation is sqrt(N / n), of N trials.
    """
    assert column.p_target is not None
    accepted = trials.scores >= column.read(measured, "_threshold")
    kinds = (
        (~accepted[trials.is_target], column.p_target, measured["num_target"]),
        (accepted[~trials.is_target], 1 - column.p_target, measured["num_nontarget"]),
    )
    costs = (prior / math.sqrt(len(wrong) * total) for wrong, prior, total in kinds if not wrong.any())
    return sum(costs) / min(column.p_target, 1 - column.p_target)


def compare(
    systems: Sequence[SpeakerTrials],
    measured: Sequence[Entry],
    columns: Sequence[Column],
    *,
    replicates: int = 200,
    seed: int = 0,
) -> list[Difference]:
    """Return the difference of two systems in each measure that has an interval.

    The same speakers are drawn for both: what makes a list hard for both drops out.

    Args:
        systems: the same trials, in the same order, scored by both, or the same sample of them.
        measured: values and thresholds of all trials of both.
        columns: what was measured; measures without interval are left out.
        replicates, seed: as for `intervals`.

    Raises:
        UserError: see `replicate`.
    """
    columns = [column for column in columns if column.measure.interval]
    found = replicate(systems, columns, replicates=replicates, seed=seed)
    first, second = (
        [_accepts(*system, column) for column in columns] for system in zip(systems, measured, strict=True)
    )
    apart = [b - a for a, b in zip(first, second, strict=True)]
    deviations, speakers = _deviations(found[:, 1] - found[:, 0], columns, apart), len(systems[0].speakers)
    reach = student_quantile(speakers)
    differences = []
    for column, deviation in zip(columns, deviations, strict=True):
        one, other = (column.read(entry) for entry in measured)
        ends = other - one - reach * deviation, other - one + reach * deviation
        differences.append(Difference(column, one, other, ends, _p_value(other - one, deviation, speakers)))
    return differences


def _p_value(gap: float, deviation: float, speakers: int) -> float:
    from scipy.special import stdtr

    if deviation > 0:
        return 2 * float(stdtr(speakers - 1, -abs(gap) / deviation))
    return 1.0 if gap == 0 else 0.0
