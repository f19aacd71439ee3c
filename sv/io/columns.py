"""Large text files of columns (trials, scores), read in blocks of some 10,000 lines."""

from codecs import BOM_UTF8
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, counted
from sv.io.words import PADDING, Words

_BLOCK_BYTES = 1 << 20  # its arrays take about 5 times as much memory, which still fits the cache
WORD_LABELS = (b"nontarget", b"target")
DIGIT_LABELS = (b"0", b"1")


@dataclass(frozen=True)
class Columns:
    """Successive lines of a file, by column.

    Attributes:
        path: the file.
        first_line: number of the first line, from 1.
        words: one list for each column, all of the same length.
        num_bytes: size of the lines in the file.
    """

    path: Path
    first_line: int
    words: list[Words]
    num_bytes: int

    def where(self, row: int) -> str:
        """Return `file:line` of a row, for errors."""
        return f"{self.path}:{self.first_line + row}"


def iter_columns(path: str | Path, layout: str, widths: Container[int]) -> Iterator[Columns]:
    """Read a file, whose lines all have the same number of columns, in blocks of lines.

    A byte-order mark, and blank lines at the end, are passed over.

    Args:
        path: text, columns separated by blanks or tabs.
        layout: the form of a line, for errors: "enroll test target|nontarget".
        widths: allowed numbers of columns.

    Raises:
        UserError: the file is missing or empty, or a line has another number of columns.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file with lines '{layout}'")
    first_line, width, blank = 1, 0, 0  # blank: number of the first of the blank lines at the end, so far
    with open(path, "rb") as f:
        while block := f.read(_BLOCK_BYTES) + f.readline():
            words, found = _split(block.removeprefix(BOM_UTF8) if first_line == 1 else block)
            if len(words) and blank:
                raise UserError(f"{path}:{blank}: a blank line, and text behind it; remove the line")
            num_lines = len(found)
            found = found[: 1 + int(np.flatnonzero(found)[-1])] if len(words) else found[:0]
            if len(found) < num_lines:
                blank = blank or first_line + len(found)
            if len(words):
                width = width or int(found[0])
                if width not in widths or (found != width).any():
                    row = 0 if width not in widths else int(np.argmax(found != width))
                    shown = block.split(b"\n")[row].decode(errors="replace").strip()[:80]
                    number = counted(int(found[row]), "column")
                    raise UserError(f"{path}:{first_line + row}: expected '{layout}', found {number}: {shown!r}")
                yield Columns(path, first_line, [words.part(column, width) for column in range(width)], len(block))
            first_line += num_lines
    if not width:
        raise UserError(f"{path} is empty; make it again")


def _split(block: bytes) -> tuple[Words, NDArray[np.intp]]:
    """Split lines at blanks as `bytes.split` does; return all words, and the number of words of each line."""
    text = b"\n" + block.removesuffix(b"\n") + b"\n" + PADDING
    data = np.frombuffer(text, dtype=np.uint8, count=len(text) - len(PADDING))
    gap = np.flatnonzero(data <= ord(" "))
    byte = data[gap]
    is_blank = (byte == ord(" ")) | (byte - np.uint8(9) < 5)  # 9 to 13: tab, line feed, ..., carriage return
    if not is_blank.all():  # other control characters belong to words
        gap, byte = gap[is_blank], byte[is_blank]
    start, length = gap[:-1] + 1, np.diff(gap) - 1
    is_word, line_end = length > 0, np.flatnonzero(byte == ord("\n"))[1:]
    found = np.diff(np.cumsum(is_word)[line_end - 1], prepend=0)
    if not is_word.all():
        start, length = start[is_word], length[is_word]
    return Words(text, start, length), found


def parse_labels(columns: Columns, column: int, labels: Sequence[bytes]) -> NDArray[np.bool_]:
    """Return for each line whether it is a target trial.

    Args:
        columns: the lines.
        column: column of the labels.
        labels: the label of non-target trials, then that of target trials.

    Raises:
        UserError: another label.
    """
    words = columns.words[column]
    is_nontarget, is_target = map(words.are, labels)
    known = is_nontarget | is_target
    if not known.all():
        row = int(np.argmin(known))
        shown, choice = words[row].decode(errors="replace")[:80], b" or ".join(reversed(labels)).decode()
        raise UserError(f"{columns.where(row)}: label {shown!r}; write {choice}")
    return is_target
