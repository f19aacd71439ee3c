"""Speaker jackknife, the basis of intervals and paired tests: measure the trials that are left without one speaker.

Trials of one speaker rise and fall together: an interval that takes them as independent is far too narrow. So each
speaker in turn is left out, with all trials that have this speaker on either side. If theta_g is what is measured
without speaker g of n, the variance of the measure is

    (n - 1) / n  sum over g of (theta_g - mean of theta)^2

which on average is not too small, whatever is measured (Efron and Stein, "The jackknife estimate of variance", Annals
of Statistics, 1981). More than a hundred speakers are left out in a hundred random groups.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, counted
from sv.metrics.error_rates import Ranked, SortedScores
from sv.metrics.measures import Column
from sv.metrics.trial_speakers import SpeakerTrials

Doubles = NDArray[np.float64]

MIN_SPEAKERS = 5  # with fewer, an interval that holds the truth says nothing (bench/README.md, coverage.py)
_GROUPS = 100


class FewSpeakers(UserError):
    """There are too few speakers for an interval."""


def effective_speakers(trials: SpeakerTrials) -> float:
    """Return the effective number of speakers, of target or of non-target trials, whichever is lower.

    Of speakers with n_i trials that is (sum n_i)^2 / sum n_i^2 (Kish, "Survey Sampling", 1965). It is at most 100, the
    number of groups that are left out.

    Raises:
        FewSpeakers: fewer than `MIN_SPEAKERS`.
    """
    is_target, enroll, test = trials.is_target, trials.enroll, trials.test
    nontarget = np.concatenate([enroll[~is_target], test[~is_target]])
    return min(_GROUPS, _worth("target", enroll[is_target]), _worth("non-target", nontarget))


def _worth(kind: str, speakers: NDArray[np.int32]) -> float:
    """Return how many speakers with equally many trials would tell as much as those of these trials."""
    counts = np.bincount(speakers).astype(np.float64)
    counts = counts[counts > 0]
    worth = float(counts.sum() ** 2 / max(1, (counts**2).sum()))
    if worth < MIN_SPEAKERS:
        shown = math.floor(10 * worth) / 10  # 4.97 is not 5.0
        uneven = f", so unevenly that they are worth {shown:.1f}" if len(counts) >= MIN_SPEAKERS else ""
        raise FewSpeakers(
            f"{kind} trials are of {counted(len(counts), 'speaker')}{uneven}; intervals need {MIN_SPEAKERS} or more"
        )
    return worth


@dataclass(frozen=True)
class _Kind:
    """Trials of one kind by ascending score: (trials,) scores, and the groups of both speakers."""

    scores: Doubles
    enroll: NDArray[np.int64]
    test: NDArray[np.int64]

    def without(self, group: int) -> Ranked:
        """Return the scores of the trials that have no speaker of a group."""
        return Ranked(self.scores[(self.enroll != group) & (self.test != group)])


def leave_out(systems: Sequence[SpeakerTrials], columns: Sequence[Column]) -> Doubles:
    """Measure the trials without each speaker, or group of speakers: (groups, systems, columns).

    Args:
        systems: the same trials, in the same order, scored by each.
        columns: what is measured.

    Raises:
        UserError: no target or no non-target trial, NaN or infinite scores; a prior out of its range.
        FewSpeakers: without some speakers no target or no non-target trial is left.
    """
    speakers = systems[0].speakers
    groups = min(len(speakers), _GROUPS)
    group_of = np.zeros(int(speakers[-1]) + 1, dtype=np.int64)
    group_of[speakers] = np.random.default_rng(0).permutation(np.arange(len(speakers)) % groups)
    kinds = [[_kind(trials, is_target, group_of) for is_target in (True, False)] for trials in systems]
    found = np.empty((groups, len(systems), len(columns)))
    for group in range(groups):
        for row, (target, nontarget) in enumerate(kinds):
            scores = SortedScores(target.without(group), nontarget.without(group))
            if not (scores.target.total and scores.nontarget.total):
                raise FewSpeakers("too few speakers have trials to leave any of them out; intervals need more")
            found[group, row] = [column.value(scores) for column in columns]
    return found


def _kind(trials: SpeakerTrials, is_target: bool, group_of: NDArray[np.int64]) -> _Kind:
    rows = np.flatnonzero(trials.is_target == is_target)
    rows = rows[np.argsort(trials.scores[rows], kind="stable")]
    return _Kind(trials.scores[rows], group_of[trials.enroll[rows]], group_of[trials.test[rows]])


def deviations(found: Doubles) -> list[float]:
    """Return the standard deviation of each measure, or difference, of `leave_out`: (groups, columns)."""
    deviation: list[float] = np.sqrt((len(found) - 1) * found.var(axis=0)).tolist()
    return deviation
