"""Noise and impulse responses for augmentation: files of any sample rate and number of channels, by type.

Their folder holds a `wav.scp` whose ids begin with the type, as in WeSpeaker: `noise/free-sound/0000.wav`,
`music/...`, `speech/...` (mixed into babble), `rir/...`. local/prepare_musan.py and prepare_rirs.py write it.

Files of another rate are resampled. If there are several channels, one is drawn.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sv.audio.files import AudioInfo, Waveform
from sv.audio.part_reader import PartReader
from sv.errors import UserError, log
from sv.io import read_table

NOISE_TYPES = ("noise", "music", "speech")
RIR_TYPE = "rir"
_SUBSTITUTES = 4  # other files that are tried
_PROBE_BYTES, _PROBE_THREADS = 4096, 16

T = TypeVar("T")


class ClipError(UserError):
    """Several noise or impulse response files cannot be read; no utterance is to blame."""


class Clips:
    """Noise or impulse response files of given types; may be used by several threads.

    Args:
        data_dir: folder with a wav.scp.
        types: the types allowed in it.
        sample_rate: Hz, of what `read` and `whole` return.
        skip_bad: if a file cannot be read, warn once and take the next one of its type.

    Attributes:
        ids: in the order of wav.scp.
        of_type: type -> rows of `ids`, only for types that occur.

    Raises:
        UserError: wav.scp is missing or empty, or an id has another type.
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
        self._files = PartReader(self._specs)
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
        """Return the SHA-256 of the ids; while it is the same, the same draws mean the same files."""
        return hashlib.sha256("\n".join(self.ids).encode()).hexdigest()

    def file_fingerprint(self) -> str:
        """Return the SHA-256 of ids, file sizes, and some bytes from the middle of each file.

        It changes if an id has other audio, but not if a file is moved or copied. For a command or a missing file, the
        value in wav.scp counts.
        """
        with ThreadPoolExecutor(_PROBE_THREADS) as pool:
            probes = pool.map(_probe, self._specs)
            lines = [f"{name} {probe}" for name, probe in zip(self.ids, probes, strict=True)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def read(self, row: int, samples: int, place: float, channel: float) -> Waveform:
        """Read a part of a file, never a silent one; a shorter file is repeated.

        Args:
            row: row of the file.
            samples: how many to return.
            place: in [0, 1), relative start among all that fit.
            channel: in [0, 1), relative index of the channel.

        Returns:
            (samples,) float32 in [-1, 1].

        Raises:
            UserError: the file cannot be read, or its channel is silent.
            ClipError: with `skip_bad`, other files cannot be read either.
        """
        return self._first_usable(row, lambda usable: self._read(usable, samples, place, channel))

    def whole(self, row: int, channel: float) -> Waveform:
        """Read all samples of one channel: (samples,) float32; raise as `read` does."""
        return self._first_usable(row, lambda usable: self._whole(usable, channel))

    def _first_usable(self, row: int, read: Callable[[int], T]) -> T:
        """Read a file, or else one of those after it of its type."""
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
                    log.warning("%s cannot be read; another file is used: %s", self.ids[candidate], why)
        raise ClipError(f"{self.path}: {why}; the files before it cannot be read either; repair them or leave them out")

    def _read(self, row: int, samples: int, place: float, channel: float) -> Waveform:
        def choose(header: AudioInfo) -> tuple[int, int, int]:
            wanted = -(-samples * header.sample_rate // self.sample_rate)
            room = max(0, header.samples - wanted)
            start = int(place * (room + 1))
            return int(channel * header.channels), start, min(header.samples, start + wanted)

        part = self._at_our_rate(*self._files.read_channel(row, choose))
        if not part.any():
            whole = self._whole(row, channel)
            part = whole[int(whole.nonzero()[0][0]) :][:samples]
        return np.resize(part, samples)

    def _whole(self, row: int, channel: float) -> Waveform:
        samples, rate = self._files.read_channel(row, lambda h: (int(channel * h.channels), 0, h.samples))
        if not samples.any():
            raise UserError(f"{self._specs[row]} is silent; leave it out")
        return self._at_our_rate(samples, rate)

    def _at_our_rate(self, samples: Waveform, rate: int) -> Waveform:
        if rate == self.sample_rate:
            return samples
        import torch  # takes seconds to load, and a look at the files does not need it
        from torchaudio.functional import resample

        resampled: NDArray[np.float32] = resample(torch.from_numpy(samples), rate, self.sample_rate).numpy()
        return resampled


@dataclass(frozen=True)
class ClipFolders:
    """Folders of noise and of impulse responses; "" for none.

    Attributes:
        noise, rir: folders with a wav.scp.
        skip_bad: see `Clips`.
    """

    noise: str | Path = ""
    rir: str | Path = ""
    skip_bad: bool = False

    def open(self, sample_rate: int) -> tuple[Clips | None, Clips | None]:
        """Open both folders; None for one that is not given. Raise UserError as `Clips` does."""
        both = ((self.noise, NOISE_TYPES), (self.rir, (RIR_TYPE,)))
        noises, rirs = (
            Clips(folder, types, sample_rate, skip_bad=self.skip_bad) if folder else None for folder, types in both
        )
        return noises, rirs


def _probe(spec: str) -> str:
    """Return the size of a file and the checksum of its middle, or the `wav.scp` value if it is no file."""
    path = Path(spec)
    if not path.is_file():
        return spec
    with open(path, "rb") as f:
        size = f.seek(0, os.SEEK_END)
        f.seek(max(0, (size - _PROBE_BYTES) // 2))
        return f"{size} {hashlib.sha256(f.read(_PROBE_BYTES)).hexdigest()}"


def babble(talkers: list[Waveform]) -> Waveform:
    """Mix voices at equal power: (samples,) each, and so is the result."""
    mixed = np.zeros_like(talkers[0])
    for talker in talkers:
        mixed += talker / np.sqrt(np.mean(np.square(talker)))
    return mixed


def around_peak(rir: Waveform, samples: int) -> tuple[Waveform, int]:
    """Cut an impulse response `samples` after its strongest tap, as later taps have no effect.

    Returns:
        (taps,), and the index of the strongest tap.
    """
    peak = int(np.abs(rir).argmax())
    return rir[: peak + samples], peak
