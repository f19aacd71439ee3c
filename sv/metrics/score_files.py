"""Score files of any length, measured in one pass and in little memory.

Whatever depends on the scores alone is measured on all of them, counted (`sv.metrics.score_counts`). Intervals and
paired tests, which depend on the speakers as well, are taken from a sample if there are more than a million trials of a
kind.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from sv.errors import UserError, log
from sv.io import ScoredTrials, iter_same_trials, iter_scored_trials
from sv.io.columns import byte_bar
from sv.metrics.bootstrap import FewSpeakers
from sv.metrics.breakdown import Part, PartCounter, Words, conditions_of
from sv.metrics.measures import Column, Measured, measure
from sv.metrics.score_counts import KindCounter
from sv.metrics.significance import Difference, Intervals, compare, intervals
from sv.metrics.trial_speakers import Speakers, TrialSample


def measure_file(
    path: Path,
    columns: Sequence[Column],
    *,
    speakers: Speakers | None = None,
    conditions: Sequence[Callable[[ScoredTrials], dict[str, Words]]] = (),
    replicates: int = 200,
) -> tuple[Measured, Intervals | None, list[Part]]:
    """Measure a score file and its parts, with intervals if its speakers are known and not too few.

    On a terminal a bar shows how far it is.

    Args:
        path: with labels.
        columns: what is measured.
        speakers: of the utterances.
        conditions: each returns, for a block of trials, what to part them by.
        replicates: draws of speakers for the intervals.

    Raises:
        UserError: a file that cannot be read; without labels; without targets or non-targets; see `Speakers.trials`
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
    measured, found = _measure(path, counter, columns), None
    if speakers is not None:
        (kept,) = sample.trials(path)
        try:
            found = intervals(kept, measured, replicates=replicates)
        except FewSpeakers as error:
            log.warning("%s: %s; it is measured without", path, error)
    return measured, found, parts.parts(columns)


def compare_files(
    paths: tuple[Path, Path], speakers: Speakers, columns: Sequence[Column], *, replicates: int = 200
) -> list[Difference]:
    """Test whether two systems differ on the same trials; see `compare`. On a terminal a bar shows how far it is.

    Args:
        paths: two score files of one trial list.
        speakers: of the utterances.
        columns: what is compared; measures without interval are left out.
        replicates: draws of speakers.

    Raises:
        UserError: as `measure_file`, and `iter_same_trials`.
    """
    counters, sample = (KindCounter(), KindCounter()), TrialSample(systems=2)
    with byte_bar(paths[0]) as bar:
        for blocks in iter_same_trials(paths):
            for counter, block in zip(counters, blocks, strict=True):
                counter.add(block)
            sample.add(*(speakers.trials(block) for block in blocks))
            bar.update(blocks[0].num_bytes)
    columns = [column for column in columns if column.measure.interval is not None]
    measured = [_measure(path, counter, columns) for path, counter in zip(paths, counters, strict=True)]
    try:
        return compare(sample.trials(paths[0]), measured, replicates=replicates)
    except FewSpeakers as error:
        raise UserError(f"{paths[0]}: {error}; compare without --test-data") from error


def _measure(path: Path, counter: KindCounter, columns: Sequence[Column]) -> Measured:
    try:
        return measure(counter.sorted_scores(), columns)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
