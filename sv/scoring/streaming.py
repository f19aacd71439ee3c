"""A score file of any length, measured in one pass and in little memory.

EER, minDCF and what else is measured depend on nothing but how often each score occurs among targets and among
non-targets, since tied trials are accepted or rejected together. A score file holds five decimals: cosines take at most
200,001 values, and 50 million of them need no more memory than half a million. Intervals, which depend on the speakers
as well, are taken from a sample where there are more than a million trials of a kind.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, log
from sv.io import ScoredTrials, iter_scored_trials
from sv.scoring.bootstrap import SpeakerTrials
from sv.scoring.measures import Measures, measure
from sv.scoring.metrics import Ranked, SortedScores, check_any
from sv.scoring.score_list import byte_bar
from sv.scoring.significance import Intervals, intervals
from sv.scoring.trial_speakers import Speakers

Doubles = NDArray[np.float64]

_CHUNK = 1 << 20  # scores gathered before they are counted
_MOST = 1_000_000  # trials of a kind that intervals are taken from
_ROW = np.dtype([("score", np.float64), ("enroll", np.int32), ("test", np.int32), ("draw", np.float32)])


def measure_file(
    path: Path,
    p_targets: Sequence[float] = (0.01, 0.05),
    *,
    llr: bool = False,
    speakers: Speakers | None = None,
    replicates: int = 200,
) -> tuple[Measures, Intervals | None]:
    """Numbers of a score file, and their intervals if its speakers are known. On a terminal a bar shows how far it is.

    Args:
        path: with labels.
        p_targets: priors of minDCF and actDCF.
        llr: the scores are natural logarithms of likelihood ratios.
        speakers: of the utterances.
        replicates: draws of speakers for the intervals.

    Raises:
        UserError: a file that can not be read; without labels; without targets or non-targets; see `Speakers.trials`.
    """
    counter, sample = KindCounter(), TrialSample()
    with byte_bar(path) as bar:
        for block in iter_scored_trials(path):
            counter.add(block)
            if speakers is not None:
                sample.add(speakers.trials(block))
            bar.update(block.num_bytes)
    try:
        found = measure(counter.sorted_scores(), p_targets, llr=llr)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if speakers is None:
        return found, None
    return found, intervals(sample.trials(path), p_targets, metrics=found, replicates=replicates)


class ScoreCounter:
    """How often each score occurs among scores that come by and by."""

    def __init__(self) -> None:
        self._values, self._counts = np.empty(0), np.empty(0, dtype=np.int64)
        self._waiting: list[Doubles] = []
        self._num_waiting = 0

    def add(self, scores: Doubles) -> None:
        """Count these, (trials,) and finite, too."""
        self._waiting.append(scores)
        self._num_waiting += len(scores)
        if self._num_waiting >= max(_CHUNK, len(self._values) // 4):
            self._merge()

    @property
    def total(self) -> int:
        """Scores so far."""
        return int(self._counts.sum()) + self._num_waiting

    def _merge(self) -> None:
        values, counts = np.unique(np.concatenate([*self._waiting, np.empty(0)]), return_counts=True)
        self._waiting, self._num_waiting = [], 0
        row = np.searchsorted(self._values, values)
        known = np.append(self._values, np.nan)[row] == values
        self._counts[row[known]] += counts[known]
        self._values = np.insert(self._values, row[~known], values[~known])
        self._counts = np.insert(self._counts, row[~known], counts[~known])

    def ranked(self, kind: str) -> Ranked:
        """All scores so far.

        Args:
            kind: of the trials, for errors.

        Raises:
            UserError: there is none.
        """
        self._merge()
        check_any(len(self._values), kind)
        return Ranked(self._values, np.concatenate([[0], np.cumsum(self._counts)]))


class KindCounter:
    """How often each score occurs among the targets and among the non-targets that come by."""

    def __init__(self) -> None:
        self.target, self.nontarget = ScoreCounter(), ScoreCounter()

    def add(self, scores: ScoredTrials, some: NDArray[np.bool_] | bool = True) -> None:
        """Count trials, or some of them, too.

        Raises:
            UserError: scores without labels.
        """
        is_target = scores.labels()
        self.target.add(scores.values[is_target & some])
        self.nontarget.add(scores.values[~is_target & some])

    def sorted_scores(self) -> SortedScores:
        """All so far.

        Raises:
            UserError: trials of one kind alone.
        """
        return SortedScores(self.target.ranked("target"), self.nontarget.ranked("nontarget"))


class TrialSample:
    """Trials with their speakers, thinned by chance wherever more of a kind than wanted would be held.

    Args:
        most: trials of a kind.
        seed: decides which.
    """

    def __init__(self, most: int = _MOST, seed: int = 0) -> None:
        self._most, self._rng = most, np.random.default_rng(seed)
        self._kept = {kind: [np.empty(0, dtype=_ROW)] for kind in (True, False)}
        self._share = {True: 1.0, False: 1.0}  # of the trials that are kept
        self._seen = 0

    def add(self, trials: SpeakerTrials) -> None:
        """Take in further trials."""
        rows = np.empty(len(trials.scores), dtype=_ROW)
        rows["score"], rows["enroll"], rows["test"] = trials.scores, trials.enroll, trials.test
        rows["draw"] = self._rng.random(len(rows), dtype=np.float32)
        for kind in (True, False):
            self._kept[kind].append(rows[(trials.is_target == kind) & (rows["draw"] < self._share[kind])])
            while sum(map(len, self._kept[kind])) > self._most:
                self._share[kind] /= 2
                whole = np.concatenate(self._kept[kind])
                self._kept[kind] = [whole[whole["draw"] < self._share[kind]]]
        self._seen += len(rows)

    def trials(self, source: Path) -> SpeakerTrials:
        """Those that were kept; a line in the log if these are not all of `source`."""
        target, nontarget = (np.concatenate(self._kept[kind]) for kind in (True, False))
        rows = np.concatenate([target, nontarget])
        if len(rows) < self._seen:
            log.info("%s: intervals from %d of %d trials, drawn at random", source, len(rows), self._seen)
        is_target = np.arange(len(rows)) < len(target)
        return SpeakerTrials(rows["score"].copy(), is_target, rows["enroll"].copy(), rows["test"].copy())
