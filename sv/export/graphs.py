"""The networks that are exported: from waveforms to features, from features to embeddings, and both together.

The spectrum is one convolution, whose kernels are the linear steps of a frame multiplied together: for Kaldi's kind,
mean removed, pre-emphasis, window and discrete Fourier transform. So exporters need neither framing nor an FFT. The
rest is as in `sv.audio`. There is no dither.
"""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import conv1d

from sv.audio.centered_fbank import CenteredFbank
from sv.audio.features import Fbank, mirror
from sv.audio.mel import EPSILON, INT16_SCALE, PREEMPHASIS, mirrored_samples
from sv.config import FbankConfig
from sv.embeddings.encoder import SpeakerEncoder, load_encoder
from sv.errors import UserError


def min_frames(encoder: SpeakerEncoder) -> int:
    """Return the fewest frames of an exported network.

    Of the frames that the network needs and nine more, two are left even if it keeps every eighth. Exported networks
    have no other way to compute a deviation for a single one.
    """
    return encoder.model.min_frames + 9


def load_exportable(exp_dir: Path, model_file: Path | None) -> SpeakerEncoder:
    """Load the encoder of a system; see `load_encoder`.

    Raises:
        UserError: as `load_encoder`; the encoder takes waveforms; the system drops frames without speech, which
            exported networks do not.
    """
    encoder = load_encoder(exp_dir, model_file)
    check_takes_features(encoder)
    if encoder.config.dataset_args.vad:
        raise UserError(
            f"{exp_dir / 'config.yaml'}: dataset_args.vad is true, but exported models drop no frames; "
            "export a system that was trained without"
        )
    return encoder


def check_takes_features(encoder: SpeakerEncoder) -> None:
    """Raise UserError if the encoder takes waveforms: it cuts long ones into parts, so one graph does not fit all."""
    if encoder.config.dataset_args.fbank_args.kind == "waveform":
        raise UserError(
            f"{encoder.config.model} takes waveforms and is not exported, only encoders of features are; "
            "run it with steps/verify.py or sv.Verifier, on a machine with torch"
        )


class FeatsToEmbedding(nn.Module):
    """Features (batch, frames, mels), with their mean unless they are `centered`, to embeddings (batch, dim)."""

    def __init__(self, encoder: SpeakerEncoder, *, centered: bool = False) -> None:
        super().__init__()
        self.model, self.cmvn = encoder.model, encoder.config.dataset_args.cmvn and not centered

    def forward(self, feats: Tensor) -> Tensor:
        if self.cmvn:
            feats = feats - feats.mean(dim=1, keepdim=True)
        return self.model.encode(feats)


class ConvFbank(nn.Module):
    """`Fbank` as a convolution: waveforms (batch, samples) in [-1, 1] to log-mel energies (batch, frames, mels)."""

    def __init__(self, config: FbankConfig) -> None:
        super().__init__()
        self.fbank = Fbank(config)
        length = self.fbank.frame_length
        centered = np.eye(length) - 1 / length
        emphasized = np.eye(length) - PREEMPHASIS * np.eye(length, k=-1)
        emphasized[0, 0] = 1 - PREEMPHASIS  # Kaldi: the first sample stands in for the one before it
        steps = self.fbank.window.double().numpy()[:, None] * (emphasized @ centered)
        steps = steps * (INT16_SCALE if config.int16_scale else 1.0)
        self.register_buffer("kernels", fourier_kernels(steps, self.fbank.fft_length))

    def forward(self, waveform: Tensor) -> Tensor:
        if not self.fbank.config.snip_edges:
            waveform = mirror(waveform, *mirrored_samples(self.fbank.config))
        power = power_spectrum(waveform, cast(Tensor, self.kernels), self.fbank.frame_shift)
        return (power @ self.fbank.mel_weights).clamp(min=EPSILON).log()


class ConvCenteredFbank(CenteredFbank):
    """`CenteredFbank` with its spectrum as a convolution."""

    def __init__(self, config: FbankConfig) -> None:
        super().__init__(config)
        self.register_buffer("kernels", fourier_kernels(np.diag(self.window.double().numpy()), self.fft_length))

    def _spectrum(self, padded: Tensor) -> Tensor:
        return power_spectrum(padded, cast(Tensor, self.kernels), self.frame_shift)


def fourier_kernels(steps: NDArray[np.float64], fft_length: int) -> Tensor:
    """Return kernels (2 * (fft_length / 2 + 1), 1, samples), real parts first, of the Fourier transform after `steps`.

    Args:
        steps: (samples, samples), what a frame is multiplied by first.
        fft_length: to which a frame is filled up with zeros.
    """
    transform = np.fft.rfft(np.eye(fft_length)[: len(steps)], axis=1).T @ steps  # (bins, samples)
    return torch.from_numpy(np.concatenate([transform.real, transform.imag])).float()[:, None]


def power_spectrum(signal: Tensor, kernels: Tensor, frame_shift: int) -> Tensor:
    """Return the power spectrum (batch, frames, bins) of signals (batch, samples)."""
    real, imaginary = conv1d(signal[:, None], kernels, stride=frame_shift).transpose(1, 2).chunk(2, dim=2)
    return real.square() + imaginary.square()


def conv_front_end(config: FbankConfig) -> nn.Module:
    """Return the front-end of `config` as a convolution; see `sv.audio.centered_fbank.make_fbank`."""
    return ConvFbank(config) if config.kind == "kaldi" else ConvCenteredFbank(config)


class WaveformToEmbedding(nn.Module):
    """Waveforms (batch, samples) in [-1, 1] to embeddings (batch, dim)."""

    def __init__(self, encoder: SpeakerEncoder) -> None:
        super().__init__()
        self.front_end = conv_front_end(encoder.config.dataset_args.fbank_args)
        self.network = FeatsToEmbedding(encoder)

    def forward(self, waveform: Tensor) -> Tensor:
        return cast(Tensor, self.network(self.front_end(waveform)))
