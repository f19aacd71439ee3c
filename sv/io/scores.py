"""Read score files: lines `enroll test 0.12345 target|nontarget`, with five decimals; labels may be missing.

Metrics are measured on these rounded scores: two trials whose scores agree to five decimals are tied.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io.columns import WORD_LABELS, Columns, iter_columns, parse_labels
from sv.io.trials import Trials, iter_list
from sv.io.words import Words, WordTable

_NO_ROWS = (np.empty(0, dtype=np.int32),) * 2


class Ids(list[str]):
    """Ids of a file, to which the reader appends while it reads on."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__(names)
        self._known: dict[Callable[[str], Any], NDArray[Any]] = {}

    def look_up(self, value_of: Callable[[str], Any], dtype: Any = None) -> NDArray[Any]:
        """Return what a function returns for each id, (ids,); it is called once for each id and file."""
        known = self._known.get(value_of, np.empty(0, dtype))
        if len(known) < len(self):
            values = np.array([value_of(name) for name in self[len(known) :]], dtype)
            self._known[value_of] = known = np.concatenate([known, values]) if len(known) else values
        return known


@dataclass(frozen=True)
class ScoredTrials:
    """Successive lines of a score file, or all of them: ids, scores, labels and further columns.

    Attributes:
        path: the file.
        first_line: number of the first line, from 1.
        ids: models and utterances of the file, in the order in which they first appear, up to these lines at least.
        enroll, test: (trials,) int32, rows of `ids`.
        values: (trials,) float64.
        is_target: (trials,) bool; None where the file has no labels.
        more: (trials, columns) float64, the columns after the label. A file of normalized scores has the magnitudes of
            both embeddings and the mean cohort scores of both sides there.
        num_bytes: size of the lines in the file.
    """

    path: Path
    first_line: int
    ids: Ids
    enroll: NDArray[np.int32]
    test: NDArray[np.int32]
    values: NDArray[np.float64]
    is_target: NDArray[np.bool_] | None
    more: NDArray[np.float64]
    num_bytes: int

    def __len__(self) -> int:
        return len(self.values)

    def labels(self) -> NDArray[np.bool_]:
        """Return for each trial whether it is a target trial.

        Raises:
            UserError: the file has no labels.
        """
        if self.is_target is None:
            raise UserError(f"{self.path}: scores without labels; score a trial list 'enroll test target|nontarget'")
        return self.is_target

    def both_sides(
        self,
        table: Mapping[str, Any],
        source: Path,
        test_table: Mapping[str, Any] | None = None,
        remedy: str = "add it",
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Look up the enroll and the test side of each trial.

        Args:
            table: what each id has.
            source: its file, for errors.
            test_table: what each id has on the test side; None: as on the enroll side.
            remedy: what to do about an unknown id, for errors.

        Raises:
            UserError: a table lacks an id of the trials.
        """
        try:
            enroll, test = (self.ids.look_up(side.__getitem__) for side in (table, test_table or table))
        except KeyError as error:
            missing = error.args[0]
            told = f"{source} has no line for utterance {missing}, which is in {self.path}"
            raise UserError(f"{told}; {remedy}") from error
        return enroll[self.enroll], test[self.test]

    def part(self, start: int, stop: int | None = None) -> "ScoredTrials":
        """Return successive trials of these, with their share of the bytes."""
        rows = slice(start, stop)
        values = self.values[rows]
        return replace(
            self,
            first_line=self.first_line + start,
            enroll=self.enroll[rows],
            test=self.test[rows],
            values=values,
            is_target=None if self.is_target is None else self.is_target[rows],
            more=self.more[rows],
            num_bytes=self.num_bytes * len(values) // len(self),
        )

    def as_trials(self) -> Trials:
        """Return the trials as a block for `sv.io.score_writer`."""
        ids = self.ids.look_up(str, object)
        return Trials(self.path, self.first_line, ids, ids, self.enroll, self.test, self.is_target, self.num_bytes)


def iter_scored_trials(
    path: str | Path, trials: Path | None = None, *, need_ids: bool = True
) -> Iterator[ScoredTrials]:
    """Read a score file in blocks of some 10,000 trials; the ids seen so far are held, not the whole file.

    Args:
        path: the file.
        trials: the list of the same trials, whose labels the scores get if they have none.
        need_ids: False: `ids`, `enroll` and `test` may be empty, which saves a third of the time.

    Raises:
        UserError: a missing or empty file, a wrong number of columns, a score that is not finite, a wrong label; the
            trials of the list are others, or have no labels either.
    """
    for block in _iter_scores(path, need_ids):
        if block.is_target is None and trials is not None:
            for scores, listed in _side_by_side([Path(path), trials], [_iter_scores(path), _iter_labels(trials)]):
                yield replace(scores, is_target=listed.values > 0)
            return
        yield block


def _iter_scores(path: str | Path, need_ids: bool = True) -> Iterator[ScoredTrials]:
    table, ids = WordTable(), Ids()
    for columns in iter_columns(path, "enroll test score target|nontarget", range(3, 100)):
        enroll, test = (_rows(words, table, ids) for words in columns.words[:2]) if need_ids else _NO_ROWS
        more = [_numbers(words, columns) for words in columns.words[4:]]
        yield ScoredTrials(
            path=columns.path,
            first_line=columns.first_line,
            ids=ids,
            enroll=enroll,
            test=test,
            values=_numbers(columns.words[2], columns),
            is_target=parse_labels(columns, 3, WORD_LABELS) if len(columns.words) > 3 else None,
            more=np.reshape(more, (len(more), len(columns.words[0]))).T,
            num_bytes=columns.num_bytes,
        )


def _iter_labels(trials: Path) -> Iterator[ScoredTrials]:
    """Read a trial list as a score file without labels, of the scores 1 for targets and 0 for non-targets."""
    table, ids = WordTable(), Ids()
    for form, columns in iter_list(trials):
        is_target = form.is_target(columns)
        if is_target is None:
            raise UserError(f"{trials} has no labels; give a trial list 'enroll test target|nontarget'")
        enroll, test = (_rows(columns.words[column], table, ids) for column in (form.enroll, form.test))
        yield ScoredTrials(
            path=columns.path,
            first_line=columns.first_line,
            ids=ids,
            enroll=enroll,
            test=test,
            values=is_target.astype(np.float64),
            is_target=None,
            more=np.empty((len(enroll), 0)),
            num_bytes=columns.num_bytes,
        )


def _rows(words: Words, table: WordTable, ids: Ids) -> NDArray[np.int32]:
    """Return the row of each id; unknown ids get the next rows."""
    rows, added = table.add(words)
    ids += [words[position].decode(errors="replace") for position in added]
    return rows


def read_scored_trials(path: str | Path) -> ScoredTrials:
    """Read a whole score file; raise UserError as `iter_scored_trials` does."""
    blocks = list(iter_scored_trials(path))
    labels = [block.is_target for block in blocks if block.is_target is not None]
    return ScoredTrials(
        path=Path(path),
        first_line=1,
        ids=blocks[-1].ids,
        enroll=np.concatenate([block.enroll for block in blocks]),
        test=np.concatenate([block.test for block in blocks]),
        values=np.concatenate([block.values for block in blocks]),
        is_target=np.concatenate(labels) if labels else None,
        more=np.concatenate([block.more for block in blocks]),
        num_bytes=sum(block.num_bytes for block in blocks),
    )


def iter_same_trials(paths: Sequence[Path], trials: Path | None = None) -> Iterator[list[ScoredTrials]]:
    """Read score files of the same trials together, some 10,000 trials of each at a time.

    Args:
        paths: the files.
        trials: the list, for files without labels.

    Raises:
        UserError: as `iter_scored_trials`; lines that differ in trial or label; a file that ends before another one.
    """
    return _side_by_side(paths, [iter_scored_trials(path, trials) for path in paths])


def check_scores_of_list(paths: Sequence[Path], trials: Path) -> None:
    """Check that score files, one after another, are over the trials of a list, in its order.

    Raises:
        UserError: as `iter_scored_trials` and `iter_same_trials`; scores without labels.
    """
    listed = (replace(block, is_target=block.values > 0) for block in _iter_labels(trials))
    scored = chain.from_iterable(iter_scored_trials(path) for path in paths)
    for _ in _side_by_side([trials, paths[-1]], [listed, scored]):
        pass


def _side_by_side(paths: Sequence[Path], files: Sequence[Iterator[ScoredTrials]]) -> Iterator[list[ScoredTrials]]:
    blocks: list[ScoredTrials | None] = [next(file) for file in files]
    numbers = defaultdict[str, int](count().__next__)  # of the ids of all files
    while there := [block for block in blocks if block is not None]:
        if len(there) < len(files):
            short, last = paths[blocks.index(None)], there[0].first_line - 1
            raise UserError(
                f"{short} ends after {last} trials, {there[0].path} does not; score the same list with both"
            )
        shortest = min(map(len, there))
        heads = [block.part(0, shortest) for block in there]
        for other in heads[1:]:
            _check_same_trials(heads[0], other, numbers.__getitem__)
        yield heads
        blocks = [
            block.part(shortest) if len(block) > shortest else next(file, None)
            for block, file in zip(there, files, strict=True)
        ]


def _check_same_trials(first: ScoredTrials, second: ScoredTrials, number_of: Callable[[str], int]) -> None:
    """Refuse lines of two score files that are not the same trials in the same order; name the first."""
    one, other = (scores.ids.look_up(number_of) for scores in (first, second))
    same = (one[first.enroll] == other[second.enroll]) & (one[first.test] == other[second.test])
    same &= first.labels() == second.labels() if first.is_target is not None or second.is_target is not None else True
    if not same.all():
        row = int(np.argmin(same))
        pair = f"{second.ids[second.enroll[row]]} and {second.ids[second.test[row]]}"
        raise UserError(
            f"{second.path}:{second.first_line + row}: {pair} is not the trial of "
            f"{first.path}:{first.first_line + row}; score the same list, in the same order and with the same labels, "
            "with both"
        )


def _numbers(words: Words, columns: Columns) -> NDArray[np.float64]:
    values = words.numbers()
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        shown = words[row].decode(errors="replace")[:80]
        raise UserError(f"{columns.where(row)}: score {shown!r} is not a finite number; score again")
    return values
