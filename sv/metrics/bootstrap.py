"""Speaker bootstrap, the basis of intervals and paired tests: measure trials whose speakers are drawn again.

Trials of one speaker rise and fall together: an interval that takes them as independent is far too narrow. So speakers
are drawn with replacement, not trials. Where speaker i was drawn w_i times, a target trial of that speaker weighs w_i,
and a non-target trial of speakers i and j weighs w_i w_j: all the trials that the drawn speakers would have had.
Bolle et al., "Error analysis of pattern recognition systems: the subsets bootstrap", Computer Vision and Image
Understanding, 2004; Owen, "The pigeonhole bootstrap", Annals of Applied Statistics, 2007, for the product of weights.

The scores are sorted once; a draw then costs two gathers of the weights and one sum over the trials.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.metrics.error_rates import Ranked, SortedScores
from sv.metrics.measures import Column
from sv.metrics.trial_speakers import SpeakerTrials

Doubles = NDArray[np.float64]


class FewSpeakers(UserError):
    """There are too few speakers to draw from."""


class WeightedTrials:
    """Trials by ascending score, ready for any weights of their speakers.

    Raises:
        UserError: no target or no non-target trial, NaN or infinite scores.
        FewSpeakers: all trials are of one speaker.
    """

    def __init__(self, trials: SpeakerTrials) -> None:
        self.speakers = trials.speakers
        if len(self.speakers) < 2:
            raise FewSpeakers("all trials are of one speaker; intervals resample speakers and need two or more")
        target, nontarget = (_by_score(trials.scores, kind) for kind in (trials.is_target, ~trials.is_target))
        self._target = trials.enroll[target]  # speaker of each target trial, by score
        self._enroll, self._test = trials.enroll[nontarget], trials.test[nontarget]
        del target, nontarget
        self._scores = trials.sorted_scores()
        every = slice(None)
        self.below, self.through = self._scores.nontargets_below(every), self._scores.nontargets_through(every)

    @cached_property
    def nats(self) -> tuple[Doubles, Doubles]:
        """See `SortedScores.llr_nats`."""
        return self._scores.llr_nats()

    def draw(self, weights: Doubles) -> "Draw | None":
        """Weigh the trials by their speakers, (highest speaker + 1,); None if all trials of a kind weigh 0."""
        pairs = weights.take(self._enroll)
        pairs *= weights.take(self._test)
        target = Ranked(self._scores.target.values, weights.take(self._target))
        nontarget = Ranked(self._scores.nontarget.values, pairs)
        return Draw(target, nontarget, self) if target.total and nontarget.total else None


def _by_score(scores: Doubles, some: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the rows of some trials by ascending score."""
    rows = np.flatnonzero(some)
    return rows[np.argsort(scores[rows], kind="stable")]


@dataclass(frozen=True)
class Draw(SortedScores):
    """Trials of drawn speakers; whatever does not depend on the weights is looked up.

    Attributes:
        trials: all trials.
    """

    trials: WeightedTrials

    def nontargets_below(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `SortedScores`."""
        return self.trials.below[rows]

    def nontargets_through(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `SortedScores`."""
        return self.trials.through[rows]

    def llr_nats(self) -> tuple[Doubles, Doubles]:
        """See `SortedScores`."""
        return self.trials.nats


def draw_weights(speakers: NDArray[np.int32], replicates: int, seed: int) -> Iterator[Doubles]:
    """Yield how often each speaker was drawn, (highest speaker + 1,), for each replicate; the seed alone decides."""
    rng = np.random.default_rng(seed)
    shares = np.full(len(speakers), 1 / len(speakers))
    for _ in range(replicates):
        weights = np.zeros(int(speakers[-1]) + 1)
        weights[speakers] = rng.multinomial(len(speakers), shares)
        yield weights


def replicate(
    systems: Sequence[SpeakerTrials], columns: Sequence[Column], *, replicates: int = 200, seed: int = 0
) -> Doubles:
    """Measure drawn speakers: (replicates, systems, columns).

    All systems are measured on the same draws. A draw without target or non-target trials is left out.

    Args:
        systems: the same trials, in the same order, scored by each.
        columns: what is measured.
        replicates: number of draws.
        seed: decides the draws.

    Raises:
        UserError: as `WeightedTrials`; a prior out of its range.
        FewSpeakers: as `WeightedTrials`; more than half of the draws have no target or no non-target trial.
    """
    weighted = [WeightedTrials(trials) for trials in systems]
    rows = []
    for weights in draw_weights(weighted[0].speakers, replicates, seed):
        found = [_measured(trials.draw(weights), columns) for trials in weighted]
        if all(found):
            rows.append(found)
    if len(rows) < replicates / 2:
        raise FewSpeakers("too few speakers have target trials to draw from; intervals need more speakers")
    return np.array(rows)


def _measured(draw: Draw | None, columns: Sequence[Column]) -> list[float]:
    """Measure a draw; return nothing for None."""
    return [column.value(draw) for column in columns] if draw else []
