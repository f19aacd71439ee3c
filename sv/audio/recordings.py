"""Single recordings for a verifier: files or samples of any rate, checked for faults that make scores meaningless."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from sv.audio.files import Waveform, read_file
from sv.audio.speech import speech_seconds
from sv.errors import MAX_RATE, MIN_RATE, UserError

if TYPE_CHECKING:
    import torch

    Audio: TypeAlias = str | Path | NDArray[Any] | torch.Tensor  # a file, or samples of one channel
else:
    Audio = str | Path | np.ndarray  # torch takes seconds to load, and may be missing

MIN_DURATION_S, MIN_SPEECH_S = 1.0, 0.5
MAX_CLIPPED = 0.005  # share of samples at the highest value of the recording
_FULL_SCALE = 0.98
_HIGHEST = 2.0  # sample in a file of floats, where peaks a little over 1 occur
_SILENCE_RMS = 1e-3  # -60 dB of full scale, over the loudest second

_NARROW_HZ = 5000  # above it, 8 kHz speech has nothing at any rate; resamplers leak up to here
_NARROW_DB = -45.0  # loudest hundredths of the frames above _NARROW_HZ, relative to those from 200 to 3800 Hz
_FRAME_S = 0.032
_MOST_FRAMES = 6000  # looked at: a minute without gaps; a longer recording with gaps


def read_audio(audio: Audio, name: str, sample_rate: int | None) -> tuple[Waveform, int]:
    """Return samples from -1 to 1, (samples,) float32, and their rate in Hz.

    Args:
        audio: a file; or samples of one channel, (samples,), (1, samples) or (samples, 1): floats in [-1, 1], or int16.
        name: name of samples in errors.
        sample_rate: rate of samples, in Hz.

    Raises:
        UserError: unreadable audio, several channels, samples without a usable rate.
    """
    if isinstance(audio, (str, Path)):
        return read_file(str(audio))
    if not isinstance(sample_rate, (int, np.integer)) or not MIN_RATE <= sample_rate <= MAX_RATE:
        raise UserError(f"{name}: sample_rate={sample_rate!r}; give the rate in Hz, such as 16000")
    return to_waveform(audio, name), int(sample_rate)


def is_tensor(samples: object) -> "TypeGuard[torch.Tensor]":
    """Return whether an object is a tensor of torch, without loading it: where it is not loaded, there is none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(samples, torch.Tensor)


def to_waveform(samples: object, name: str) -> Waveform:
    """Convert samples of one channel, from numpy or torch, float or int16, to (samples,) float32.

    Raises:
        UserError: something else, several channels or other integers; the message begins with `name`.
    """
    array = samples
    if is_tensor(samples):
        array = (samples.float() if samples.is_floating_point() else samples).detach().cpu().numpy()
    if not isinstance(array, np.ndarray):
        raise UserError(f"{name}: a {type(array).__name__}; give a file, or samples as a numpy array or torch tensor")
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise UserError(f"{name}: shape {array.shape}; give samples of one channel, of shape (samples,)")
    if array.dtype.kind != "f" and array.dtype != np.int16:
        raise UserError(f"{name}: samples of type {array.dtype}; give floats from -1 to 1, or int16")
    waveform: Waveform = np.require(array, np.float32, ["C", "W"])  # torch warns of arrays that it cannot write to
    return waveform / np.float32(32768) if array.dtype == np.int16 else waveform


def check_audio(waveform: Waveform, sample_rate: int, name: str) -> None:
    """Refuse a recording that no system should judge.

    Args:
        waveform: (samples,) from -1 to 1.
        sample_rate: in Hz.
        name: its name in errors.

    Raises:
        UserError: NaN, silence, less than a second, clipping, or too little speech.
    """
    if not np.isfinite(waveform).all():
        raise UserError(f"{name}: NaN or infinite samples; give finite ones")
    seconds = len(waveform) / sample_rate
    if seconds < MIN_DURATION_S:
        raise UserError(f"{name}: too short, {seconds:.2f} s; give {MIN_DURATION_S:g} s or more")
    frames = waveform[: len(waveform) // (sample_rate // 10) * (sample_rate // 10)].reshape(-1, sample_rate // 10)
    loudest = np.sort(np.square(frames, dtype=np.float64).mean(axis=1))[-10:]  # tenths of a second
    if math.sqrt(loudest.mean()) < _SILENCE_RMS:
        raise UserError(f"{name}: silence; give a recording with speech")
    peak = float(np.abs(waveform).max())
    if peak > _HIGHEST:
        raise UserError(f"{name}: a sample of {peak:g}; give samples from -1 to 1 (16-bit ones divided by 32768)")
    highest = np.abs(waveform) >= 0.999 * peak
    in_runs = highest[:-2] & highest[1:-1] & highest[2:]  # clipped, and then made softer
    clipped = float((highest if peak >= _FULL_SCALE else in_runs).mean())
    if clipped > MAX_CLIPPED:
        raise UserError(
            f"{name}: clipped, {100 * clipped:.1f} % of its samples are at its highest value; record it lower"
        )
    speech = speech_seconds(waveform, sample_rate)
    if speech < MIN_SPEECH_S:
        raise UserError(f"{name}: {speech:.2f} s of speech found; give {MIN_SPEECH_S:g} s or more, not whispered")


def is_narrow(waveform: Waveform, sample_rate: int) -> bool:
    """Return whether a recording has nothing above 5 kHz, as telephone speech at a higher rate.

    Args:
        waveform: (samples,), a second or more.
        sample_rate: Hz; below 12 kHz the answer is False.
    """
    if sample_rate < 12000:
        return False
    length = int(_FRAME_S * sample_rate)
    hz = np.fft.rfftfreq(length, 1 / sample_rate)
    step = max(length // 3, len(waveform) // _MOST_FRAMES)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[::step]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(length))))  # (frames, bins)
    high = np.percentile(power[:, hz > _NARROW_HZ].sum(1), 99)
    low = np.percentile(power[:, (hz > 200) & (hz < 3800)].sum(1), 99)
    return bool(high < low * 10 ** (_NARROW_DB / 10))
