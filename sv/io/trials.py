"""Trial lists: lines `enroll test target|nontarget`, or `enroll test` if the truth is unknown.

VoxCeleb's own `1|0 enroll test`, and `enroll test 1|0`, are read as well. The first line determines the form.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io.columns import DIGIT_LABELS, WORD_LABELS, Columns, iter_columns, parse_labels
from sv.io.tables import read_table
from sv.io.words import WordTable


@dataclass(frozen=True)
class Trials:
    """Successive trials of a list, as rows of two lists of ids.

    Attributes:
        path: the trial list.
        first_line: number of the first line, from 1.
        enroll_ids, test_ids: known ids, arrays of str: enroll models or utterances, and test utterances.
        enroll, test: (trials,) int32, rows of enroll_ids and test_ids.
        is_target: (trials,) bool; None for a list without labels.
        num_bytes: size of the lines in the file.
    """

    path: Path
    first_line: int
    enroll_ids: NDArray[np.object_]
    test_ids: NDArray[np.object_]
    enroll: NDArray[np.int32]
    test: NDArray[np.int32]
    is_target: NDArray[np.bool_] | None
    num_bytes: int

    def __len__(self) -> int:
        return len(self.enroll)


_LAYOUT = "enroll test target|nontarget"


@dataclass(frozen=True)
class ListForm:
    """The form of a list: the meaning of each column.

    Attributes:
        layout: layout of a line, for errors.
        enroll, test: their columns.
        label: its column; None: there is none.
        labels: labels of non-target and target trials.
    """

    layout: str
    enroll: int = 0
    test: int = 1
    label: int | None = None
    labels: Sequence[bytes] = ()

    def is_target(self, columns: Columns) -> NDArray[np.bool_] | None:
        """Return for each line whether it is a target trial; None for a list without labels."""
        if self.label is None:
            return None
        try:
            return parse_labels(columns, self.label, self.labels)
        except UserError as error:
            raise UserError(f"{error}{self.seen_as}") from error

    @property
    def seen_as(self) -> str:
        """The end of an error about a list with labels of 1 and 0: how its lines are read."""
        return f" (lines read as '{self.layout}')" if self.labels == DIGIT_LABELS else ""


def iter_list(path: str | Path) -> Iterator[tuple[ListForm, Columns]]:
    """Read a trial list in blocks of lines, each with the form of the list; raise UserError as `iter_columns` does."""
    form = None
    for columns in iter_columns(path, _LAYOUT, (2, 3)):
        form = form or _form_of([column[0] for column in columns.words])
        yield form, columns


def _form_of(line: Sequence[bytes]) -> ListForm:
    if len(line) == 2:
        return ListForm("enroll test")
    if line[2] in DIGIT_LABELS:
        return ListForm("enroll test 1|0", label=2, labels=DIGIT_LABELS)
    if line[0] in DIGIT_LABELS and line[2] not in WORD_LABELS:
        return ListForm("1|0 enroll test", enroll=1, test=2, label=0, labels=DIGIT_LABELS)
    return ListForm(_LAYOUT, label=2, labels=WORD_LABELS)


def check_both_kinds(path: str | Path) -> None:
    """Refuse a list with target or non-target trials alone, since no error rate can be measured on it.

    The list is read until both kinds were seen.

    Raises:
        UserError: all labels are the same; also as `read_trials`.
    """
    kinds: set[bool] = set()
    for form, columns in iter_list(path):
        is_target = form.is_target(columns)
        if is_target is None:
            return
        kinds.update(np.unique(is_target).tolist())
        if len(kinds) == 2:
            return
    there, lacking = ("target", "nontarget") if True in kinds else ("nontarget", "target")
    raise UserError(f"{path}: all trials are {there}; EER and minDCF need {lacking} trials too, so add some")


def read_trials(
    path: str | Path,
    known: Sequence[str],
    *,
    known_enroll: Sequence[str] | None = None,
    source: str | Path = "xvector.scp",
    enroll_source: str | Path = "",
    remedy: str = "extract it (stage 4)",
) -> Iterator[Trials]:
    """Read a trial list in blocks of some 10,000 trials, in the order of the file; the whole list is never held.

    Args:
        path: the list; a pair may appear more than once.
        known: ids of the test utterances, each once.
        known_enroll: ids of the enroll models; None: enroll on the utterances in `known`.
        source: the file of `known`, for errors.
        enroll_source: the file of `known_enroll`, for errors.
        remedy: what to do about an unknown id, for errors; where no models are known, an unknown one may need
            --enroll-map.

    Raises:
        UserError: a missing or empty list, a wrong number of columns, a wrong label, unknown ids. The list is read to
            its end to count the unknown ids.
    """
    test_ids = np.array(known, dtype=object)
    enroll_ids = test_ids if known_enroll is None else np.array(known_enroll, dtype=object)
    test_rows = WordTable(map(str.encode, known))
    enroll_rows = test_rows if known_enroll is None else WordTable(map(str.encode, known_enroll))
    assert len(test_rows) == len(test_ids) and len(enroll_rows) == len(enroll_ids)
    or_map = ", or give --enroll-map if it is an enroll model" if known_enroll is None else ""
    enroll_side = (enroll_source, "add it") if enroll_source else (source, remedy + or_map)
    unknown: dict[bytes, tuple[str, str]] = {}  # id -> where it was first seen and where it is not, and a remedy
    for form, columns in iter_list(path):
        enroll = _rows(columns, form.enroll, enroll_rows, unknown, *enroll_side)
        test = _rows(columns, form.test, test_rows, unknown, source, remedy)
        is_target = form.is_target(columns)
        if not unknown:
            yield Trials(
                columns.path, columns.first_line, enroll_ids, test_ids, enroll, test, is_target, columns.num_bytes
            )
    if unknown:
        others = f", nor are {len(unknown) - 1} other ids of the list" if len(unknown) > 1 else ""
        first, mend = next(iter(unknown.values()))
        raise UserError(f"{first}{others}{form.seen_as}; {mend}")


def _rows(
    columns: Columns,
    column: int,
    rows: WordTable,
    unknown: dict[bytes, tuple[str, str]],
    source: str | Path,
    remedy: str,
) -> NDArray[np.int32]:
    """Return the row of each id; ids without one are added to `unknown`."""
    words = columns.words[column]
    found = rows.find(words)
    for row in np.flatnonzero(found < 0).tolist():
        name = words[row]
        if name not in unknown:
            shown = name.decode(errors="replace")[:200]
            unknown[name] = (f"{columns.where(row)}: {shown} is not in {source}", remedy)
    return found


def read_enroll_map(path: str | Path) -> dict[str, list[str]]:
    """Read the utterances of each enroll model, from lines `model utt1 utt2 ...` as in Kaldi's spk2utt.

    Raises:
        UserError: a missing or empty file, a model without utterances, a model that comes twice.
    """
    table = read_table(path, mend_twice="write all its utterances in one line")
    return {model: utts.split() for model, utts in table.items()}
