"""Reverberation, noise, speed and masks on batches of waveforms and features, on CPU or GPU.

Nothing here reads files or draws random numbers: the caller draws (sv/data/augmenter.py), and the same draws give the
same result. Reverberation keeps the power of the speech. Noise is added at its SNR to speech of any level. Nothing is
clipped or scaled to a peak, since features are computed from float samples.
"""

from functools import lru_cache

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn
from torchaudio.transforms import Resample

from sv.audio.files import resample_rates


def mean_power(waveform: Tensor) -> Tensor:
    """Return the mean square of each waveform: (batch, samples) -> (batch, 1)."""
    return waveform.square().mean(-1, keepdim=True)


def add_noise(speech: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Add noise whose power, over the whole waveform, is `snr_db` below that of the speech.

    The SNR is exact at any level of the speech, because no constant is added to either power. Silent speech stays
    silent, and silent noise changes nothing.

    Args:
        speech: (batch, samples).
        noise: (batch, samples) of any level.
        snr_db: (batch,) dB.

    Returns:
        (batch, samples).
    """
    wanted = mean_power(speech) * 10 ** (-snr_db[:, None] / 10)  # (batch, 1)
    power = mean_power(noise)
    gain = torch.where(power > 0, (wanted / power).sqrt(), torch.zeros_like(power))
    return speech + gain * noise


def reverberate(speech: Tensor, rir: Tensor, peak: Tensor) -> Tensor:
    """Convolve speech with impulse responses, aligned to the direct sound, at unchanged power.

    This does the same as Kaldi's wav-reverberate with --shift-output and --normalize-output.

    Args:
        speech: (batch, samples).
        rir: (batch, taps) impulse responses, padded with zeros; taps more than `samples` after the peak have no effect.
        peak: (batch,) int64, tap of the direct sound.

    Returns:
        (batch, samples).
    """
    samples, taps = speech.shape[1], rir.shape[1]
    fft_length = next_fast_len(samples + taps - 1, real=True)  # of the longest lag either way; the peaks stay unread
    # tap k is at lag k - peak; lags below 0 are at the end, since the convolution is circular
    place = (torch.arange(fft_length, device=rir.device) + peak[:, None]) % fft_length  # (batch, fft_length)
    kernel = nn.functional.pad(rir, (0, fft_length - taps)).gather(1, place)
    spectrum = torch.fft.rfft(speech, fft_length) * torch.fft.rfft(kernel)
    wet = torch.fft.irfft(spectrum, fft_length)[:, :samples]
    power = mean_power(wet)
    gain = torch.where(power > 0, (mean_power(speech) / power).sqrt(), torch.zeros_like(power))
    return wet * gain


def change_speed(waveform: Tensor, sample_rate: int, speed: float) -> Tensor:
    """Change the speed as sox's `speed` does: above 1, speech becomes faster and higher.

    Args:
        waveform: (batch, samples).
        sample_rate: Hz.
        speed: factor.

    Returns:
        (batch, samples / speed, rounded up).
    """
    if speed == 1.0:
        return waveform
    resampled: Tensor = resampler(*resample_rates(sample_rate, speed), waveform.device)(waveform)
    return resampled


@lru_cache(maxsize=32)
def resampler(old: int, new: int, device: torch.device) -> nn.Module:
    """Return what resamples (batch, samples) float32 from `old` to `new` Hz; its filters are copied once."""
    return Resample(old, new).to(device, non_blocking=True)


def samples_needed(samples: int, sample_rate: int, speed: float) -> int:
    """Return how many samples `change_speed` needs to make at least `samples`."""
    old, new = resample_rates(sample_rate, speed)
    return (samples - 1) * old // new + 1


def mask(features: Tensor, start: Tensor, length: Tensor, *, dim: int) -> Tensor:
    """Set bands of features to zero, as SpecAugment (Park et al., 2019, arXiv 1904.08779); each sample has its own.

    Zero is the mean if the mean was subtracted.

    Args:
        features: (batch, frames, mels).
        start, length: (batch, masks) int64, in frames or mels; a length of 0 masks nothing.
        dim: 1 to mask frames, 2 to mask mels.
    """
    position = torch.arange(features.shape[dim], device=features.device)
    inside = (position >= start[..., None]) & (position < (start + length)[..., None])  # (batch, masks, positions)
    hidden = inside.any(1)
    return features.masked_fill(hidden[:, :, None] if dim == 1 else hidden[:, None, :], 0.0)
