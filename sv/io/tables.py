"""Kaldi's text tables: `key value` lines sorted by the bytes of the key (LC_ALL=C)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice, zip_longest
from pathlib import Path

from sv.errors import UserError
from sv.io.atomic import atomic_write
from sv.io.paths import read_path

FORBIDDEN_IN_IDS = set("'\"`;|<>&$\\*?(){}[]!")
_SPEED_COPY = re.compile(r"sp\d+(\.\d+)?-")


def check_id(name: str, where: str) -> str:
    """Return `name` if it can serve as an utterance or speaker id; ids become parts of paths and of command lines.

    Raises:
        UserError: it is empty or over 1,000 characters long, has a blank, control or shell character, has `.` or `..`
            as a part, or begins with `/`.
    """
    bad = next((c for c in name if c in FORBIDDEN_IN_IDS or c.isspace() or not c.isprintable()), None)
    if bad is not None:
        raise UserError(f"{where}: id {name[:80]!r} holds {bad!r}; rename it")
    if not name or len(name) > 1000:
        raise UserError(f"{where}: an id of {len(name)} characters; 1 to 1000 are allowed")
    part = next((part for part in name.split("/") if part in (".", "..")), None)
    if part is not None:
        raise UserError(f"{where}: id {name[:80]!r} holds {part!r}; rename it")
    if name.startswith("/"):
        raise UserError(f"{where}: id {name[:80]!r} begins with '/'; rename it")
    return name


def base_speaker(speaker: str) -> str:
    """Return the speaker whose speed-perturbed copy has this name: sp0.9-id10001 -> id10001."""
    return _SPEED_COPY.sub("", speaker, count=1) if _SPEED_COPY.match(speaker) else speaker


def original_speakers(speakers: Iterable[str]) -> dict[str, str]:
    """Return the original of each speaker: of a speed copy the one without its prefix, of any other the speaker.

    A copy needs its original: if no speaker is called x, sp1-x is a name like any other.
    """
    names = dict.fromkeys(speakers)
    return {name: base if (base := base_speaker(name)) in names else name for name in names}


def iter_table(path: str | Path, rows: range | None = None) -> Iterator[tuple[int, str, str]]:
    """Read the lines of a table as (line number from 1, key, the rest of the line).

    Args:
        path: the table.
        rows: the lines to read, counted from 0; None: all.

    Raises:
        UserError: the file is missing, not UTF-8, or a line has no value.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file with lines 'key value'")
    with open(path, encoding="utf-8-sig", newline="\n") as f:
        try:
            wanted = count() if rows is None else rows
            lines = f if rows is None else islice(f, rows.start, rows.stop, rows.step)
            for row, line in zip(wanted, lines, strict=False):
                number = row + 1
                key, _, value = line.strip().partition(" ")
                if "\t" in key:
                    key, _, value = line.strip().partition("\t")
                if not key or not value.strip():
                    raise UserError(f"{path}:{number}: expected 'key value', found {line.rstrip()[:80]!r}")
                if "\0" in value:
                    raise UserError(f"{path}:{number}: a NUL character; the file is damaged, make it again")
                yield number, key, value.strip()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text ({error.reason}); write it again as UTF-8") from error


def read_table(
    path: str | Path, rows: range | None = None, *, mend_twice: str = "keep one of the two lines"
) -> dict[str, str]:
    """Read a table, in the order of the file.

    Args:
        path: the table.
        rows: the lines to read, counted from 0; None: all.
        mend_twice: remedy for a key that comes twice, for the error.

    Raises:
        UserError: as `iter_table`, and for an empty table or a key that comes twice.
    """
    table: dict[str, str] = {}
    for number, key, value in iter_table(path, rows):
        if key in table:
            raise UserError(f"{path}:{number}: {key} comes twice; {mend_twice}")
        table[check_id(key, f"{path}:{number}")] = value
    if not table and (rows is None or rows):
        raise UserError(f"{path} is empty; make it again")
    return table


def read_scp(path: str | Path, *, mend_twice: str = "keep one of the two lines") -> dict[str, str]:
    """Read an scp of archives: "path:offset" by key, the path from the working folder (`sv.io.paths`).

    Raises:
        UserError: as `read_table`.
    """
    folder = Path(path).parent
    return {key: read_path(location, folder) for key, location in read_table(path, mend_twice=mend_twice).items()}


def write_table(path: str | Path, rows: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """Write `key value` lines, sorted as `LC_ALL=C sort` sorts them; the file appears whole or not at all.

    A file with the same content is left alone.
    """
    with atomic_write(path, keep_same=True) as f:
        f.writelines(_lines(rows))


def has_table(path: str | Path, rows: Mapping[str, object]) -> bool:
    """Tell whether a file has exactly the lines that `write_table` would write."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as f:
        return all(line == there for line, there in zip_longest(map(str.encode, _lines(rows)), f))


def _lines(rows: Mapping[str, object] | Iterable[tuple[str, object]]) -> Iterator[str]:
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    return (f"{key} {value}\n" for key, value in sorted(pairs, key=lambda pair: pair[0].encode()))
