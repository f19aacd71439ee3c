"""Index of a data dir, in arrays: frames and speaker of each utterance, and where its features are in arks.

With ten million utterances, each takes about 60 bytes, id included: there is no Python object per utterance.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import DataDir, iter_table, read_header
from sv.io.ark import split_location, split_rows

Index = TypeVar("Index", bound="UttIndex")


@dataclass(frozen=True)
class PackedStrings:
    """Strings packed into one array of UTF-8 bytes; `strings[i]` is the i-th.

    Attributes:
        text: (bytes,) uint8.
        ends: (strings + 1,) int64; string i is text[ends[i]:ends[i + 1]].
    """

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def pack(cls, strings: Iterable[str]) -> "PackedStrings":
        """Pack strings."""
        encoded = [string.encode() for string in strings]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, i: int) -> str:
        return self.text[self.ends[i] : self.ends[i + 1]].tobytes().decode()


@dataclass(frozen=True)
class UttIndex:
    """The utterances of a data dir, one row each.

    Attributes:
        path: path of the data dir, for error messages.
        utts: ids.
        num_frames: (utts,) frames of each.
        speaker: (utts,) index into `speakers`.
        speakers: sorted by their bytes, in the order of the classes.
    """

    path: Path
    utts: PackedStrings
    num_frames: NDArray[np.int32]
    speaker: NDArray[np.int32]
    speakers: list[str]

    def __len__(self) -> int:
        return len(self.utts)

    def with_speakers(self: Index, speakers: list[str]) -> Index:
        """Number the speakers as in the given list; -1 for those not in it."""
        number = {name: i for i, name in enumerate(speakers)}
        table = np.array([number.get(name, -1) for name in self.speakers], dtype=np.int32)
        return replace(self, speaker=table[self.speaker], speakers=speakers)

    def fingerprint(self) -> str:
        """Return the SHA-256 of ids, frames and speakers; data dirs with the same one give the same batches."""
        digest = hashlib.sha256()
        for part in (self.utts.text, self.utts.ends, self.num_frames, self.speaker):
            digest.update(np.ascontiguousarray(part).data)
        digest.update("\n".join(self.speakers).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class FeatsIndex(UttIndex):
    """The utterances with the place of their features in arks, in the order of feats.scp.

    Attributes:
        arks: paths of the archives.
        ark: (utts,) index into `arks`.
        offset: (utts,) bytes from the start of the archive.
        first: (utts,) first row of a range of the matrix ("[0:149]"), of `num_frames` rows; -1: the whole matrix.
    """

    arks: list[str]
    ark: NDArray[np.int32]
    offset: NDArray[np.int64]
    first: NDArray[np.int32]

    def location(self, utt: int) -> str:
        """Return the place of an utterance's features, as in feats.scp."""
        first, place = int(self.first[utt]), f"{self.arks[self.ark[utt]]}:{self.offset[utt]}"
        return place if first < 0 else f"{place}[{first}:{first + self.num_frames[utt] - 1}]"


def read_index(data_dir: str | Path) -> FeatsIndex:
    """Read feats.scp, utt2spk and utt2num_frames of a data dir.

    Raises:
        UserError: a table is missing (the stage that makes it is named), tables differ in their utterances, or an
            archive is missing or truncated.
    """
    data = DataDir(data_dir, "make it first (stages 1 and 2)")
    feats = data.require("feats.scp", "make it with steps/make_fbank.sh (stage 2)")
    utt2spk = data.require("utt2spk", "prepare the data (stage 1)")
    frames = data.require("utt2num_frames", f"make it with tools/get_utt2num_frames.sh {data.path}")
    columns = _Columns(data.path)
    for (number, utt, location), spk, num in _together(feats, utt2spk, frames):
        place, rows = split_rows(location, f"{feats}:{number}")
        columns.add(utt, split_location(place, f"{feats}:{number}", folder=data.path), spk, num, f"{frames}:{number}")
        columns.add_rows(rows)
    if not len(columns.offset):
        raise UserError(f"{feats} is empty; make it again with steps/make_fbank.sh (stage 2)")
    index = columns.index()
    _check_ends(index)
    return index


def _together(feats: Path, utt2spk: Path, frames: Path) -> Iterator[tuple[tuple[int, str, str], str, str]]:
    """Iterate over the rows of three tables; line n of each must name the same utterance."""
    previous = b""
    for row, spk_row, frames_row in zip_longest(iter_table(feats), iter_table(utt2spk), iter_table(frames)):
        for path, other in ((utt2spk, spk_row), (frames, frames_row)):
            if row is None or other is None or row[1] != other[1]:
                raise UserError(_disagreement(feats, row, path, other))
        assert row is not None and spk_row is not None and frames_row is not None
        key = row[1].encode()
        if key <= previous:
            how = "comes twice" if key == previous else "is not in LC_ALL=C order"
            raise UserError(f"{feats}:{row[0]}: {row[1][:80]} {how}; run tools/fix_data_dir.sh {feats.parent}")
        previous = key
        yield row, spk_row[2], frames_row[2]


def _disagreement(feats: Path, row: tuple[int, str, str] | None, path: Path, other: tuple[int, str, str] | None) -> str:
    remedy = f"run tools/fix_data_dir.sh {feats.parent}"
    if row is not None and (other is None or row[1].encode() < other[1].encode()):
        return f"{feats}:{row[0]}: {row[1][:80]} is not in {path.name}; {remedy}"
    if row is None and other is None:  # one of the two tables is longer than feats.scp, the other is not
        return f"{path}: fewer utterances than the other tables; {remedy}"
    assert other is not None
    return f"{path}:{other[0]}: {other[1][:80]} is not in feats.scp; {remedy}"


class _Columns:
    """Columns of the index while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text, self.ends = bytearray(), array("q", [0])
        self.ark, self.offset, self.first = array("i"), array("q"), array("i")
        self.num_frames, self.speaker = array("i"), array("i")
        self.arks: dict[str, int] = {}
        self.speakers: dict[str, int] = {}

    def add(self, utt: str, location: tuple[str, int], spk: str, num: str, where: str) -> None:
        """Add an utterance; raise UserError, with `where`, unless `num` is a number of frames."""
        if not num.isdecimal() or not 0 < int(num) < 2**31:
            raise UserError(
                f"{where}: {utt[:80]} has {num[:80]!r} frames; make it again with steps/make_fbank.sh (stage 2)"
            )
        self.text += utt.encode()
        self.ends.append(len(self.text))
        self.ark.append(self.arks.setdefault(location[0], len(self.arks)))
        self.offset.append(location[1])
        self.num_frames.append(int(num))
        self.speaker.append(self.speakers.setdefault(spk, len(self.speakers)))

    def add_rows(self, rows: range | None) -> None:
        """Add the rows of the last utterance's range; raise UserError unless utt2num_frames counts them."""
        self.first.append(-1 if rows is None else rows.start)
        if rows is not None and len(rows) != self.num_frames[-1]:
            utt = self.text[self.ends[-2] :].decode()
            raise UserError(
                f"{self.path / 'feats.scp'}: {utt}: a range of {len(rows)} rows, utt2num_frames says "
                f"{self.num_frames[-1]}; remove that and run tools/get_utt2num_frames.sh {self.path}"
            )

    def index(self) -> FeatsIndex:
        """Return the index, its speakers sorted."""
        names = PackedStrings(np.frombuffer(self.text, np.uint8), np.frombuffer(self.ends, np.int64))
        as_read = FeatsIndex(
            path=self.path,
            utts=names,
            arks=list(self.arks),
            ark=np.frombuffer(self.ark, np.int32),
            offset=np.frombuffer(self.offset, np.int64),
            first=np.frombuffer(self.first, np.int32),
            num_frames=np.frombuffer(self.num_frames, np.int32),
            speaker=np.frombuffer(self.speaker, np.int32),
            speakers=list(self.speakers),
        )
        return as_read.with_speakers(sorted(self.speakers, key=str.encode))


def _check_ends(index: FeatsIndex) -> None:
    """Check that no archive ends before its last entry does, so that a truncated one fails before training."""
    order = np.lexsort((index.offset, index.ark))
    last = order[np.flatnonzero(np.diff(index.ark[order], append=-1))]
    for utt in last:
        try:
            read_header(index.arks[index.ark[utt]], int(index.offset[utt]))
        except UserError as error:
            raise UserError(f"{index.path / 'feats.scp'}: {index.utts[utt]}: {error}") from error
