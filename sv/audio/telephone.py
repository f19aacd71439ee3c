"""Simulation of a telephone line on batches of waveforms, on CPU or GPU.

    300 to 3400 Hz, 8 kHz, 256 steps of mu-law: the band of ITU-T G.712 and the code of G.711

mu-law is computed by its formula, which G.711 approximates by eight straight lines.
"""

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torchaudio.functional import mu_law_decoding, mu_law_encoding

from sv.audio.augment import resampler

RATE = 8000  # Hz, of the line
LOW_HZ, HIGH_HZ = 300.0, 3400.0
_EDGE_HZ = 100.0  # width of each edge of the band, around 300 and 3400 Hz
_STEPS = 256


def band_limit(waveform: Tensor, sample_rate: int, *, low: float = LOW_HZ, high: float = HIGH_HZ) -> Tensor:
    """Keep the frequencies from `low` to `high` Hz, without delay; at both, half of the power is left.

    Args:
        waveform: (batch, samples).
        sample_rate, low, high: Hz.

    Returns:
        (batch, samples).
    """
    samples = waveform.shape[-1]
    ringing = math.ceil(4 * sample_rate / _EDGE_HZ)  # samples in which the response of the filter decays
    fft_length = next_fast_len(samples + ringing, real=True)
    frequency = torch.fft.rfftfreq(fft_length, 1 / sample_rate, device=waveform.device)
    rise = ((frequency - low) / _EDGE_HZ + 0.5).clamp(0, 1)
    fall = ((high - frequency) / _EDGE_HZ + 0.5).clamp(0, 1)
    gain = torch.sin(math.pi / 2 * rise) * torch.sin(math.pi / 2 * fall)
    return torch.fft.irfft(torch.fft.rfft(waveform, fft_length) * gain, fft_length)[..., :samples]


def mu_law(waveform: Tensor) -> Tensor:
    """Encode samples in 8-bit mu-law and decode them: (.., samples); samples are clipped to [-1, 1] first."""
    decoded: Tensor = mu_law_decoding(mu_law_encoding(waveform.clamp(-1, 1), _STEPS), _STEPS)
    return decoded


def telephone(waveform: Tensor, sample_rate: int) -> Tensor:
    """Send speech through a telephone line; the sample rate stays: (batch, samples) float32.

    Args:
        waveform: (batch, samples) in [-1, 1]; quiet speech suffers more from mu-law, as on a real line.
        sample_rate: Hz, at least 8000.
    """
    down, up = (resampler(*rates, waveform.device) for rates in ((sample_rate, RATE), (RATE, sample_rate)))
    heard: Tensor = up(mu_law(band_limit(down(waveform), RATE)))
    return heard[..., : waveform.shape[-1]]
