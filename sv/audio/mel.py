"""Frames of a waveform and mel triangles of each kind of features; in numpy, so that settings need no torch."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.config import FbankConfig
from sv.errors import UserError

Floats = NDArray[np.floating[Any]]

INT16_SCALE = 32768.0  # Kaldi computes features of samples in -32768 .. 32767
EPSILON = float(np.finfo(np.float32).eps)
PREEMPHASIS = 0.97


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


def fft_length(config: FbankConfig) -> int:
    """Return the points of a frame's FFT: a power of two, or the frame's own length where others do not round it up."""
    length, _ = frame_samples(config)
    return length if config.kind in ("speechbrain", "ge2e") else 1 << (length - 1).bit_length()


def count_frames(samples: NDArray[np.int64], config: FbankConfig) -> NDArray[np.int64]:
    """Return the numbers of frames of waveforms; 0 of one that is shorter than a frame."""
    length, shift = frame_samples(config)
    mirrored = 0 if config.snip_edges else sum(mirrored_samples(config))
    around = {"kaldi": mirrored, "redimnet_tf": 2 * (shift // 2), "waveform": 0}.get(config.kind, length)  # added
    beyond_first = samples + around - length
    return np.where(samples < length, 0, 1 + beyond_first // shift)


def check_settings(config: FbankConfig) -> None:
    """Raise UserError if no features can be computed with these settings."""
    if config.kind != "waveform":
        mel_banks(config)
        return
    length, shift = frame_samples(config)
    if not length == shift == config.num_mel_bins:
        raise UserError(
            f"fbank_args of kind waveform: frames of {length} samples every {shift}, and num_mel_bins "
            f"{config.num_mel_bins}; make these three equal"
        )


def mirrored_samples(config: FbankConfig) -> tuple[int, int]:
    """Return the samples that Kaldi's frames without snip-edges reach over the start and over the end of a waveform.

    Raises:
        UserError: frames do not overlap.
    """
    length, shift = frame_samples(config)
    before = length // 2 - shift // 2
    if before < 0:
        raise UserError("fbank_args: snip_edges false takes frames that overlap; set frame_shift lower")
    return before, length - (shift - shift // 2) - before  # (samples + shift // 2) // shift frames


def mel_banks(config: FbankConfig) -> Floats:
    """Return the triangles of the kind of features: (mels, fft_length / 2 + 1).

    Kaldi's and those of redimnet_tf are linear on the mel scale and lack the Nyquist bin; the latter take the others
    as if they reached up to it. The rest are linear in Hz. SpeechBrain's are as wide on the right as on the left.
    Those of ge2e are on Slaney's scale, with an area of 1.

    Raises:
        UserError: frequencies out of order, or a triangle between two FFT bins, whose energy would always be 0.
    """
    bins = fft_length(config) // 2
    nyquist = config.sample_rate / 2
    high = config.high_freq if config.high_freq > 0 else nyquist + config.high_freq
    if not 0 <= config.low_freq < high <= nyquist:
        raise UserError(f"fbank_args: low_freq {config.low_freq} to high_freq {high} is not within 0 to {nyquist} Hz")
    to_mel, to_hz = _SLANEY if config.kind == "ge2e" else _HTK
    low, top = to_mel(np.array([config.low_freq, high], dtype=np.float64))
    edges = np.linspace(low, top, config.num_mel_bins + 2)[:, None]
    axis: Floats = np.arange(bins + 1) * (nyquist / bins)  # Hz
    if config.kind == "kaldi":
        axis = to_mel(axis[:-1])
    elif config.kind == "redimnet_tf":
        axis = to_mel(np.linspace(0, nyquist, bins))
    else:
        edges = to_hz(edges)
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    if config.kind == "speechbrain":
        right = 2 * center - left
    banks: Floats = np.minimum((axis - left) / (center - left), (right - axis) / (right - center)).clip(0)
    if config.kind == "ge2e":
        banks *= 2 / (right - left)
    if not banks.any(1).all():
        empty = int(np.flatnonzero(~banks.any(1))[0])
        raise UserError(
            f"fbank_args: mel bin {empty} of {config.num_mel_bins} lies between two of {bins} FFT bins at "
            f"{config.sample_rate} Hz; set num_mel_bins lower or frame_length higher"
        )
    return banks


def _slaney_mel(hz: Floats) -> Floats:
    """Return Slaney's scale: linear up to 1 kHz, which is 15, then logarithmic."""
    return np.where(hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / math.log(6.4))


def _slaney_hz(mel: Floats) -> Floats:
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((mel - 15) / 27))


_Scale = tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]  # from Hz, and back
_HTK: _Scale = (lambda hz: 1127.0 * np.log1p(hz / 700.0), lambda mel: 700.0 * np.expm1(mel / 1127.0))
_SLANEY: _Scale = (_slaney_mel, _slaney_hz)


def log_mel(waveform: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float64]:
    """Return what `sv.audio.features.Fbank` computes of one waveform, without torch: (frames, mels).

    Args:
        waveform: (samples,) in [-1, 1], at least one frame long.
        config: settings of Kaldi's kind, with a hamming window.
    """
    length, shift = frame_samples(config)
    x = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64) * INT16_SCALE, length)[::shift]
    x = x - x.mean(axis=1, keepdims=True)
    x = (x - PREEMPHASIS * np.concatenate([x[:, :1], x[:, :-1]], axis=1)) * np.hamming(length)
    power = np.square(np.abs(np.fft.rfft(x, fft_length(config))))[:, :-1]  # (frames, bins)
    found: NDArray[np.float64] = np.log(np.maximum(power @ mel_banks(config).T, EPSILON))
    return found
