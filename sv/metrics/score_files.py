"""Score files of any length, measured in one pass and in little memory.

What depends on the scores alone is measured on all of them, counted (`sv.metrics.score_counts`). Intervals and paired
tests, which depend on the speakers as well, are taken from a sample where there are more than a million trials of a
kind.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sv.errors import UserError, log
from sv.io import ScoredTrials, iter_same_trials, iter_scored_trials
from sv.io.columns import byte_bar
from sv.metrics.bootstrap import FewSpeakers, SpeakerTrials
from sv.metrics.breakdown import Part, PartCounter, Words, conditions_of
from sv.metrics.measures import Measures, measure
from sv.metrics.score_counts import KindCounter
from sv.metrics.significance import Difference, Intervals, compare, intervals
from sv.metrics.trial_speakers import Speakers

_MOST = 1_000_000  # trials of a kind that intervals are taken from


def measure_file(
    path: Path,
    p_targets: Sequence[float] = (0.01, 0.05),
    *,
    llr: bool = False,
    speakers: Speakers | None = None,
    conditions: Sequence[Callable[[ScoredTrials], dict[str, Words]]] = (),
    replicates: int = 200,
) -> tuple[Measures, Intervals | None, list[Part]]:
    """Numbers of a score file, their intervals if its speakers are known and not too few, and those of its parts. On a
    terminal a bar shows how far it is.

    Args:
        path: with labels.
        p_targets: priors of minDCF and actDCF.
        llr: the scores are natural logarithms of likelihood ratios.
        speakers: of the utterances.
        conditions: each tells of a block of trials what to part them by.
        replicates: draws of speakers for the intervals.

    Raises:
        UserError: a file that can not be read; without labels; without targets or non-targets; see `Speakers.trials`
            and `conditions_of`.
    """
    counter, sample, parts = KindCounter(), TrialSample(), PartCounter()
    with byte_bar(path) as bar:
        for block in iter_scored_trials(path):
            counter.add(block)
            parts.add(block, conditions_of(block, conditions))
            if speakers is not None:
                sample.add(speakers.trials(block))
            bar.update(block.num_bytes)
    found, measured = _measure(path, counter, p_targets, llr), parts.parts(p_targets)
    if speakers is None:
        return found, None, measured
    (kept,) = sample.trials(path)
    try:
        return found, intervals(kept, p_targets, metrics=found, replicates=replicates), measured
    except FewSpeakers as error:
        log.warning("%s: %s; it is measured without", path, error)
        return found, None, measured


def compare_files(
    first: Path,
    second: Path,
    speakers: Speakers,
    p_targets: Sequence[float] = (0.01, 0.05),
    *,
    llr: bool = False,
    replicates: int = 200,
) -> list[Difference]:
    """Whether two systems differ on the same trials; see `compare`. On a terminal a bar shows how far it is.

    Args:
        first, second: score files of one trial list.
        speakers: of the utterances.
        p_targets, llr, replicates: as of `measure_file`; llr is of both.

    Raises:
        UserError: as `measure_file`, and `iter_same_trials`.
    """
    counters, sample = (KindCounter(), KindCounter()), TrialSample(systems=2)
    with byte_bar(first) as bar:
        for blocks in iter_same_trials([first, second]):
            for counter, block in zip(counters, blocks, strict=True):
                counter.add(block)
            sample.add(*(speakers.trials(block) for block in blocks))
            bar.update(blocks[0].num_bytes)
    pairs = zip((first, second), counters, strict=True)
    metrics = [_measure(path, counter, p_targets, llr) for path, counter in pairs]
    one, other = sample.trials(first)
    try:
        return compare(one, other, p_targets, metrics=metrics, replicates=replicates)
    except FewSpeakers as error:
        raise UserError(f"{first}: {error}; compare without --test-data") from error


def _measure(path: Path, counter: KindCounter, p_targets: Sequence[float], llr: bool) -> Measures:
    try:
        return measure(counter.sorted_scores(), p_targets, llr=llr)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


class TrialSample:
    """Trials with their speakers, thinned by chance wherever more of a kind than wanted would be held.

    Args:
        most: trials of a kind.
        seed: decides which.
        systems: that scored each trial.
    """

    def __init__(self, most: int = _MOST, seed: int = 0, *, systems: int = 1) -> None:
        self._most, self._rng = most, np.random.default_rng(seed)
        self._row = np.dtype(
            [("scores", np.float64, (systems,)), ("enroll", np.int32), ("test", np.int32), ("draw", np.float32)]
        )
        self._kept = {kind: [np.empty(0, dtype=self._row)] for kind in (True, False)}
        self._share = {True: 1.0, False: 1.0}  # of the trials that are kept
        self._seen = 0

    def add(self, *systems: SpeakerTrials) -> None:
        """Take in further trials: the same ones, scored by each system."""
        trials = systems[0]
        rows = np.empty(len(trials.scores), dtype=self._row)
        rows["scores"] = np.stack([system.scores for system in systems], axis=1)
        rows["enroll"], rows["test"] = trials.enroll, trials.test
        rows["draw"] = self._rng.random(len(rows), dtype=np.float32)
        for kind in (True, False):
            self._kept[kind].append(rows[(trials.is_target == kind) & (rows["draw"] < self._share[kind])])
            while sum(map(len, self._kept[kind])) > self._most:
                self._share[kind] /= 2
                whole = np.concatenate(self._kept[kind])
                self._kept[kind] = [whole[whole["draw"] < self._share[kind]]]
        self._seen += len(rows)

    def trials(self, source: Path) -> list[SpeakerTrials]:
        """Those that were kept, scored by each system; a line in the log if these are not all of `source`."""
        target, nontarget = (np.concatenate(self._kept[kind]) for kind in (True, False))
        rows = np.concatenate([target, nontarget])
        if len(rows) < self._seen:
            log.info("%s: intervals from %d of %d trials, drawn at random", source, len(rows), self._seen)
        is_target, enroll, test = np.arange(len(rows)) < len(target), rows["enroll"].copy(), rows["test"].copy()
        return [SpeakerTrials(scores.copy(), is_target, enroll, test) for scores in rows["scores"].T]
