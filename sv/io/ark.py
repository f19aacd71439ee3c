"""Kaldi's archives: matrices and vectors, named by an scp of `key path:offset` lines, with paths as in `sv.io.paths`.

kaldiio writes all entries, and decodes all but these: CM2 and CM3 (it differs from Kaldi in the last bit), and text (it
refuses numbers that Kaldi prints without a point). It only ever gets bytes: given a path, it would run `command |`.
Headers are read here, so that a crop of some frames is one small read and damage is named by file and offset.

    FM, DM      float32, float64, row by row             FV, DV   vectors of the same
    CM2, CM3    uint16, uint8, row by row                value = minimum + range * code / 65535 (255)
    CM          uint8, column by column, with quartiles for each column; a crop of it costs the whole matrix
    text        [ 1 2 3 ], a line for each row of a matrix; whole matrices and vectors only

Features are written as CM2: two bytes per value, one minimum and range per matrix.
"""

import hashlib
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io.atomic import atomic_write, sync_to_disk
from sv.io.paths import read_path, written_path
from sv.io.tables import check_id, iter_table

Floats = NDArray[np.float32]

HEADER_BYTES = 32  # no header is longer
LARGEST_CODE = {"CM2": 65535, "CM3": 255}  # stands for minimum + range
_ITEM_BYTES = {"FM": 4, "DM": 8, "FV": 4, "DV": 8, "CM": 1, "CM2": 2, "CM3": 1}
MAX_LOCATION = 1000  # characters of a path; an error that names a longer one is not readable


@dataclass(frozen=True)
class ArkHeader:
    """Header of one entry: its form, its size, and where its numbers begin.

    Attributes:
        kind: FM, DM, FV, DV, CM, CM2 or CM3.
        rows: frames of a matrix; 1 for a vector.
        cols: dimension.
        data_offset: where the numbers begin in the file; for CM, where its column headers begin.
        minimum, range: range of values of the compressed forms.
    """

    kind: str
    rows: int
    cols: int
    data_offset: int
    minimum: float = 0.0
    range: float = 0.0

    @property
    def end_offset(self) -> int:
        """End of the entry in the file, in bytes."""
        column_headers = 8 * self.cols if self.kind == "CM" else 0
        return self.data_offset + self.rows * self.cols * _ITEM_BYTES[self.kind] + column_headers


def split_rows(location: str, where: str = "scp") -> tuple[str, range | None]:
    """Split off the rows of "path:offset[0:149]", Kaldi's range with its last row; None for all rows.

    Raises:
        UserError: the range is empty or of columns; `where` names the line.
    """
    if not location.endswith("]"):
        return location, None
    match = re.fullmatch(r"(.*)\[(\d+):(\d+)\]", location)
    if match is None or int(match[2]) > int(match[3]):
        raise UserError(
            f"{where}: {location[-80:]!r}: ranges are read as [FIRST ROW:LAST ROW]; copy the features first"
        )
    return match[1], range(int(match[2]), int(match[3]) + 1)


def split_location(location: str, where: str = "scp", *, folder: str | Path = "") -> tuple[str, int]:
    """Split an scp value "path:offset" into path and offset; without an offset, that is 0.

    Args:
        location: the value.
        where: its line, for errors.
        folder: folder of the scp; "" if the path is one from the working folder.

    Raises:
        UserError: it is a command or a range, or not "path:offset".
    """
    path, colon, offset = location.rpartition(":")
    if len(location) > MAX_LOCATION:
        raise UserError(f"{where}: {location[:80]!r}... has {len(location)} characters; make the scp again")
    if location.endswith(("|", "]")):
        raise UserError(f"{where}: {location[:80]!r} is a command or a range; copy the features to a plain ark first")
    if not colon:
        return read_path(location, folder), 0
    if not offset.isdecimal():
        raise UserError(f"{where}: {location[:80]!r} is not 'path:offset'; make the scp again")
    return read_path(path, folder), int(offset)


def misplaced(scp: Path, ark: Path) -> str:
    """Return how an scp of one archive, by its first line, names another one than this; "" if it does not."""
    for number, _, location in iter_table(scp, range(1)):
        named = Path(split_location(location, f"{scp}:{number}", folder=scp.parent)[0])
        if named.resolve() != ark.resolve():
            return f"{scp} names {named} in place of {ark}"
    return ""


def parse_header(head: bytes, offset: int, file_bytes: int, where: str) -> ArkHeader:
    """Parse the header of the binary entry at `offset` of a file of `file_bytes` bytes.

    Args:
        head: the file's next bytes from `offset` on, 32 if it has so many.
        where: for errors, "path:offset".

    Raises:
        UserError: not a binary matrix or vector, or numbers that reach beyond the file's end.
    """
    if offset >= file_bytes:
        raise UserError(f"{where}: beyond the archive's {file_bytes} bytes; it is truncated, make it again")
    kind = head[2:7].partition(b" ")[0].decode("ascii", "replace") if head.startswith(b"\0B") else ""
    if kind not in _ITEM_BYTES:
        remedy = "it is text, copy it to a binary one" if is_text(head) else "make the archive and its scp again"
        raise UserError(f"{where}: no binary Kaldi matrix or vector stands here; {remedy}")
    compressed = kind.startswith("CM")
    layout = "<ffii" if compressed else "<bibi" if kind.endswith("M") else "<bi"
    try:
        fields = struct.unpack_from(layout, head, start := 3 + len(kind))
    except struct.error:
        raise UserError(f"{where}: the archive ends within a header; it is truncated, make it again") from None
    if not compressed and set(fields[::2]) != {4}:  # bytes of each size
        raise UserError(f"{where}: a damaged header; make the archive again")
    minimum, span, rows, cols = fields if compressed else (0.0, 0.0, *(1, *fields[1::2])[-2:])
    header = ArkHeader(kind, rows, cols, offset + start + struct.calcsize(layout), minimum, span)
    if rows == 0 or cols == 0:
        raise UserError(f"{where}: an empty matrix or vector; leave it out, and make the archive and its scp again")
    if rows < 0 or cols < 0 or header.end_offset > file_bytes:
        raise UserError(
            f"{where}: a matrix of {rows} x {cols} does not fit into the archive's {file_bytes} bytes; "
            "it is truncated, make it again"
        )
    return header


def count_rows(location: str, where: str) -> int:
    """Return the rows of "path:offset" by its header, or of "path:offset[0:149]" by itself; `where` names the line."""
    place, rows = split_rows(location, where)
    return read_header(*split_location(place, where)).rows if rows is None else len(rows)


def read_header(path: str | Path, offset: int) -> ArkHeader:
    """Read the header of the binary entry at `offset` of an archive; raise UserError as `parse_header` does."""
    with open_archive(path) as f:
        f.seek(offset)
        return parse_header(f.read(HEADER_BYTES), offset, os.fstat(f.fileno()).st_size, f"{path}:{offset}")


def open_archive(path: str | Path) -> IO[bytes]:
    """Open an archive to read it; raise UserError if it is not there."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; make the archive again, or mend the scp that names it") from None


def decode(entry: bytes, header: ArkHeader) -> NDArray[np.floating[Any]]:
    """Decode a whole binary entry; (rows, cols), or (cols,) for a vector. DM and DV give float64, others float32.

    Args:
        entry: all bytes of the entry, from its "\\0B" to its last number.
        header: its header.
    """
    if header.kind not in LARGEST_CODE:
        from kaldiio.matio import read_matrix_or_vector

        array: NDArray[np.floating[Any]] = read_matrix_or_vector(BytesIO(entry))
        return array
    count, item = header.rows * header.cols, _ITEM_BYTES[header.kind]
    codes = np.frombuffer(entry, f"<u{item}", count, len(entry) - count * item).reshape(header.rows, header.cols)
    values = codes.astype(np.float32)
    values *= np.float32(header.range / LARGEST_CODE[header.kind])  # as Kaldi rounds it
    values += np.float32(header.minimum)
    return values


def is_text(head: bytes) -> bool:
    """Tell whether an entry that begins with these bytes is a matrix or vector in text."""
    return head.lstrip().startswith(b"[")


def read_text(file: IO[bytes], where: str) -> NDArray[np.float64]:
    """Read a matrix (rows, cols) or vector (cols,) in text from where the file stands, up to the end of its last line.

    Raises:
        UserError: no closing bracket, no numbers, or rows of different length; `where` names the place.
    """
    lines: list[bytes] = []
    for line in iter(file.readline, b""):
        lines.append(line)
        if b"]" in line:
            break
    else:
        raise UserError(f"{where}: a matrix in text without ']'; the file is truncated, make it again")
    text = b"".join(lines).partition(b"[")[2].partition(b"]")[0].decode("ascii", "replace")
    try:
        values = np.array([row.split() for row in text.splitlines() if row.strip()], dtype=np.float64)
    except ValueError:
        values = np.empty(0)
    if values.size == 0:
        raise UserError(f"{where}: no matrix or vector of numbers in text; make it again")
    return values if "\n" in text else values[0]


def read_array(file: IO[bytes], offset: int, path: str) -> Floats:
    """Read the whole matrix (rows, cols) or vector (cols,) at `offset` of an open archive, binary or text.

    Raises:
        UserError: no matrix or vector, or a truncated one; `path` and the offset are named.
    """
    where = f"{path}:{offset}"
    file.seek(offset)
    head = file.read(HEADER_BYTES)
    file.seek(offset)
    if is_text(head):
        return read_text(file, where).astype(np.float32)
    header = parse_header(head, offset, os.fstat(file.fileno()).st_size, where)
    return decode(file.read(header.end_offset - offset), header).astype(np.float32, order="C")


def read_matrix(location: str) -> Floats:
    """Read the matrix at "path:offset", or its rows "path:offset[0:149]"; (frames, dim) float32. A vector is a row."""
    place, rows = split_rows(location)
    path, offset = split_location(place)
    with open_archive(path) as f:
        matrix = np.atleast_2d(read_array(f, offset, path))
    if rows is None:
        return matrix
    if rows.stop > len(matrix):
        raise UserError(f"{location}: the matrix has {len(matrix)} rows; make the scp again")
    return matrix[rows.start : rows.stop]


def read_vector(location: str) -> Floats:
    """Read the vector, or matrix of one row, at "path:offset"; (dim,) float32."""
    matrix = read_matrix(location)
    if matrix.shape[0] != 1:
        raise UserError(f"{location}: a matrix of {matrix.shape[0]} rows; a vector is expected here")
    return matrix[0]


class ArkWriter:
    """Write an archive and its scp; both get their names at the end of the `with` block, the archive first.

    Args:
        ark: the archive; the scp gives its path from its own folder (`written_path`).
        scp: its index.
        compress: write matrices as CM2 (two bytes a value); else as FM. Vectors are FV always.

    Attributes:
        sha256: checksum of the archive, once the block has ended.
    """

    def __init__(self, ark: str | Path, scp: str | Path, *, compress: bool = False) -> None:
        self.ark, self.scp, self.compress = Path(ark), Path(scp), compress
        self.sha256 = ""

    def __enter__(self) -> "ArkWriter":
        self._digest, self._offset = hashlib.sha256(), 0
        self._path = written_path(self.ark, self.scp.parent)
        self._files = self._open_files()
        self._ark_file, self._scp_file = self._files.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.__exit__(*error)

    @contextmanager
    def _open_files(self) -> Iterator[tuple[IO[bytes], IO[str]]]:
        with atomic_write(self.scp) as scp, atomic_write(self.ark, "wb") as ark:
            yield ark, scp
            sync_to_disk(scp)  # a full disk shows before the archive gets its name
            self.sha256 = self._digest.hexdigest()

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
        encoded = encode(array.astype(np.float32), compress=self.compress)
        self._scp_file.write(f"{key} {self._path}:{self._offset + len(label)}\n")
        for part in (label, encoded):
            self._ark_file.write(part)
            self._digest.update(part)
        self._offset += len(label) + len(encoded)


def encode(array: NDArray[np.floating[Any]], *, compress: bool = False) -> bytes:
    """Encode a vector (dim,) or matrix (rows, dim) of float32 or float64 as Kaldi writes it.

    Args:
        array: what to encode.
        compress: write a matrix as CM2.
    """
    from kaldiio.compression_header import kTwoByteAuto
    from kaldiio.matio import write_array

    entry = BytesIO()
    write_array(entry, array, compression_method=kTwoByteAuto if compress and array.ndim == 2 else None)
    return entry.getvalue()
