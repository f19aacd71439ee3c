"""Frames of a waveform and mel triangles, as Kaldi has them; in numpy, so that settings are checked without torch."""

import math

import numpy as np
from numpy.typing import NDArray

from sv.config import FbankConfig
from sv.errors import UserError


def frame_samples(config: FbankConfig) -> tuple[int, int]:
    """Return the samples of a frame, and those from one frame to the next.

    Raises:
        UserError: less than two samples a frame, or less than one to the next.
    """
    length, shift = (int(config.sample_rate * 0.001 * ms) for ms in (config.frame_length, config.frame_shift))
    if length < 2 or shift < 1:
        raise UserError(
            f"fbank_args: frames of {config.frame_length} ms every {config.frame_shift} ms are {length} and {shift} "
            f"samples at {config.sample_rate} Hz; set frame_length and frame_shift higher"
        )
    return length, shift


def count_frames(samples: int, config: FbankConfig) -> int:
    """Return the number of frames of a waveform; 0 if it is shorter than one frame."""
    length, shift = frame_samples(config)
    return max(0, 1 + (samples - length) // shift)


def mel_banks(config: FbankConfig) -> NDArray[np.float64]:
    """Return triangles that are linear on the mel scale, (mels, fft_length / 2); as Kaldi, without the Nyquist bin.

    Raises:
        UserError: frequencies out of order, or a triangle between two FFT bins, whose energy would always be 0.
    """
    length, _ = frame_samples(config)
    bins = (1 << (length - 1).bit_length()) // 2
    nyquist = config.sample_rate / 2
    high = config.high_freq if config.high_freq > 0 else nyquist + config.high_freq
    if not 0 <= config.low_freq < high <= nyquist:
        raise UserError(f"fbank_args: low_freq {config.low_freq} to high_freq {high} is not within 0 to {nyquist} Hz")
    mel = 1127.0 * np.log1p(np.arange(bins) * (nyquist / bins) / 700.0)  # (bins,)
    low, top = (1127.0 * math.log1p(f / 700.0) for f in (config.low_freq, high))
    edges = np.linspace(low, top, config.num_mel_bins + 2)[:, None]
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    banks: NDArray[np.float64] = np.minimum((mel - left) / (center - left), (right - mel) / (right - center)).clip(0)
    if not banks.any(1).all():
        empty = int(np.flatnonzero(~banks.any(1))[0])
        raise UserError(
            f"fbank_args: mel bin {empty} of {config.num_mel_bins} lies between two of {bins} FFT bins at "
            f"{config.sample_rate} Hz; set num_mel_bins lower or frame_length higher"
        )
    return banks
