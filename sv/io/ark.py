"""Kaldi's binary archives: matrices and vectors behind an scp of `key path:offset` lines.

Feature matrices are written as CM2 (two bytes a value, one minimum and range a matrix, row by row), so that a crop of
some frames is one small read. The forms of Kaldi's `compressed-matrix.h` and `kaldi-matrix.h` are all read:

    FM, DM      float32, float64, row by row             FV, DV   vectors of the same
    CM2, CM3    uint16, uint8, row by row                value = minimum + range * v / 65535 (255)
    CM          uint8, column by column, with quartiles for each column; a crop of it costs the whole matrix
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io.atomic import commit, name_file, temporary_name
from sv.io.tables import check_id, iter_table

Floats = NDArray[np.float32]

_ITEM: dict[str, np.dtype[Any]] = {
    "FM": np.dtype("<f4"),
    "DM": np.dtype("<f8"),
    "FV": np.dtype("<f4"),
    "DV": np.dtype("<f8"),
    "CM": np.dtype("u1"),
    "CM2": np.dtype("<u2"),
    "CM3": np.dtype("u1"),
}
_HEADER_BYTES = 32  # no header is longer
_MAX_LOCATION = 1000  # characters; what is longer is no path, and an error that names it no line


@dataclass(frozen=True)
class ArkHeader:
    """What stands before the numbers of one entry.

    Attributes:
        kind: FM, DM, FV, DV, CM, CM2 or CM3.
        rows: frames of a matrix; 1 for a vector.
        cols: dimension.
        data_offset: where the numbers begin in the file; for CM, where its column headers begin.
        minimum, range: of the compressed forms.
    """

    kind: str
    rows: int
    cols: int
    data_offset: int
    minimum: float = 0.0
    range: float = 0.0

    @property
    def item(self) -> np.dtype[Any]:
        return _ITEM[self.kind]

    @property
    def row_bytes(self) -> int:
        return self.cols * self.item.itemsize

    @property
    def data_bytes(self) -> int:
        return self.rows * self.row_bytes + (8 * self.cols if self.kind == "CM" else 0)


def split_location(location: str, where: str = "scp") -> tuple[str, int]:
    """("path", offset) of an scp value "path:offset"; a value without offset is an offset of 0."""
    path, colon, offset = location.rpartition(":")
    if len(location) > _MAX_LOCATION:
        raise UserError(f"{where}: {location[:80]!r}... has {len(location)} characters; make the scp again")
    if location.endswith(("|", "]")):
        raise UserError(f"{where}: {location[:80]!r} is a command or a range; copy the features to a plain ark first")
    if not colon:
        return location, 0
    if not offset.isdecimal():
        raise UserError(f"{where}: {location[:80]!r} is not 'path:offset'; make the scp again")
    return path, int(offset)


def parse_header(head: bytes, offset: int, file_bytes: int, where: str) -> ArkHeader:
    """The header that stands at `offset` of a file of `file_bytes` bytes.

    Args:
        head: the file's next bytes from `offset` on, 32 if it has so many.
        where: for errors, "path:offset".

    Raises:
        UserError: not a binary matrix or vector, or numbers that reach beyond the file's end.
    """
    kind, header = "", None
    if head[:2] == b"\0B":
        kind = head[2:7].split(b" ")[0].decode("ascii", "replace")
    start = 3 + len(kind)
    try:
        if kind in ("CM", "CM2", "CM3"):
            minimum, span, rows, cols = struct.unpack_from("<ffii", head, start)
            header = ArkHeader(kind, rows, cols, offset + start + 16, minimum, span)
        elif kind in ("FM", "DM"):
            rows, cols = struct.unpack_from("<xixi", head, start)
            header = ArkHeader(kind, rows, cols, offset + start + 10)
        elif kind in ("FV", "DV"):
            (cols,) = struct.unpack_from("<xi", head, start)
            header = ArkHeader(kind, 1, cols, offset + start + 5)
    except struct.error:
        raise UserError(f"{where}: the archive ends within a header; it is truncated, make it again") from None
    if offset >= file_bytes:
        raise UserError(f"{where}: beyond the archive's {file_bytes} bytes; it is truncated, make it again")
    if header is None:
        raise UserError(f"{where}: no binary Kaldi matrix or vector stands here; make the archive and its scp again")
    if header.rows == 0 or header.cols == 0:
        raise UserError(f"{where}: a matrix or vector of nothing; leave it out, and make the archive and its scp again")
    if header.rows < 0 or header.cols < 0 or header.data_offset + header.data_bytes > file_bytes:
        raise UserError(
            f"{where}: a matrix of {header.rows} x {header.cols} does not fit into the archive's {file_bytes} bytes; "
            "it is truncated, make it again"
        )
    return header


def read_header(path: str | Path, offset: int) -> ArkHeader:
    """Header of the entry at `offset` of an archive."""
    with _open(path) as f:
        return _header(f.fileno(), offset, str(path))


def _header(fd: int, offset: int, path: str) -> ArkHeader:
    return parse_header(os.pread(fd, _HEADER_BYTES, offset), offset, os.fstat(fd).st_size, f"{path}:{offset}")


def _open(path: str | Path) -> Any:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; make the archive again, or mend the scp that names it") from None


def read_matrix(location: str, start: int = 0, num: int | None = None) -> Floats:
    """Rows `start` to `start + num` of a matrix, or all; (frames, dim) float32. A vector comes as one row.

    Only the wanted rows are read where the form stores them one by one (all but CM).
    """
    path, offset = split_location(location)
    with _open(path) as f:
        header = _header(f.fileno(), offset, path)
        count = header.rows - start if num is None else num
        if not 0 <= start <= start + count <= header.rows:
            raise UserError(f"{location}: rows {start} to {start + count} of a matrix of {header.rows} rows")
        if header.kind == "CM":
            return decode_columns(os.pread(f.fileno(), header.data_bytes, header.data_offset), header)[
                start : start + count
            ]
        data = os.pread(f.fileno(), count * header.row_bytes, header.data_offset + start * header.row_bytes)
        return decode_rows(data, header)


def decode_rows(data: bytes, header: ArkHeader) -> Floats:
    """Numbers of whole rows in a row-major form; (rows, cols) float32."""
    values = np.frombuffer(data, dtype=header.item).reshape(-1, header.cols).astype(np.float32)
    if header.kind in ("CM2", "CM3"):
        values *= np.float32(header.range / (65535 if header.kind == "CM2" else 255))
        values += np.float32(header.minimum)
    return values


def decode_columns(data: bytes, header: ArkHeader) -> Floats:
    """A whole CM matrix; each column is linear between its 0, 25, 75 and 100 % quantiles (bytes 0, 64, 192, 255)."""
    quantiles = np.frombuffer(data, dtype="<u2", count=4 * header.cols).reshape(header.cols, 4)
    knots = header.minimum + header.range * (quantiles.astype(np.float32) / np.float32(65535))
    codes = np.frombuffer(data, dtype="u1", offset=8 * header.cols).reshape(header.cols, header.rows)
    values = np.empty((header.rows, header.cols), dtype=np.float32)
    steps = np.arange(256)
    for column in range(header.cols):
        table = np.interp(steps, [0, 64, 192, 255], knots[column]).astype(np.float32)
        values[:, column] = table[codes[column]]
    return values


def read_vector(location: str) -> Floats:
    """One vector; (dim,) float32."""
    matrix = read_matrix(location)
    if matrix.shape[0] != 1:
        raise UserError(f"{location}: a matrix of {matrix.shape[0]} rows; a vector is expected here")
    return matrix[0]


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
        return {name: row for row, name in enumerate(self.ids)}


def read_vectors(scp: str | Path) -> Vectors:
    """All vectors that an scp names.

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
    open_path, file = "", None
    try:
        for number, key, location in iter_table(scp):
            path, offset = split_location(location, f"{scp}:{number}")
            if path != open_path:
                if file is not None:
                    file.close()
                open_path, file = path, _open(path)
            assert file is not None
            header = _header(file.fileno(), offset, path)
            if header.kind not in ("FV", "DV"):
                raise UserError(f"{scp}:{number}: {key} is a matrix ({header.kind}); a vector is expected here")
            data = os.pread(file.fileno(), header.data_bytes, header.data_offset)
            yield number, key, decode_rows(data, header)[0]
    finally:
        if file is not None:
            file.close()


class ArkWriter:
    """Writes an archive and its scp; they get their names at the end of the `with` block, whole, the archive first.

    Args:
        ark: the archive; the scp names it as given here.
        scp: its index.
        compress: write matrices as CM2 (two bytes a value); else as FM. Vectors are FV always.

    Attributes:
        sha256: of the archive, once the block has ended.
    """

    def __init__(self, ark: str | Path, scp: str | Path, *, compress: bool = False) -> None:
        self.ark, self.scp, self.compress = Path(ark), Path(scp), compress
        self.sha256 = ""

    def __enter__(self) -> "ArkWriter":
        self.ark.parent.mkdir(parents=True, exist_ok=True)
        self.scp.parent.mkdir(parents=True, exist_ok=True)
        self._ark_file = open(temporary_name(self.ark), "wb")
        self._scp_file = open(temporary_name(self.scp), "w", encoding="utf-8", newline="\n")
        self._digest = hashlib.sha256()
        self._offset = 0
        return self

    def write(self, key: str, array: NDArray[np.floating[Any]]) -> None:
        """Append a matrix (frames, dim) or a vector (dim,).

        Raises:
            UserError: NaN or infinite values (one spoils a whole CM2 matrix), an empty array, a key unfit for an id.
        """
        check_id(key, str(self.scp))
        if array.size == 0 or not np.isfinite(array).all():
            what = "no values" if array.size == 0 else "NaN or infinite values"
            raise UserError(f"{key}: {what}, shape {array.shape}; not written to {self.ark}; check its audio")
        label = key.encode() + b" "
        encoded = encode(array, compress=self.compress)
        self._scp_file.write(f"{key} {self.ark}:{self._offset + len(label)}\n")
        for part in (label, encoded):
            self._ark_file.write(part)
            self._digest.update(part)
        self._offset += len(label) + len(encoded)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        files = (self._ark_file, self.ark), (self._scp_file, self.scp)
        try:
            if kind is None:
                for file, _ in files:
                    commit(file)
                for file, path in files:
                    os.replace(file.name, path)
                self.sha256 = self._digest.hexdigest()
        except OSError as failure:
            name_file(failure, self.ark)
            raise
        finally:
            name_file(error, self.ark)
            for file, _ in files:
                Path(file.name).unlink(missing_ok=True)
                with suppress(OSError):  # a full disk refuses what is still in the buffer, again
                    file.close()


def encode(array: NDArray[np.floating[Any]], *, compress: bool = False, double: bool = False) -> bytes:
    """Bytes of a vector or matrix as Kaldi writes it into a file of its own, or behind a key.

    Args:
        array: (dim,) or (rows, dim).
        compress: a matrix as CM2.
        double: as float64; else as float32.
    """
    letter, dtype = (b"D", "<f8") if double else (b"F", "<f4")
    if array.ndim == 1:
        return b"\0B" + letter + b"V \4" + struct.pack("<i", len(array)) + array.astype(dtype).tobytes()
    assert array.ndim == 2, f"an archive holds matrices and vectors, not shape {array.shape}"
    if not compress:
        return (
            b"\0B"
            + letter
            + b"M "
            + struct.pack("<bibi", 4, array.shape[0], 4, array.shape[1])
            + array.astype(dtype).tobytes()
        )
    values = array.astype(np.float32)
    low, high = values.min(), values.max()
    if high == low:
        high = low + np.float32(1) + abs(low)  # as Kaldi: a constant matrix still needs a range above 0
    span = np.float32(high - low)
    codes = ((values - low) / span * np.float32(65535) + np.float32(0.499)).astype("<u2")  # Kaldi's rounding
    return b"\0BCM2 " + struct.pack("<ffii", low, span, *values.shape) + codes.tobytes()
