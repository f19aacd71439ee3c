"""Score histograms: all that EER, minDCF and other measures without speakers need.

Tied trials are accepted or rejected together, so only the distinct scores count. A score file holds five decimals:
cosines take at most 200,001 values, and 50 million of them need no more memory than half a million.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.io import ScoredTrials
from sv.metrics.error_rates import Ranked, SortedScores, check_any

Doubles = NDArray[np.float64]

_CHUNK = 1 << 20  # scores gathered before they are counted


class ScoreCounter:
    """Counts of each distinct score, of scores that come in blocks."""

    def __init__(self) -> None:
        self._values: Doubles = np.empty(0)
        self._counts: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._waiting: list[Doubles] = []
        self._num_waiting = 0

    def add(self, scores: Doubles) -> None:
        """Count further scores, (trials,) and finite."""
        self._waiting.append(scores)
        self._num_waiting += len(scores)
        if self._num_waiting >= max(_CHUNK, len(self._values) // 4):
            self._merge()

    @property
    def total(self) -> int:
        """Number of scores so far."""
        return int(self._counts.sum()) + self._num_waiting

    def _merge(self) -> None:
        waiting: Doubles = np.concatenate([*self._waiting, np.empty(0)])
        values, counts = np.unique(waiting, return_counts=True)
        self._waiting, self._num_waiting = [], 0
        row = np.searchsorted(self._values, values)
        known = np.append(self._values, np.nan)[row] == values
        self._counts[row[known]] += counts[known]
        self._values = np.insert(self._values, row[~known], values[~known])
        self._counts = np.insert(self._counts, row[~known], counts[~known])

    def ranked(self) -> Ranked:
        """Return all scores so far, with their counts."""
        self._merge()
        return Ranked(self._values, self._counts)


class KindCounter:
    """Counts of each distinct score of the targets and of the non-targets of a file."""

    def __init__(self) -> None:
        self.target, self.nontarget = ScoreCounter(), ScoreCounter()
        self._path = Path()

    def add(self, scores: ScoredTrials, some: NDArray[np.bool_] | bool = True) -> None:
        """Count further trials, or some of them; raise UserError for scores without labels."""
        is_target, self._path = scores.labels(), scores.path
        self.target.add(scores.values[is_target & some])
        self.nontarget.add(scores.values[~is_target & some])

    def sorted_scores(self) -> SortedScores:
        """Return all scores so far; raise UserError if the trials are of one kind alone."""
        for kind, counter in (("target", self.target), ("nontarget", self.nontarget)):
            check_any(counter.total, kind, f"{self._path}: ")
        return SortedScores(self.target.ranked(), self.nontarget.ranked())
