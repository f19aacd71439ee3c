"""Error rates of a verification system: EER and minDCF, correct for tied scores too.

A trial is accepted when its score is at least the threshold. Trials of equal score are accepted or rejected together:
only the distinct scores are thresholds, and no result depends on the order of the trials.

    miss(t) = share of targets below t         false_accept(t) = share of non-targets at or above t
    EER     = miss = false_accept, on the straight line between the two operating points where they cross
    DCF(t)  = p_target miss(t) + (1 - p_target) false_accept(t)
    minDCF  = min over t of DCF(t) / min(p_target, 1 - p_target)

minDCF is normalized as in NIST's speaker recognition evaluations: 1 is what accepting or rejecting everything costs,
whichever is cheaper. Costs c_miss and c_fa other than 1 are those of the prior c_miss p / (c_miss p + c_fa (1 - p)).

Everything is read off one form, `SortedScores`: the sorted scores of both kinds, each with a weight. The weight is 1 in
a plain list, the count of a counted score (`sv.metrics.score_counts`), or the size of a pool of the ROC's convex hull
(`sv.metrics.rocch`).
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sv.errors import UserError, WrongCall

_BLOCK = 4096  # thresholds that are tried, or passed over, together


@dataclass(frozen=True)
class Ranked:
    """Scores of one kind of trials.

    Attributes:
        values: ascending; a score may come more than once.
        weights: (values,) whole numbers, int64 or float64: trials that each value stands for; None: one each.
    """

    values: NDArray[np.floating[Any]]
    weights: NDArray[Any] | None = None

    @cached_property
    def _sums(self) -> NDArray[Any]:
        """Return the weight of the first 0, 1, ... all values; exact, because weights are whole numbers."""
        assert self.weights is not None
        sums = np.zeros(len(self.weights) + 1, self.weights.dtype)
        np.cumsum(self.weights, out=sums[1:])
        return sums

    def before(self, rows: Any) -> Any:
        """Return the number of trials that come before these rows of `values`; rows may be a slice."""
        if self.weights is not None:
            return self._sums[rows]
        return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows

    @cached_property
    def total(self) -> Any:
        """Number of trials."""
        return self.before(len(self.values))

    def below(self, threshold: ArrayLike) -> Any:
        """Return the number of trials that score below each threshold."""
        return self.before(self.values.searchsorted(threshold, "left"))

    def through(self, threshold: ArrayLike) -> Any:
        """Return the number of trials that score each threshold or less."""
        return self.before(self.values.searchsorted(threshold, "right"))

    def at(self, rank: int) -> float:
        """Return the score of the trial that comes after `rank` others."""
        row = rank if self.weights is None else int(self._sums.searchsorted(rank, "right")) - 1
        return float(self.values[row])

    def mean(self, costs: NDArray[np.float64]) -> float:
        """Return the mean over the trials of what each value costs, (values,)."""
        return float(costs.mean() if self.weights is None else self.weights @ costs / self.total)


@dataclass(frozen=True)
class SortedScores:
    """Scores of the targets and of the non-targets, of one type, with at least one trial of each."""

    target: Ranked
    nontarget: Ranked

    def miss(self, threshold: ArrayLike) -> Any:
        """Return the share of targets below each threshold."""
        return self.target.below(threshold) / self.target.total

    def false_accept(self, threshold: ArrayLike) -> Any:
        """Return the share of non-targets at or above each threshold."""
        return self.accepted(self.nontarget.values.searchsorted(threshold, "left"))

    def accepted(self, rows: Any) -> Any:
        """Return the share of non-targets from these rows of their values on."""
        total = self.nontarget.total
        return (total - self.nontarget.before(rows)) / total

    def nontargets_below(self, rows: Any) -> Any:
        """Return the row of the first non-target value that is not below the target value of each of these rows."""
        return self.nontarget.values.searchsorted(self.target.values[rows], "left")

    def nontargets_through(self, rows: Any) -> Any:
        """Return the row of the first non-target value that is above the target value of each of these rows."""
        return self.nontarget.values.searchsorted(self.target.values[rows], "right")

    def llr_nats(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what each value of both kinds adds to Cllr as a log-likelihood ratio, in nats."""
        target, nontarget = self.target.values.astype(np.float64), self.nontarget.values.astype(np.float64)
        return np.logaddexp(0, -target), np.logaddexp(0, nontarget)

    def once(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return function(scores, *args), worked out once for all measures that need it."""
        if (function, args) not in self._known:
            self._known[function, args] = function(self, *args)
        return self._known[function, args]

    @cached_property
    def _known(self) -> dict[Any, Any]:
        return {}

    @property
    def above_all(self) -> np.floating[Any]:
        """The lowest threshold that rejects every trial."""
        highest = max(self.target.values[-1], self.nontarget.values[-1])
        return np.nextafter(highest, highest.dtype.type(np.inf))


def sort_scores(target: ArrayLike, nontarget: ArrayLike) -> SortedScores:
    """Sort the scores of target and non-target trials, as float32 if both are, else as float64.

    Args:
        target: in any order and shape.
        nontarget: likewise.

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


def check_any(count: int, kind: str, where: str = "") -> None:
    """Raise UserError if there are no trials of a kind."""
    if count == 0:
        raise UserError(f"{where}no {kind} trials; EER and minDCF need trials of both kinds, target and nontarget")


def check_prior(p_target: float) -> None:
    """Raise WrongCall unless the prior of a target is between 0 and 1."""
    if not 0 < p_target < 1:
        raise WrongCall(f"p_target {p_target}: expected 0 < p_target < 1, such as 0.01")


def eer(scores: SortedScores) -> float:
    """Return the equal error rate in percent.

    Miss grows and false accept falls with the threshold: bisection finds the lowest target score above which more
    targets are missed than non-targets accepted, whose row within a tie does not matter. Below that score, down to the
    next target score, false accept alone changes.
    """
    before, total, last = scores.target.before, scores.target.total, len(scores.target.values) - 1

    def accept_above(row: int) -> Any:
        return scores.accepted(scores.nontargets_through(row))

    row = bisect_left(range(last), True, key=lambda row: bool(before(row + 1) / total >= accept_above(row)))
    at = scores.target.values[row]
    miss, accept = float(scores.miss(at)), float(scores.accepted(scores.nontargets_below(row)))
    if miss >= accept:
        return 100 * miss
    miss_above = float(scores.target.through(at) / total)
    share = (accept - miss) / (accept - miss + (miss_above - float(accept_above(row))))
    return 100 * (miss + share * (miss_above - miss))


def eer_threshold(scores: SortedScores) -> float:
    """Return the threshold of the nearer of the two operating points that the EER lies between."""
    kinds = scores.target.values, scores.nontarget.values
    crossed = [bisect_left(v, True, key=lambda t: bool(scores.miss(t) >= scores.false_accept(t))) for v in kinds]
    after = min((v[row] for v, row in zip(kinds, crossed, strict=True) if row < len(v)), default=scores.above_all)
    before = max(v[row - 1] for v, row in zip(kinds, crossed, strict=True) if row > 0)
    gaps = [abs(scores.false_accept(t) - scores.miss(t)) for t in (before, after)]
    return float(before if gaps[0] <= gaps[1] else after)


def min_dcf(scores: SortedScores, p_target: float) -> float:
    """Return the lowest detection cost; 1 is the best that a system can do without looking at the scores.

    Raises:
        WrongCall: a prior out of its range.
    """
    return float(scores.once(_lowest_cost, p_target)[0])


def min_dcf_threshold(scores: SortedScores, p_target: float) -> float:
    """Return the lowest threshold that has the cost `min_dcf`; above all scores where rejecting everything is best."""
    row = scores.once(_lowest_cost, p_target)[1]
    return float(scores.above_all if row < 0 else scores.target.values[row])


def one_error_eer(scores: SortedScores) -> float:
    """Return what one more error of either kind adds to the EER at most, in percent."""
    return float(100 / scores.target.total + 100 / scores.nontarget.total)


def one_error_dcf(scores: SortedScores, p_target: float) -> float:
    """Return what one more error of either kind adds to the cost at a threshold."""
    cost = p_target / scores.target.total + (1 - p_target) / scores.nontarget.total
    return float(cost / min(p_target, 1 - p_target))


def _lowest_cost(scores: SortedScores, p_target: float) -> tuple[float, int]:
    """Return the lowest cost, and the row of the lowest target score that has it; -1 if rejecting everything is best.

    Only the target scores, and a threshold above all, can be best.

    Raising a threshold up to the next target score misses no more targets and accepts no more non-targets.
    """
    check_prior(p_target)
    best, at = p_target, -1  # the cost of rejecting everything
    for rows in _promising(scores, p_target):
        cost = _costs(scores, p_target, rows, rows)
        row = int(cost.argmin())
        if cost[row] < best or (cost[row] == best and at < 0):
            best, at = float(cost[row]), rows.start + row
    return best / min(p_target, 1 - p_target), at


def _promising(scores: SortedScores, p_target: float) -> list[slice]:
    """Return the blocks of successive target scores, as rows, that may hold the lowest cost.

    Within a block no cost is below its first miss with its last false accept: most blocks are out of the question.
    """
    count = len(scores.target.values)
    if count <= _BLOCK:
        return [slice(0, count)]
    starts = np.arange(0, count, _BLOCK)
    ends = np.minimum(starts + _BLOCK, count)
    bound, reached = (_costs(scores, p_target, starts, rows) for rows in (ends - 1, starts))
    some = np.flatnonzero(bound <= min(reached.min(), p_target))
    return [slice(start, end) for start, end in zip(starts[some].tolist(), ends[some].tolist(), strict=True)]


def _costs(scores: SortedScores, p_target: float, missed: Any, accepted: Any) -> Any:
    """Return the cost of missing the targets before some rows, and accepting non-targets from the scores of others on.

    Within a tie of targets it is too high, but right at the first one.
    """
    miss = scores.target.before(missed) / scores.target.total
    return p_target * miss + (1 - p_target) * scores.accepted(scores.nontargets_below(accepted))
