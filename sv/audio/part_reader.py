"""Read parts of files many times, as in training: only the first read of a file checks the whole file.

Each later read of a 16-bit mono WAV file takes the bytes that are needed; of another file, it decodes only that part. A
WAV file whose size or time of change differs is checked again.
"""

import os
import struct
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sv.audio.containers import check_container
from sv.audio.files import AudioInfo, Waveform, read_channel, read_wav

HEAD_BYTES = 4096  # the samples of a WAV file begin within these
_MENDED, _NOT_READ, _CHECKED = -3, -2, -1  # instead of the offset of a WAV file's 16-bit samples


class PartReader:
    """Reads parts of the audio of `wav.scp` values, which are no commands; may be used by several threads.

    Speed copies, audio in archives and files with a broken header are read as `read_wav` does, each time.

    Args:
        specs: the values.
    """

    def __init__(self, specs: Sequence[str]) -> None:
        self._specs = specs
        self._plain = np.full((len(specs), 5), _NOT_READ, dtype=np.int64)  # offset, number of samples, Hz; `_stamp`

    def read(self, number: int, sample_rate: int, start: int, end: int) -> Waveform:
        """Read samples `start` to `end` of the value of that number; arguments and errors are those of `read_wav`."""
        spec, (place, samples, rate, *stamp) = self._specs[number], self._plain[number].tolist()
        is_plain = place >= 0 and rate == sample_rate and 0 <= start < end <= samples
        if is_plain and (waveform := _read_pcm(spec, place + 2 * start, end - start, stamp)) is not None:
            return waveform
        waveform = read_wav(spec, sample_rate, False, start, end, checked=place == _CHECKED)
        self._note(number)
        return waveform

    def read_channel(self, number: int, choose: Callable[[AudioInfo], tuple[int, int, int]]) -> tuple[Waveform, int]:
        """Read a part of one channel of the value of that number, as the function `read_channel` does."""
        spec, (place, samples, rate, *stamp) = self._specs[number], self._plain[number].tolist()
        if place >= 0:
            _, start, end = choose(AudioInfo(samples, rate, 1))
            if (waveform := _read_pcm(spec, place + 2 * start, end - start, stamp)) is not None:
                return waveform, rate
        found = read_channel(spec, choose, checked=place == _CHECKED)
        self._note(number)
        return found

    def _note(self, number: int) -> None:
        """Note how a file can be read from now on, after a first read or a change, if nothing was raised."""
        if self._plain[number, 0] in (_MENDED, _CHECKED):
            return
        path = self._specs[number]
        try:
            with open(path, "rb") as f:
                stamp = _stamp(f.fileno())
                place, samples, rate = find_samples(f.read(HEAD_BYTES))
                if check_container(f, path):
                    place = _MENDED  # in memory, for each read
                elif place + 2 * samples > f.seek(0, os.SEEK_END):
                    place = _CHECKED
        except OSError:
            return  # no plain file, or one that is gone
        self._plain[number] = place, samples, rate, *stamp


def find_samples(head: bytes) -> tuple[int, int, int]:
    """Return where the samples of a WAV file begin, in bytes, how many its header promises, and the sample rate in Hz.

    Return (-1, 0, 0) if they are not 16-bit mono, or it is no WAV file.

    Args:
        head: first bytes of the file.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return -1, 0, 0
    place, plain, rate = 12, False, 0
    while place + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, place)
        place += 8
        if name == b"fmt " and place + 16 <= len(head):
            tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, place)
            plain = (tag, channels, bits) == (1, 1, 16)
        elif name == b"data":
            return (place, size // 2, rate) if plain else (-1, 0, 0)
        place += size + size % 2
    return -1, 0, 0


def scale_pcm(content: bytes) -> Waveform:
    """Convert 16-bit samples to float32 in [-1, 1) as libsndfile does."""
    waveform: NDArray[np.float32] = np.frombuffer(content, dtype="<i2").astype(np.float32)
    waveform *= np.float32(1 / 32768)
    return waveform


def _stamp(fd: int) -> list[int]:
    """Return what changes with an open file: its size in bytes and its time of change in ns."""
    status = os.fstat(fd)
    return [status.st_size, status.st_mtime_ns]


def _read_pcm(path: str, offset: int, count: int, stamp: list[int]) -> Waveform | None:
    """Read 16-bit samples; None if they cannot be read or the file has changed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.pread(fd, 2 * count, offset) if _stamp(fd) == stamp else None
        finally:
            os.close(fd)
    except OSError:
        return None
    return scale_pcm(content) if content is not None and len(content) == 2 * count else None
