"""Crops of feature matrices in arks: read only the needed rows of each, then decode several crops at once."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.data.open_files import OpenFiles
from sv.data.utt_index import FeatsIndex
from sv.errors import UserError
from sv.io.ark import HEADER_BYTES, LARGEST_CODE, ArkHeader, decode, parse_header

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

_KINDS = ["", "FM", "DM", "CM", "CM2", "CM3"]  # "": header not read yet
_ITEMS = [np.dtype(name) for name in ("u1", "<f4", "<f8", "u1", "<u2", "u1")]  # one value of each kind
_BLOCK = 8  # crops decoded at a time: 200 frames x 80 mels x 4 bytes of each fit the processor's cache


class ArkReader:
    """Reads features of utterances from arks; may be used by several threads.

    Archives stay open. The header of a matrix is read on first use and kept.

    Args:
        index: index of the data dir.
        num_mels: dimension of all matrices.
    """

    def __init__(self, index: FeatsIndex, num_mels: int) -> None:
        self.index = index
        self.num_mels = num_mels
        self._row_bytes = np.array([num_mels * item.itemsize for item in _ITEMS])
        self._kind = np.zeros(len(index), dtype=np.int8)
        self._data_offset = np.zeros(len(index), dtype=np.int64)
        self._low = np.zeros(len(index), dtype=np.float32)
        self._step = np.ones(len(index), dtype=np.float32)
        scp = index.path / "feats.scp"
        self._arks = OpenFiles(
            index.arks, lambda ark: f"{scp}: {ark} does not exist; make the features again (stage 2)"
        )

    def crops(self, utts: Longs, starts: Longs, num: int, *, center: bool) -> Floats:
        """Read crops of one length.

        Args:
            utts: (batch,) rows of the index.
            starts: (batch,) first frame of each; 0 if the utterance is shorter than the crop.
            num: frames of a crop; a shorter utterance is repeated to fill it, as in WeSpeaker.
            center: subtract the mean over the frames of the crop.

        Returns:
            (batch, num, mels) float32.

        Raises:
            UserError: an archive is missing or truncated, or a matrix differs from the tables; names the utterance.
        """
        for utt in utts[self._kind[utts] == 0].tolist():
            self._read_header(utt)
        out = np.empty((len(utts), num, self.num_mels), dtype=np.float32)
        for first in range(0, len(utts), _BLOCK):
            block = slice(first, first + _BLOCK)
            self._read(utts[block], starts[block], out[block])
            self._scale(utts[block], out[block], center)
        return out

    def whole(self, utt: int, *, center: bool) -> Floats:
        """Read all frames of one utterance: (frames, mels) float32; raise as `crops` does."""
        return self.crops(np.array([utt]), np.array([0]), int(self.index.num_frames[utt]), center=center)[0]

    def _read(self, utts: Longs, starts: Longs, out: Floats) -> None:
        """Read codes (or values) of crops, not yet scaled, into `out` (batch, num, mels); repeat short ones."""
        num, kinds = out.shape[1], self._kind[utts]
        counts = np.minimum(num, self.index.num_frames[utts] - starts)
        positions = self._data_offset[utts] + starts * self._row_bytes[kinds]
        columns = (utts, self.index.ark[utts], kinds, counts, positions, starts, np.maximum(self.index.first[utts], 0))
        for crop, *row in zip(out, *(column.tolist() for column in columns), strict=True):
            utt, ark, kind, count, position, start, first = row
            if _KINDS[kind] == "CM":
                crop[:count] = self._whole_by_columns(utt, ark)[first + start : first + start + count]
            else:
                rows = np.empty((count, self.num_mels), dtype=_ITEMS[kind])
                self._fill(utt, ark, rows, position)
                crop[:count] = rows
            for done in range(count, num, count):
                part = crop[done : done + count]
                part[:] = crop[: len(part)]

    def _scale(self, utts: Longs, codes: Floats, center: bool) -> None:
        """Turn codes (batch, num, mels) into values, in place."""
        step = self._step[utts, None, None]
        if center:  # the minimum cancels out
            codes -= _mean_over_frames(codes)
            codes *= step
        else:
            codes *= step
            codes += self._low[utts, None, None]

    def _whole_by_columns(self, utt: int, ark: int) -> Floats:
        offset = int(self.index.offset[utt])
        header = self._header(ark, offset, self._where(utt))
        entry = np.empty(header.end_offset - offset, dtype=np.uint8)
        self._fill(utt, ark, entry, offset)
        return decode(entry.tobytes(), header).astype(np.float32)

    def _fill(self, utt: int, ark: int, rows: NDArray[Any], position: int) -> None:
        if os.preadv(self._arks.fd(ark), [rows.data], position) != rows.nbytes:
            raise UserError(f"{self._where(utt)}: {self.index.arks[ark]} ends within a matrix; make it again (stage 2)")

    def _read_header(self, utt: int) -> None:
        ark, offset, expected = (
            int(column[utt]) for column in (self.index.ark, self.index.offset, self.index.num_frames)
        )
        where = f"{self._where(utt)}: {self.index.arks[ark]}:{offset}"
        header = self._header(ark, offset, where)
        if header.kind not in _KINDS or header.cols != self.num_mels:
            raise UserError(
                f"{where}: dimension {header.cols} ({header.kind}), the configuration says {self.num_mels} mel bins; "
                "make the features again (stage 2) or correct dataset_args.fbank_args.num_mel_bins"
            )
        first = int(self.index.first[utt])
        if first >= 0 and first + expected > header.rows:
            raise UserError(
                f"{where}: {header.rows} frames, not rows {first} to {first + expected - 1}; mend feats.scp"
            )
        if first < 0 and header.rows != expected:
            raise UserError(
                f"{where}: {header.rows} frames, utt2num_frames says {expected}; "
                f"run tools/get_utt2num_frames.sh {self.index.path}"
            )
        self._data_offset[utt] = header.data_offset + max(first, 0) * self._row_bytes[_KINDS.index(header.kind)]
        if header.kind in LARGEST_CODE:
            self._low[utt] = header.minimum
            self._step[utt] = header.range / LARGEST_CODE[header.kind]
        self._kind[utt] = _KINDS.index(header.kind)  # last: a thread that sees it may use the rest

    def _header(self, ark: int, offset: int, where: str) -> ArkHeader:
        fd = self._arks.fd(ark)
        return parse_header(os.pread(fd, HEADER_BYTES, offset), offset, os.fstat(fd).st_size, where)

    def _where(self, utt: int) -> str:
        return f"{self.index.path / 'feats.scp'}:{utt + 1}: {self.index.utts[utt]}"


def _mean_over_frames(crops: Floats) -> Floats:
    """Return the mean over frames, (batch, frames, mels) -> (batch, 1, mels).

    Several frames are summed side by side first, because numpy is fast on long rows.
    """
    batch, frames, mels = crops.shape
    side = next(n for n in (8, 6, 5, 4, 3, 2, 1) if frames % n == 0)
    sums = crops.reshape(batch, frames // side, side * mels).sum(axis=1).reshape(batch, side, mels).sum(axis=1)
    return (sums / np.float32(frames))[:, None]


def crop_starts(num_frames: NDArray[np.integer[Any]], num: int, draws: NDArray[np.float64]) -> Longs:
    """Return the first frames of crops, uniform over all that fit; 0 for utterances shorter than a crop.

    Args:
        num_frames: (batch,) frames of the utterances.
        num: frames of a crop.
        draws: (batch,) in [0, 1).

    Returns:
        (batch,) int64.
    """
    room = np.maximum(num_frames.astype(np.int64) - num, 0) + 1
    return (draws * room).astype(np.int64)
