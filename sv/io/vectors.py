"""Vectors of an scp, such as embeddings, as one matrix.

The archive itself may be given instead of its scp, since Kaldi's tools often write no scp.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO

import numpy as np

from sv.errors import UserError
from sv.io.ark import MAX_LOCATION, Floats, is_text, open_archive, read_array, split_location
from sv.io.tables import check_id, iter_table


@dataclass(frozen=True)
class Vectors:
    """Vectors by id: `matrix[index[id]]`.

    Attributes:
        ids: in the order of the scp.
        matrix: (ids, dim) float32.
    """

    ids: list[str]
    matrix: Floats

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each id."""
        return {name: row for row, name in enumerate(self.ids)}


def read_vectors(scp: str | Path) -> Vectors:
    """Read all vectors that an scp names, or that an archive holds, binary or text.

    Raises:
        UserError: a missing or truncated archive, an id that comes twice, vectors of different dimension, NaN or inf.
    """
    ids: list[str] = []
    rows: list[Floats] = []
    seen: set[str] = set()
    for number, key, row in _iter_vectors(Path(scp)):
        if key in seen:
            raise UserError(f"{scp}:{number}: {key} comes twice; extract again")
        if rows and row.shape != rows[0].shape:
            raise UserError(f"{scp}:{number}: {key} has dimension {row.shape[0]}, those before {rows[0].shape[0]}")
        seen.add(key)
        ids.append(key)
        rows.append(row)
    if not rows:
        raise UserError(f"{scp} is empty; extract again")
    matrix = np.stack(rows)
    if not np.isfinite(matrix).all():
        bad = ids[int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])]
        raise UserError(f"{scp}: {bad} has NaN or infinite values; extract it again")
    return Vectors(ids, matrix)


def _iter_vectors(scp: Path) -> Iterator[tuple[int, str, Floats]]:
    """Read vectors as (number of the line or entry, key, vector)."""
    for number, key, vector in _iter_archive(scp) if _is_archive(scp) else _iter_scp(scp):
        if vector.ndim != 1:
            raise UserError(f"{scp}:{number}: {key} is a matrix of {len(vector)} rows; a vector is expected here")
        yield number, key, vector


def _iter_scp(scp: Path) -> Iterator[tuple[int, str, Floats]]:
    with ExitStack() as stack:
        open_path, file = "", None
        for number, key, location in iter_table(scp):
            path, offset = split_location(location, f"{scp}:{number}", folder=scp.parent)
            if file is None or path != open_path:
                stack.close()
                open_path, file = path, stack.enter_context(open_archive(path))
            yield number, key, read_array(file, offset, path)


def _is_archive(path: Path) -> bool:
    """Tell whether a file begins as an archive does: a key, then a matrix or vector; an scp has a path there."""
    if not path.is_file():
        return False
    with open(path, "rb") as f:
        _, _, entry = f.read(MAX_LOCATION).partition(b" ")
    return entry.startswith(b"\0B") or is_text(entry)


def _iter_archive(path: Path) -> Iterator[tuple[int, str, Floats]]:
    with open(path, "rb") as f:
        for number, key in enumerate(iter(partial(_read_key, f), ""), start=1):
            yield number, check_id(key, f"{path}: entry {number}"), read_array(f, f.tell(), str(path))


def _read_key(file: IO[bytes]) -> str:
    """Read the key of the next entry of an archive, up to the blank after it; return "" at the end."""
    key = b""
    while (char := file.read(1)) not in (b" ", b""):
        key += char
    return key.decode(errors="replace").strip()
