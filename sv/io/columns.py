"""Large text files of columns (trials, scores), read in blocks of some 10,000 lines."""

from codecs import BOM_UTF8
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sv.errors import UserError

_BLOCK_BYTES = 1 << 20  # its words take about 10 times as much memory, which still fits the cache
WORD_LABELS = {b"target": 1, b"nontarget": 0}
DIGIT_LABELS = {b"1": 1, b"0": 0}


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
    words: list[list[bytes]]
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
            text = block.removeprefix(BOM_UTF8) if first_line == 1 else block
            lines, words = text.removesuffix(b"\n").split(b"\n"), text.split()
            if words and blank:
                raise UserError(f"{path}:{blank}: a blank line, and text behind it; remove the line")
            found = list(map(len, map(bytes.split, lines)))
            while found and not found[-1]:
                found.pop()
            if len(found) < len(lines):
                blank = blank or first_line + len(found)
            if words:
                width = width or found[0]
                if width not in widths or found.count(width) != len(found):
                    row = 0 if width not in widths else next(i for i, count in enumerate(found) if count != width)
                    shown = lines[row].decode(errors="replace").strip()[:80]
                    raise UserError(
                        f"{path}:{first_line + row}: expected '{layout}', found {found[row]} columns: {shown!r}"
                    )
                yield Columns(path, first_line, [words[column::width] for column in range(width)], len(block))
            first_line += len(lines)
    if not width:
        raise UserError(f"{path} is empty; make it again")


def parse_labels(columns: Columns, column: int, labels: Mapping[bytes, int]) -> NDArray[np.bool_]:
    """Return for each line whether its label, one of `labels`, is that of a target trial.

    Raises:
        UserError: another label.
    """
    words = columns.words[column]
    codes = np.fromiter(map(labels.get, words, repeat(-1)), dtype=np.int8, count=len(words))
    if codes.min() < 0:
        row = int(np.argmin(codes))
        shown = words[row].decode(errors="replace")[:80]
        raise UserError(f"{columns.where(row)}: label {shown!r}; write {b' or '.join(labels).decode()}")
    return codes.astype(np.bool_)


def byte_bar(path: Path, name: str = "") -> "tqdm[NoReturn]":
    """Show a progress bar of the bytes read of a file, on a terminal only; `name` replaces the file's name."""
    size = path.stat().st_size if path.is_file() else None
    return tqdm(total=size, desc=name or path.name, unit="B", unit_scale=True, disable=None)
