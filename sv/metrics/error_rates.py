"""Error rates of a verification system: EER and minDCF, with tied scores handled right.

A trial is accepted when its score is at least the threshold. Trials of equal score are accepted or rejected together:
only the distinct scores are thresholds, and no result depends on the order of the trials.

    miss(t) = share of targets below t         false_accept(t) = share of non-targets at or above t
    EER     = miss = false_accept, on the straight line between the two operating points where they cross
    DCF(t)  = c_miss p_target miss(t) + c_fa (1 - p_target) false_accept(t)
    minDCF  = min over t of DCF(t) / min(c_miss p_target, c_fa (1 - p_target))

minDCF is normalized as in NIST's speaker recognition evaluations: 1 is what accepting or rejecting everything costs,
whichever is cheaper. All is read off the two sorted lists of scores: one sort of all scores is nearly the whole cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sv.errors import UserError

_BLOCK = 4096  # thresholds tried, or passed over, together


@dataclass(frozen=True)
class Metrics:
    """What `evaluate` measures.

    Attributes:
        eer: percent.
        eer_threshold: a score; accepting from here on errs about as often on targets as on non-targets.
        min_dcf: by p_target.
        min_dcf_threshold: by p_target; just above the highest score where rejecting everything is best.
        num_target, num_nontarget: trials.
    """

    eer: float
    eer_threshold: float
    min_dcf: dict[float, float]
    min_dcf_threshold: dict[float, float]
    num_target: int
    num_nontarget: int


@dataclass(frozen=True)
class Ranked:
    """Scores of one kind of trials.

    Attributes:
        values: ascending and finite; a score may come more than once.
        before: (values + 1,) int64, trials that come before each value, and all of them; None: each value is one trial.
    """

    values: NDArray[np.floating[Any]]
    before: NDArray[np.int64] | None = None

    @property
    def total(self) -> int:
        """Trials."""
        return len(self.values) if self.before is None else int(self.before[-1])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Trials at each of `values`."""
        return np.diff(self.trials_before(np.arange(len(self.values) + 1)))

    def trials_before(self, rows: Any) -> Any:
        """Trials before each of these rows of `values`."""
        return rows if self.before is None else self.before[rows]

    def below(self, threshold: ArrayLike) -> Any:
        """Trials whose score is below each threshold."""
        return self.trials_before(np.searchsorted(self.values, threshold, side="left"))

    def through(self, threshold: ArrayLike) -> Any:
        """Trials whose score is each threshold or below."""
        return self.trials_before(np.searchsorted(self.values, threshold, side="right"))

    def at(self, rank: int) -> float:
        """Score of the trial that comes after `rank` others."""
        row = rank if self.before is None else int(np.searchsorted(self.before, rank, side="right")) - 1
        return float(self.values[row])

    def mean(self, costs: NDArray[np.float64]) -> float:
        """Mean over the trials of what each value costs, (values,)."""
        return float(costs.mean() if self.before is None else self.counts @ costs / self.total)


@dataclass(frozen=True)
class SortedScores:
    """Scores of the targets and of the non-targets, of one type, one trial and more of each."""

    target: Ranked
    nontarget: Ranked

    def miss(self, threshold: ArrayLike) -> Any:
        """Share of targets below each threshold."""
        return self.target.below(threshold) / self.target.total

    def false_accept(self, threshold: ArrayLike) -> Any:
        """Share of non-targets at or above each threshold."""
        count = self.nontarget.total
        return (count - self.nontarget.below(threshold)) / count

    @property
    def above_all(self) -> np.floating[Any]:
        """The lowest threshold that rejects every trial."""
        highest = max(self.target.values[-1], self.nontarget.values[-1])
        return np.nextafter(highest, highest.dtype.type(np.inf))


def sort_scores(target: ArrayLike, nontarget: ArrayLike) -> SortedScores:
    """Sort the two lists, as float32 if both are, else as float64.

    Raises:
        UserError: a list is empty, or holds NaN or an infinite value.
    """
    both_single = np.asarray(target).dtype == np.asarray(nontarget).dtype == np.float32
    dtype = np.float32 if both_single else np.float64
    return SortedScores(_sorted(target, dtype, "target"), _sorted(nontarget, dtype, "nontarget"))


def _sorted(scores: ArrayLike, dtype: type[np.floating[Any]], kind: str) -> Ranked:
    ascending = np.sort(np.asarray(scores, dtype=dtype), axis=None)
    check_any(len(ascending), kind)
    if not np.isfinite(ascending[[0, -1]]).all():  # the sort puts NaN last
        count = int((~np.isfinite(ascending)).sum())
        raise UserError(f"{count} of {len(ascending)} {kind} scores are NaN or infinite; score these trials again")
    return Ranked(ascending)


def check_any(count: int, kind: str) -> None:
    """Refuse a list without trials of a kind.

    Raises:
        UserError: there is none.
    """
    if count == 0:
        raise UserError(f"no {kind} trials; EER and minDCF need trials of both kinds, target and nontarget")


def eer(target: ArrayLike, nontarget: ArrayLike) -> tuple[float, float]:
    """Equal error rate in percent, and the threshold of the nearer of the two operating points that it lies between.

    Args:
        target: scores of target trials, in any order and shape.
        nontarget: scores of non-target trials.

    Raises:
        UserError: a list is empty, or holds NaN or an infinite value.
    """
    return eer_of_sorted(sort_scores(target, nontarget))


def min_dcf(
    target: ArrayLike, nontarget: ArrayLike, p_target: float, *, c_miss: float = 1.0, c_fa: float = 1.0
) -> tuple[float, float]:
    """Lowest detection cost, 1 being the best system that does not look, and the lowest threshold that has it.

    Args:
        target: scores of target trials, in any order and shape.
        nontarget: scores of non-target trials.
        p_target: prior probability of a target, between 0 and 1.
        c_miss: cost of rejecting a target.
        c_fa: cost of accepting a non-target.

    Raises:
        UserError: a list is empty, or holds NaN or an infinite value; a prior or cost out of its range.
    """
    return min_dcf_of_sorted(sort_scores(target, nontarget), p_target, c_miss=c_miss, c_fa=c_fa)


def evaluate(target: ArrayLike, nontarget: ArrayLike, p_targets: Sequence[float] = (0.01, 0.05)) -> Metrics:
    """EER, and minDCF at each prior, from one sort."""
    return evaluate_sorted(sort_scores(target, nontarget), p_targets)


def evaluate_sorted(scores: SortedScores, p_targets: Sequence[float]) -> Metrics:
    """As `evaluate`."""
    equal, equal_threshold = eer_of_sorted(scores)
    costs = {p: min_dcf_of_sorted(scores, p) for p in p_targets}
    return Metrics(
        eer=equal,
        eer_threshold=equal_threshold,
        min_dcf={p: cost for p, (cost, _) in costs.items()},
        min_dcf_threshold={p: threshold for p, (_, threshold) in costs.items()},
        num_target=scores.target.total,
        num_nontarget=scores.nontarget.total,
    )


def check_costs(p_target: float, c_miss: float, c_fa: float) -> None:
    """Refuse a prior that is no probability between 0 and 1, and costs that are not above 0.

    Raises:
        UserError: one of them is.
    """
    if not (0 < p_target < 1 and 0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise UserError(
            f"p_target {p_target}, c_miss {c_miss}, c_fa {c_fa}: expected 0 < p_target < 1 and costs above 0"
        )


def eer_of_sorted(scores: SortedScores) -> tuple[float, float]:
    """As `eer`. Miss grows and false accept falls with the threshold: bisection finds where they cross."""
    crossings = [
        values[i]
        for values in (scores.target.values, scores.nontarget.values)
        if (i := _first_crossing(values, scores)) < len(values)
    ]
    after = min(crossings) if crossings else scores.above_all
    before = max(
        values[i - 1]
        for values in (scores.target.values, scores.nontarget.values)
        if (i := int(np.searchsorted(values, after, side="left"))) > 0
    )
    miss_before, accept_before = float(scores.miss(before)), float(scores.false_accept(before))
    miss_after, accept_after = float(scores.miss(after)), float(scores.false_accept(after))
    gap_before, gap_after = accept_before - miss_before, miss_after - accept_after  # > 0, >= 0
    share = gap_before / (gap_before + gap_after)
    equal = miss_before + share * (miss_after - miss_before)
    return 100 * equal, float(before if gap_before <= gap_after else after)


def _first_crossing(values: NDArray[np.floating[Any]], scores: SortedScores) -> int:
    """Index of the lowest of `values` at which the targets are missed at least as often as non-targets are accepted."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if scores.miss(values[middle]) >= scores.false_accept(values[middle]):
            high = middle
        else:
            low = middle + 1
    return low


def min_dcf_of_sorted(
    scores: SortedScores, p_target: float, *, c_miss: float = 1.0, c_fa: float = 1.0
) -> tuple[float, float]:
    """As `min_dcf`. Only the target scores, and a threshold above all, can be best.

    Raising a threshold up to the next target score misses no more targets and accepts no more non-targets.
    """
    check_costs(p_target, c_miss, c_fa)
    miss_cost, accept_cost = c_miss * p_target, c_fa * (1 - p_target)
    values, total = scores.target.values, scores.target.total
    starts = np.arange(0, len(values), _BLOCK)  # of blocks of successive target scores
    ends = np.minimum(starts + _BLOCK, len(values))
    missed = miss_cost * (scores.target.trials_before(starts) / total)
    # Within a block no cost is below its first miss with its last false accept: most blocks are out of the question.
    bound = missed + accept_cost * scores.false_accept(values[ends - 1])
    reached = missed + accept_cost * scores.false_accept(values[starts])
    best, threshold = miss_cost, float(scores.above_all)
    for block in np.flatnonzero(bound <= min(reached.min(), best)).tolist():
        rows = np.arange(starts[block], ends[block])
        candidates = values[rows]
        miss = scores.target.trials_before(rows) / total  # too high within a tie, but right at its first target
        cost = miss_cost * miss + accept_cost * scores.false_accept(candidates)
        lowest = int(np.argmin(cost))
        if (cost[lowest], candidates[lowest]) < (best, threshold):
            best, threshold = float(cost[lowest]), float(candidates[lowest])
    return best / min(miss_cost, accept_cost), threshold
