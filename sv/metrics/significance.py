"""Confidence intervals of measures, and whether two systems differ on the same trials.

The standard deviation is that of `sv.metrics.jackknife`, where speakers are left out, and the ends are those of
`sv.metrics.intervals`. Errors come in whole trials: a measure is not known better than to one error of each kind. So
the effect of one error of each kind is added to the deviation in quadrature, as a correction for continuity. It matters
if a list has few errors, and if leaving out any speaker changes nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sv.metrics.intervals import LEVEL, Interval, p_value, student_quantile
from sv.metrics.jackknife import deviations, effective_speakers, leave_out
from sv.metrics.measures import Column, Entry, to_json
from sv.metrics.trial_speakers import SpeakerTrials


@dataclass(frozen=True)
class Difference:
    """One measure of two systems on the same trials.

    Attributes:
        column: the measure.
        first, second: its value for either system, or its mean over the seeds of either.
        interval: interval of second - first.
        p_value: two-sided; how likely a difference as large is if the systems are equally good.
    """

    column: Column
    first: float
    second: float
    interval: Interval
    p_value: float


def intervals(trials: SpeakerTrials, measured: Entry, columns: Sequence[Column]) -> Entry:
    """Return confidence intervals over speakers, and how they were worked out, as in results.json.

    Args:
        trials: all trials, or a sample of them.
        measured: values of all trials.
        columns: what was measured; measures without interval are left out.

    Raises:
        UserError: see `leave_out`.
        FewSpeakers: see `effective_speakers`.
    """
    columns, speakers = [column for column in columns if column.measure.interval], effective_speakers(trials)
    ends, scores = {}, trials.sorted_scores()
    for column, deviation in zip(columns, deviations(leave_out([trials], columns)[:, 0]), strict=True):
        assert column.measure.interval is not None
        deviation = math.hypot(deviation, column.one_error(scores))
        ends[column] = column.measure.interval(column.read(measured), deviation, speakers)
    how = {"num_speakers": len(trials.speakers), "effective_speakers": speakers, "level": LEVEL, "method": "jackknife"}
    return {**to_json(ends), **how}


def compare(
    systems: Sequence[SpeakerTrials], measured: Sequence[Entry], columns: Sequence[Column], *, num_first: int = 1
) -> list[Difference]:
    """Return the difference of two systems, or of their means over seeds, in each measure that has an interval.

    The same speakers are left out for all, so what makes a list hard for all cancels. The interval is one over
    speakers: other seeds would differ, too.

    Args:
        systems: the same trials, in the same order, scored by all, or the same sample of them: the seeds of the first
            system, then those of the second.
        measured: values of all trials of each.
        columns: what was measured; measures without interval are left out.
        num_first: number of seeds of the first system.

    Raises:
        UserError, FewSpeakers: as `intervals`.
    """
    columns, speakers = [column for column in columns if column.measure.interval], effective_speakers(systems[0])
    found, scores = leave_out(systems, columns), [trials.sorted_scores() for trials in systems]
    gaps = found[:, num_first:].mean(axis=1) - found[:, :num_first].mean(axis=1)
    differences = []
    for column, deviation in zip(columns, deviations(gaps), strict=True):
        values = [column.read(entry) for entry in measured]
        first, second = fmean(values[:num_first]), fmean(values[num_first:])
        deviation = math.hypot(deviation, max(column.one_error(one) for one in scores))
        gap, reach = second - first, student_quantile(speakers) * deviation
        p = p_value(gap, deviation, speakers)
        differences.append(Difference(column, first, second, (gap - reach, gap + reach), p))
    return differences
