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
from sv.metrics.cllr import bayes_threshold
from sv.metrics.error_rates import check_costs, sort_scores

Doubles = NDArray[np.float64]
Rows = NDArray[np.int32]


class FewSpeakers(UserError):
    """Too few to draw from."""


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
        """Percent; as `sv.metrics.error_rates.eer`.

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
        """As `sv.metrics.error_rates.min_dcf`."""
        miss_cost, accept_cost = c_miss * p_target, c_fa * (1 - p_target)
        lowest = (miss_cost * self.miss + accept_cost * self.accept).min()
        return float(min(lowest, miss_cost) / min(miss_cost, accept_cost))


class WeightedTrials:
    """Trials by ascending score, ready for any weights of their speakers.

    Raises:
        UserError: no target or no non-target trial, NaN or infinite scores.
        FewSpeakers: one speaker alone.
    """

    def __init__(self, trials: SpeakerTrials) -> None:
        sort_scores(trials.scores[trials.is_target], trials.scores[~trials.is_target])  # checks them
        self.speakers = trials.speakers
        if len(self.speakers) < 2:
            raise FewSpeakers("all trials are of one speaker; intervals resample speakers and need two or more")
        target, nontarget = np.flatnonzero(trials.is_target), np.flatnonzero(~trials.is_target)
        target = target[np.argsort(trials.scores[target], kind="stable")]
        nontarget = nontarget[np.argsort(trials.scores[nontarget], kind="stable")]
        self._target = trials.enroll[target]  # speaker of each target trial, by score
        self._enroll, self._test = trials.enroll[nontarget], trials.test[nontarget]
        self._scores = trials.scores[target], trials.scores[nontarget]
        distinct, self._first = np.unique(self._scores[0], return_index=True)
        self._below = np.searchsorted(self._scores[1], distinct, side="left")
        self._through = np.searchsorted(self._scores[1], distinct, side="right")

    def draw(self, weights: Doubles) -> "Draw | None":
        """These trials under weights of the speakers, (highest speaker + 1,); None if all of one kind weigh 0."""
        target, nontarget = weights[self._target], weights[self._enroll] * weights[self._test]
        if not target.any() or not nontarget.any():
            return None
        return Draw(self, target, nontarget)

    @cached_property
    def _nats(self) -> tuple[Doubles, Doubles]:
        """What each trial adds to Cllr, in nats, taking its score as a log-likelihood ratio."""
        return np.logaddexp(0, -self._scores[0]), np.logaddexp(0, self._scores[1])


@dataclass(frozen=True)
class Draw:
    """Trials of drawn speakers.

    Attributes:
        trials: all.
        target: (target trials,) how often each was drawn, by score.
        nontarget: (non-target trials,) the same of these.
    """

    trials: WeightedTrials
    target: Doubles
    nontarget: Doubles

    def rates(self) -> Rates:
        """Operating points."""
        at = self.trials
        target, nontarget = _cumulate(self.target), _cumulate(self.nontarget)
        miss = target[at._first] / target[-1]
        return Rates(
            miss=miss,
            accept=1 - nontarget[at._below] / nontarget[-1],
            miss_above=np.append(miss[1:], 1.0),
            accept_above=1 - nontarget[at._through] / nontarget[-1],
        )

    def act_dcf(self, p_target: float, c_miss: float, c_fa: float) -> float:
        """As `sv.metrics.cllr.act_dcf`."""
        threshold = bayes_threshold(p_target, c_miss=c_miss, c_fa=c_fa)
        missed, rejected = (int(np.searchsorted(scores, threshold)) for scores in self.trials._scores)
        miss = self.target[:missed].sum() / self.target.sum()
        accept = self.nontarget[rejected:].sum() / self.nontarget.sum()
        miss_cost, accept_cost = c_miss * p_target, c_fa * (1 - p_target)
        return float((miss_cost * miss + accept_cost * accept) / min(miss_cost, accept_cost))

    def cllr(self) -> float:
        """As `sv.metrics.cllr.cllr`."""
        pairs = zip((self.target, self.nontarget), self.trials._nats, strict=True)
        return float(sum(weights @ nats / weights.sum() for weights, nats in pairs) / (2 * np.log(2)))


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
    llr: bool = False,
    replicates: int = 1000,
    seed: int = 0,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> Doubles:
    """EER in percent and minDCF at each prior of drawn speakers: (replicates, systems, 1 + priors).

    All systems are measured on the same draws. A draw without target or non-target trials is left out.

    Args:
        systems: the same trials, in the same order, scored by each.
        p_targets: priors of minDCF, and of actDCF.
        llr: scores are natural logarithms of likelihood ratios: behind minDCF actDCF at each prior, and Cllr.
        replicates: how often speakers are drawn.
        seed: decides the draws.
        c_miss, c_fa: costs.

    Raises:
        UserError: as `WeightedTrials`; a prior or cost out of its range.
        FewSpeakers: with target trials.
    """
    for p_target in p_targets:
        check_costs(p_target, c_miss, c_fa)
    weighted = [WeightedTrials(trials) for trials in systems]
    rows = []
    for weights in draw_weights(weighted[0].speakers, replicates, seed):
        draws = [draw for trials in weighted if (draw := trials.draw(weights))]
        if len(draws) == len(weighted):
            rows.append([_measured(draw, p_targets, llr, c_miss, c_fa) for draw in draws])
    if len(rows) < replicates / 2:
        raise FewSpeakers("too few speakers have target trials to draw from; intervals need more speakers")
    return np.array(rows)


def _measured(draw: Draw, p_targets: Sequence[float], llr: bool, c_miss: float, c_fa: float) -> list[float]:
    rates = draw.rates()
    found = [rates.eer(), *(rates.min_dcf(p, c_miss, c_fa) for p in p_targets)]
    return [*found, *(draw.act_dcf(p, c_miss, c_fa) for p in p_targets), draw.cllr()] if llr else found
