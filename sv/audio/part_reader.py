"""Parts of files that are read again and again, as in training: only the first read of a file checks all of it.

Each later read of a 16-bit mono WAV file takes the bytes that are wanted; of another file, it decodes that part.
"""

import os
import struct
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sv.audio.containers import check_container
from sv.audio.durations import check_range
from sv.audio.files import AudioInfo, Waveform, read_channel, read_wav

HEAD_BYTES = 4096  # the samples of a WAV file begin within these
_NOT_READ, _CHECKED = -2, -1  # instead of the offset of a WAV file's 16-bit samples


class PartReader:
    """Reads parts of the audio of `wav.scp` values, which are no commands; may be used by several threads.

    Speed copies, audio in archives and files with a broken header are read as `read_wav` does, each time.

    Args:
        specs: the values.
    """

    def __init__(self, specs: Sequence[str]) -> None:
        self._specs = specs
        self._plain = np.full((len(specs), 3), _NOT_READ, dtype=np.int64)  # offset and number of samples, Hz

    def read(self, number: int, sample_rate: int, start: int, end: int) -> Waveform:
        """Read samples `start` to `end` of the value of that number; arguments and errors are those of `read_wav`."""
        spec, (place, samples, _) = self._specs[number], self._plain[number].tolist()
        if place >= 0:
            check_range(spec, start, end, samples)
            if (waveform := _read_pcm(spec, place + 2 * start, end - start)) is not None:
                return waveform
        waveform = read_wav(spec, sample_rate, False, start, end, checked=place == _CHECKED)
        self._note(number)
        return waveform

    def read_channel(self, number: int, choose: Callable[[AudioInfo], tuple[int, int, int]]) -> tuple[Waveform, int]:
        """Read a part of one channel of the value of that number, as the function `read_channel` does."""
        spec, (place, samples, rate) = self._specs[number], self._plain[number].tolist()
        if place >= 0:
            _, start, end = choose(AudioInfo(samples, rate, 1))
            if (waveform := _read_pcm(spec, place + 2 * start, end - start)) is not None:
                return waveform, rate
        found = read_channel(spec, choose, checked=place == _CHECKED)
        self._note(number)
        return found

    def _note(self, number: int) -> None:
        """Note how a file can be read from now on, after a first read of it that raised nothing."""
        path = self._specs[number]
        if self._plain[number, 0] != _NOT_READ or not os.path.isfile(path):
            return
        with open(path, "rb") as f:
            place, samples, rate = find_samples(f.read(HEAD_BYTES))
            if check_container(f, path):
                return  # its header is mended in memory for each read
            is_whole = place + 2 * samples <= f.seek(0, os.SEEK_END)
        self._plain[number] = place if is_whole else _CHECKED, samples, rate


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


def _read_pcm(path: str, offset: int, count: int) -> Waveform | None:
    """Read 16-bit samples; None if they are not there any more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = os.pread(fd, 2 * count, offset)
    finally:
        os.close(fd)
    return scale_pcm(content) if len(content) == 2 * count else None
