"""Mel filter banks of other toolkits, whose frames are centred: the first one at the first sample.

    speechbrain  10 log10 of the energy, not below 1e-10, nor 80 dB below the waveform's highest; zeros before and after
    redimnet     ln(energy + 1e-6) after pre-emphasis 0.97; the waveform mirrored before and after
    redimnet_tf  the same with energies from 1e-8 to 1e8 and ln(energy + 1e-8); zeros of half a shift before and after
    ge2e         the energy itself, of a waveform made as loud as -30 dBFS or more; zeros before and after

Windows are periodic (of redimnet_tf symmetric), samples are in [-1, 1]. `sv.audio.mel.mel_banks` has the triangles.

speechbrain: speechbrain/lobes/features.py, Fbank.  redimnet, redimnet_tf: the "pt" and "tf" features of ReDimNet's
authors, torchaudio's MelSpectrogram and WeSpeaker's tfmel.  ge2e: resemblyzer/audio.py, librosa's melspectrogram,
without its removal of silence.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sv.audio.features import Fbank, make_window
from sv.audio.mel import INT16_SCALE, PREEMPHASIS, count_frames, fft_length, frame_samples, mel_banks
from sv.audio.wave_frames import WaveFrames
from sv.config import FbankConfig

SPEECHBRAIN_FLOOR, SPEECHBRAIN_RANGE_DB = 1e-10, 80.0
REDIMNET_FLOOR, REDIMNET_TF_FLOOR, UNIT_VARIANCE_EPS = 1e-6, 1e-8, 1e-8
GE2E_LEVEL = 10 ** (-30 / 20)  # RMS of -30 dBFS


class CenteredFbank(nn.Module):
    """Computes mel features (batch, frames, mels) of waveforms (batch, samples), in float32 even under autocast.

    There is no gradient.
    """

    window: Tensor  # (fft_length,), zeros around frame_length samples; of redimnet_tf these samples alone
    mel_weights: Tensor  # (fft_length / 2 + 1, mels)

    def __init__(self, config: FbankConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_length, self.frame_shift = frame_samples(config)
        self.fft_length = fft_length(config)
        periodic = config.kind != "redimnet_tf"
        window = make_window(config.window, self.frame_length + periodic)[: self.frame_length]
        around = self.fft_length - self.frame_length if periodic else 0
        window = pad(window.float(), (around // 2, around - around // 2))
        self.register_buffer("window", window, persistent=False)
        weights = torch.from_numpy(mel_banks(config)).T.float().contiguous()
        self.register_buffer("mel_weights", weights, persistent=False)

    def num_frames(self, samples: int) -> int:
        """Return the number of frames of a waveform; 0 if it is shorter than one frame."""
        return int(count_frames(np.array(samples), self.config))

    def num_samples(self, frames: int) -> int:
        """Return the fewest samples that have this number of frames."""
        around = 2 * (self.frame_shift // 2) if self.config.kind == "redimnet_tf" else self.frame_length
        return max(self.frame_length - around + (frames - 1) * self.frame_shift, self.frame_length)

    @torch.no_grad()
    def forward(self, waveform: Tensor, dither: Tensor | None = None) -> Tensor:
        """Compute mel features, (batch, frames, mels) float32.

        Args:
            waveform: (batch, samples) in [-1, 1]; at least one frame long.
            dither: (batch, samples) of standard normal noise, which is scaled by the configuration's `dither`; or None.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            signal = waveform.float()
            if dither is not None:
                signal = signal.add(dither, alpha=self.config.dither / INT16_SCALE)
            return self._scaled(self._power(self._prepared(signal)) @ self.mel_weights)

    def _prepared(self, signal: Tensor) -> Tensor:
        """Return the waveform (batch, samples) at the level, and with the pre-emphasis, that the model knows."""
        if self.config.kind == "ge2e":
            level = signal.square().mean(dim=1, keepdim=True).sqrt()
            return signal * (GE2E_LEVEL / level.clamp_min(torch.finfo(level.dtype).tiny)).clamp_min(1.0)
        if self.config.unit_variance:
            signal = signal - signal.mean(dim=1, keepdim=True)
            signal = signal / (signal.std(dim=1, correction=0, keepdim=True) + UNIT_VARIANCE_EPS)
        if self.config.kind in ("redimnet", "redimnet_tf"):
            before = torch.cat([signal[:, 1:2], signal[:, :-1]], dim=1)  # the second sample before the first: a mirror
            return signal - PREEMPHASIS * before
        return signal

    def _power(self, signal: Tensor) -> Tensor:
        """Return the power spectrum, (batch, frames, fft_length / 2 + 1); of redimnet_tf without the last bin."""
        around = self.fft_length // 2
        if self.config.kind == "redimnet_tf":
            power = self._spectrum(pad(signal, (self.frame_shift // 2,) * 2))
            return power[..., :-1].clamp(REDIMNET_TF_FLOOR, 1 / REDIMNET_TF_FLOOR)
        if self.config.kind == "redimnet":
            return self._spectrum(pad(signal.unsqueeze(1), (around, around), mode="reflect").squeeze(1))
        return self._spectrum(pad(signal, (around, around)))

    def _spectrum(self, padded: Tensor) -> Tensor:
        """Return the power spectrum (batch, frames, fft_length / 2 + 1) of windowed frames."""
        frames = padded.unfold(1, len(self.window), self.frame_shift)
        spectrum = torch.fft.rfft(frames * self.window, self.fft_length)
        return spectrum.real.square() + spectrum.imag.square()

    def _scaled(self, energy: Tensor) -> Tensor:
        """Return mel energies (batch, frames, mels) on the scale of the kind."""
        if self.config.kind == "speechbrain":
            decibels = 10 * energy.clamp_min(SPEECHBRAIN_FLOOR).log10()
            return decibels.maximum(decibels.amax(dim=(1, 2), keepdim=True) - SPEECHBRAIN_RANGE_DB)
        if self.config.kind == "redimnet_tf":
            return (energy.clamp(REDIMNET_TF_FLOOR, 1 / REDIMNET_TF_FLOOR) + REDIMNET_TF_FLOOR).log()
        return (energy + REDIMNET_FLOOR).log() if self.config.kind == "redimnet" else energy


def make_fbank(config: FbankConfig) -> Fbank | CenteredFbank | WaveFrames:
    """Return what computes features of the kind that the configuration names."""
    if config.kind == "waveform":
        return WaveFrames(config)
    return Fbank(config) if config.kind == "kaldi" else CenteredFbank(config)
