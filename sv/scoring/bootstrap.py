"""Error rates of trials whose speakers are drawn again, with replacement: the ground of intervals and of tests.

Trials of one speaker rise and fall together: an interval that takes them as independent is far too narrow. So speakers
are drawn, not trials. Where speaker i was drawn w_i times, a target trial of that speaker weighs w_i, and a non-target
trial of speakers i and j weighs w_i w_j: all the trials that the drawn speakers would have had.
Bolle et al., "Error analysis of pattern recognition systems: the subsets bootstrap", Computer Vision and Image
Understanding, 2004; Owen, "The pigeonhole bootstrap", Annals of Applied Statistics, 2007, for the product of weights.

The scores are sorted once; a replicate then costs two gathers of the weights and one sum over the trials.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.scoring.metrics import check_costs, sort_scores

Doubles = NDArray[np.float64]
Rows = NDArray[np.int32]


@dataclass(frozen=True)
class SpeakerTrials:
    """Scores of labelled trials, and between which speakers they were.

    Attributes:
        scores: (trials,).
        is_target: (trials,) bool.
        enroll, test: (trials,) int32, speakers 0, 1, ...; the same one in a target trial.
    """

    scores: Doubles
    is_target: NDArray[np.bool_]
    enroll: Rows
    test: Rows

    @cached_property
    def speakers(self) -> NDArray[np.int32]:
        """Those that occur, ascending."""
        return np.union1d(self.enroll, self.test)

    def with_scores(self, scores: Doubles) -> "SpeakerTrials":
        """The same trials scored by another system."""
        return SpeakerTrials(scores, self.is_target, self.enroll, self.test)


@dataclass(frozen=True)
class Rates:
    """Operating points at each distinct target score, (points,) each, the lowest score first.

    Attributes:
        miss, accept: where trials of this score are accepted.
        miss_above, accept_above: where they are just not.
    """

    miss: Doubles
    accept: Doubles
    miss_above: Doubles
    accept_above: Doubles

    def eer(self) -> float:
        """Percent; as `sv.scoring.metrics.eer`.

        Between two target scores false accept alone changes: where it passes through the miss rate there, that is the
        EER. Else it is on the line between both operating points of one score.
        """
        at = int(np.argmax(self.miss_above >= self.accept_above))  # the highest score has a miss rate of 1 above it
        gap = self.accept[at] - self.miss[at]
        if gap <= 0:
            return 100 * float(self.miss[at])
        share = gap / (gap + self.miss_above[at] - self.accept_above[at])
        return 100 * float(self.miss[at] + share * (self.miss_above[at] - self.miss[at]))

    def min_dcf(self, p_target: float, c_miss: float, c_fa: float) -> float:
        """As `sv.scoring.metrics.min_dcf`."""
        miss_cost, accept_cost = c_miss * p_target, c_fa * (1 - p_target)
        lowest = (miss_cost * self.miss + accept_cost * self.accept).min()
        return float(min(lowest, miss_cost) / min(miss_cost, accept_cost))


class WeightedTrials:
    """Trials by ascending score, ready for any weights of their speakers.

    Raises:
        UserError: no target or no non-target trial, NaN or infinite scores, one speaker alone.
    """

    def __init__(self, trials: SpeakerTrials) -> None:
        sort_scores(trials.scores[trials.is_target], trials.scores[~trials.is_target])  # checks them
        self.speakers = trials.speakers
        if len(self.speakers) < 2:
            raise UserError("all trials are of one speaker; intervals resample speakers and need two or more")
        target, nontarget = np.flatnonzero(trials.is_target), np.flatnonzero(~trials.is_target)
        target = target[np.argsort(trials.scores[target], kind="stable")]
        nontarget = nontarget[np.argsort(trials.scores[nontarget], kind="stable")]
        self._target = trials.enroll[target]  # speaker of each target trial, by score
        self._enroll, self._test = trials.enroll[nontarget], trials.test[nontarget]
        distinct, self._first = np.unique(trials.scores[target], return_index=True)
        self._below = np.searchsorted(trials.scores[nontarget], distinct, side="left")
        self._through = np.searchsorted(trials.scores[nontarget], distinct, side="right")

    def rates(self, weights: Doubles) -> Rates | None:
        """Operating points under weights of the speakers, (highest speaker + 1,); None if all of one kind weigh 0."""
        target = _cumulate(weights[self._target])
        nontarget = _cumulate(weights[self._enroll] * weights[self._test])
        if target[-1] == 0 or nontarget[-1] == 0:
            return None
        miss = target[self._first] / target[-1]
        return Rates(
            miss=miss,
            accept=1 - nontarget[self._below] / nontarget[-1],
            miss_above=np.append(miss[1:], 1.0),
            accept_above=1 - nontarget[self._through] / nontarget[-1],
        )


def _cumulate(weights: Doubles) -> Doubles:
    """Sums over the first 0, 1, ... all of them; exact, for weights are whole numbers."""
    sums = np.empty(len(weights) + 1)
    sums[0] = 0
    np.cumsum(weights, out=sums[1:])
    return sums


def draw_weights(speakers: Rows, replicates: int, seed: int) -> Iterator[Doubles]:
    """How often each speaker was drawn, (highest speaker + 1,), for each replicate; decided by the seed alone."""
    rng = np.random.default_rng(seed)
    shares = np.full(len(speakers), 1 / len(speakers))
    for _ in range(replicates):
        weights = np.zeros(int(speakers[-1]) + 1)
        weights[speakers] = rng.multinomial(len(speakers), shares)
        yield weights


def replicate(
    systems: Sequence[SpeakerTrials],
    p_targets: Sequence[float] = (0.01, 0.05),
    *,
    replicates: int = 1000,
    seed: int = 0,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> Doubles:
    """EER in percent and minDCF at each prior of drawn speakers: (replicates, systems, 1 + priors).

    All systems are measured on the same draws. A draw without target or non-target trials is left out.

    Args:
        systems: the same trials, in the same order, scored by each.
        p_targets: priors of minDCF.
        replicates: how often speakers are drawn.
        seed: decides the draws.
        c_miss, c_fa: costs.

    Raises:
        UserError: as `WeightedTrials`; a prior or cost out of its range; too few speakers with target trials.
    """
    for p_target in p_targets:
        check_costs(p_target, c_miss, c_fa)
    weighted = [WeightedTrials(trials) for trials in systems]
    rows = []
    for weights in draw_weights(weighted[0].speakers, replicates, seed):
        found = [trials.rates(weights) for trials in weighted]
        if None not in found:
            rows.append([[r.eer(), *(r.min_dcf(p, c_miss, c_fa) for p in p_targets)] for r in found if r is not None])
    if len(rows) < replicates / 2:
        raise UserError("too few speakers have target trials to draw from; intervals need more speakers")
    return np.array(rows)
