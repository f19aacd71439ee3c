"""Waveforms from tar shards: any part of any utterance is read directly, in any order."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.audio.files import Waveform, read_sound
from sv.audio.part_reader import HEAD_BYTES, find_samples, scale_pcm
from sv.audio.tar_shards import FilePart, read_entries, read_shard_list
from sv.data.open_files import OpenFiles
from sv.errors import UserError

Longs = NDArray[np.int64]

_THREADS = 8  # threads that read indexes
_MAKE_AGAIN = "make the shard again (steps/make_shards.sh --verify true)"
_UNKNOWN, _ENCODED, _CHECKED = -3, -2, -1  # instead of the offset of a WAV file's 16-bit samples


class TarSource:
    """Waveforms of a list of tar shards, a `WaveformSource`; 16-bit WAV is read in part, FLAC decoded in part.

    Args:
        shard_list: file with one path of a shard per line.
        sample_rate: Hz, of all utterances.

    Raises:
        UserError: an utterance comes twice or has another sample rate; see also `read_entries`.
    """

    def __init__(self, shard_list: str | Path, *, sample_rate: int = 16000) -> None:
        self.path, self.sample_rate = Path(shard_list), sample_rate
        self.shards = read_shard_list(self.path)
        with ThreadPoolExecutor(_THREADS) as pool:
            entries = [
                (entry.utt.encode(), shard, entry)
                for shard, found in enumerate(pool.map(read_entries, self.shards))
                for entry in found
            ]
        entries.sort(key=lambda row: row[:2])
        for (before, one, _), (utt, other, entry) in pairwise(entries):
            if before == utt:
                raise UserError(f"{self.path}: {entry.utt} is in {self.shards[one]} and {self.shards[other]}; keep one")
        self.utts: Sequence[str] = [entry.utt for _, _, entry in entries]
        self.speakers = sorted({entry.spk for _, _, entry in entries}, key=str.encode)
        number = {name: i for i, name in enumerate(self.speakers)}
        self.speaker: Longs = np.array([number[entry.spk] for _, _, entry in entries], dtype=np.int64)
        self.num_samples: Longs = np.array([entry.num_samples for _, _, entry in entries], dtype=np.int64)
        self._shard = np.array([shard for _, shard, _ in entries], dtype=np.int32)
        self._offset = np.array([entry.offset for _, _, entry in entries], dtype=np.int64)
        self._size = np.array([entry.size for _, _, entry in entries], dtype=np.int64)
        self._check_rate([entry.sample_rate for _, _, entry in entries])
        endings = np.array([entry.ending for _, _, entry in entries])
        self._samples_at: Longs = np.where(endings == "wav", _UNKNOWN, _ENCODED)
        self._is_flac = endings == "flac"  # in no need of a mended header
        self._files = OpenFiles(self.shards, lambda shard: f"{shard} does not exist any more; make it again")

    def read(self, utt: int, start: int, num_samples: int) -> Waveform:
        """Read samples of one utterance, see `WaveformSource.read`."""
        fd = self._files.fd(int(self._shard[utt]))
        if self._samples_at[utt] == _UNKNOWN:
            head = os.pread(fd, min(HEAD_BYTES, int(self._size[utt])), int(self._offset[utt]))
            place, *_ = find_samples(head)
            self._samples_at[utt] = _ENCODED if place < 0 else self._offset[utt] + place
        if self._samples_at[utt] >= 0:
            return self._read_samples(fd, utt, start, num_samples)
        with io.BufferedReader(FilePart(fd, int(self._offset[utt]), int(self._size[utt]))) as f:
            checked, end = bool(self._samples_at[utt] == _CHECKED), start + num_samples
            try:
                waveform = read_sound(f, self._where(utt), self.sample_rate, start, end, checked=checked)
            except UserError as error:
                raise UserError(f"{error}; {_MAKE_AGAIN}") from error
        if self._is_flac[utt]:
            self._samples_at[utt] = _CHECKED
        return waveform

    def _read_samples(self, fd: int, utt: int, start: int, num_samples: int) -> Waveform:
        """Read 16-bit samples and scale them as libsndfile does."""
        place = int(self._samples_at[utt]) + 2 * start
        end = int(self._offset[utt] + self._size[utt])
        content = os.pread(fd, min(2 * num_samples, max(0, end - place)), place)
        if start < 0 or len(content) != 2 * num_samples:
            raise UserError(
                f"{self._where(utt)}: samples {start} to {start + num_samples} wanted, it ends before; {_MAKE_AGAIN}"
            )
        return scale_pcm(content)

    def _check_rate(self, rates: list[int]) -> None:
        wrong = next((n for n, rate in enumerate(rates) if rate != self.sample_rate), None)
        if wrong is not None:
            raise UserError(
                f"{self._where(wrong)}: {rates[wrong]} Hz, {self.sample_rate} Hz expected; resample it first, or set "
                "fbank_args.sample_rate"
            )

    def _where(self, utt: int) -> str:
        return f"{self.utts[utt]}: {self.shards[self._shard[utt]]}"
