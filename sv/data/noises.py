"""Noise and impulse responses to augment speech with: files of any rate and number of channels, by type.

A folder of them holds a `wav.scp` whose ids begin with the type, as WeSpeaker's: `noise/free-sound/0000.wav`,
`music/...`, `speech/...` (of which babble is mixed), `rir/...`. local/prepare_musan.py, prepare_rirs.py write it.

Another rate is resampled. Of several channels one is taken, by a draw: any microphone of an array is as good.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sv.audio.files import AudioInfo, Waveform, read_channel
from sv.errors import UserError, log
from sv.io import read_table

NOISE_TYPES = ("noise", "music", "speech")
RIR_TYPE = "rir"
_SUBSTITUTES = 4  # tries for another file
_PROBE_BYTES, _PROBE_THREADS = 4096, 16

T = TypeVar("T")


class ClipError(UserError):
    """Noise or rooms can not be read, one file after the other; no utterance is to blame."""


class Clips:
    """Files of given types; may be used by several threads.

    Args:
        data_dir: with wav.scp.
        types: those that may come.
        sample_rate: Hz of what is read.
        skip_bad: where a file can not be read, tell of it once and take the next one of its type.

    Attributes:
        ids: in the order of wav.scp.
        of_type: type -> rows of `ids`; only types that come.

    Raises:
        UserError: no wav.scp, an empty one, an id of another type.
    """

    def __init__(
        self, data_dir: str | Path, types: tuple[str, ...], sample_rate: int, *, skip_bad: bool = False
    ) -> None:
        self.path, self.sample_rate, self.skip_bad = Path(data_dir) / "wav.scp", sample_rate, skip_bad
        self._told: set[int] = set()
        if not self.path.is_file():
            how = "make it (stage 1), with local/prepare_musan.py or local/prepare_rirs.py"
            raise UserError(f"{self.path} does not exist; {how}")
        table = read_table(self.path)
        self.ids, self._specs = list(table), list(table.values())
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.ids):
            kind = name.partition("/")[0]
            if kind not in types:
                raise UserError(
                    f"{self.path}:{row + 1}: {name}: type {kind!r} is not one of {', '.join(types)}; "
                    "begin the id with its type, as in noise/0001.wav"
                )
            rows.setdefault(kind, []).append(row)
        self.of_type = {kind: np.array(numbers, dtype=np.int64) for kind, numbers in rows.items()}

    def fingerprint(self) -> str:
        """SHA-256 of the ids: the same draws then mean the same files."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()

    def file_fingerprint(self) -> str:
        """SHA-256 of ids, sizes of files, and some bytes in the middle of each: tells other audio behind an id.

        A file may be moved or copied; of one that is a command's output, or not there, its place in wav.scp counts.
        """
        with ThreadPoolExecutor(_PROBE_THREADS) as pool:
            probes = pool.map(_probe, self._specs)
            lines = [f"{name} {probe}" for name, probe in zip(self.ids, probes, strict=True)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def read(self, row: int, samples: int, place: float, channel: float) -> Waveform:
        """A part of a file, which is repeated if it is shorter; never silent.

        Args:
            row: which file.
            samples: how many are wanted.
            place: in [0, 1), where it begins, among all places that fit.
            channel: in [0, 1), which channel, among all.

        Raises:
            UserError: of the file; or all of the channel is silent. With `skip_bad` ClipError, if others are no better.
        """
        return self._first_usable(row, lambda usable: self._read(usable, samples, place, channel))

    def whole(self, row: int, channel: float) -> Waveform:
        """All samples of one channel; raises as `read`."""
        return self._first_usable(row, lambda usable: self._whole(usable, channel))

    def _first_usable(self, row: int, read: Callable[[int], T]) -> T:
        """Of a file, or of those that follow it in its type."""
        if not self.skip_bad:
            return read(row)
        ours = self.of_type[self.ids[row].partition("/")[0]]
        place, why = int(np.searchsorted(ours, row)), ""
        for candidate in np.take(ours, range(place, place + 1 + _SUBSTITUTES), mode="wrap").tolist():
            try:
                return read(candidate)
            except UserError as error:
                why = str(error)
                if candidate not in self._told:
                    self._told.add(candidate)
                    log.warning("%s can not be read, and another is taken: %s", self.ids[candidate], why)
        raise ClipError(f"{self.path}: {why}; nor can the files before it; mend them or leave them out")

    def _read(self, row: int, samples: int, place: float, channel: float) -> Waveform:
        def choose(header: AudioInfo) -> tuple[int, int, int]:
            wanted = -(-samples * header.sample_rate // self.sample_rate)
            room = max(0, header.samples - wanted)
            start = int(place * (room + 1))
            return int(channel * header.channels), start, min(header.samples, start + wanted)

        part = self._at_our_rate(*read_channel(self._specs[row], choose))
        if not part.any():
            whole = self._whole(row, channel)
            part = whole[int(whole.nonzero()[0][0]) :][:samples]
        return np.resize(part, samples)

    def _whole(self, row: int, channel: float) -> Waveform:
        samples, rate = read_channel(self._specs[row], lambda h: (int(channel * h.channels), 0, h.samples))
        if not samples.any():
            raise UserError(f"{self._specs[row]} is silent; leave it out")
        return self._at_our_rate(samples, rate)

    def _at_our_rate(self, samples: Waveform, rate: int) -> Waveform:
        if rate == self.sample_rate:
            return samples
        import torch  # takes seconds to load, and who only looks at the files needs it not
        from torchaudio.functional import resample

        resampled: NDArray[np.float32] = resample(torch.from_numpy(samples), rate, self.sample_rate).numpy()
        return resampled


def _probe(spec: str) -> str:
    """Size of a file, and checksum of its middle; or the `wav.scp` value itself."""
    path = Path(spec)
    if not path.is_file():
        return spec
    with open(path, "rb") as f:
        size = f.seek(0, os.SEEK_END)
        f.seek(max(0, (size - _PROBE_BYTES) // 2))
        return f"{size} {hashlib.sha256(f.read(_PROBE_BYTES)).hexdigest()}"


def babble(talkers: list[Waveform]) -> Waveform:
    """Several voices at once, each of the same power; (samples,)."""
    mixed = np.zeros_like(talkers[0])
    for talker in talkers:
        mixed += talker / np.sqrt(np.mean(np.square(talker)))
    return mixed


def around_peak(rir: Waveform, samples: int) -> tuple[Waveform, int]:
    """An impulse response up to `samples` behind its strongest tap, and the place of that; no more would be heard."""
    peak = int(np.abs(rir).argmax())
    return rir[: peak + samples], peak
