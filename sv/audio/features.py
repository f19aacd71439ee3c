"""Log-mel filter bank, dither, mean subtraction and energy VAD as in Kaldi, batched, on CPU or GPU.

A frame is computed as in `compute-fbank-feats`, on 16-bit scale (or [-1, 1]): mean removed, pre-emphasis 0.97, window,
zeros up to a power of two, power spectrum, triangles on the mel scale, logarithm floored at float32's epsilon. Frames
lie entirely within the signal (snip-edges), or are centred in successive shifts of it, which is mirrored at its ends.
Each bin is within 5e-3 of kaldi_native_fbank and torchaudio.compliance.kaldi.

Dither is added once to the waveform, whereas Kaldi draws new noise for each frame. Overlapping frames thus share it, as
they share the noise of a real recording, and it costs 2.5 times less. It depends on the utterance id alone, so the
number of jobs does not change it.
"""

import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sv.audio.mel import (
    EPSILON,
    INT16_SCALE,
    PREEMPHASIS,
    count_frames,
    fft_length,
    frame_samples,
    mel_banks,
    mirrored_samples,
)
from sv.config import DatasetArgs, FbankConfig

_CPU_BLOCK = 512  # frames: 1 MiB of spectrum, which stays in the cache
_GPU_BLOCK = 65536


class Fbank(nn.Module):
    """Computes log-mel energies (batch, frames, mels) of waveforms (batch, samples), in float32 even under autocast.

    There is no gradient.
    """

    window: Tensor  # (frame_length,)
    mel_weights: Tensor  # (fft_length / 2 + 1, mels)

    def __init__(self, config: FbankConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_length, self.frame_shift = frame_samples(config)
        self.fft_length = fft_length(config)
        self.register_buffer("window", make_window(config.window, self.frame_length).float(), persistent=False)
        banks = torch.from_numpy(mel_banks(config))
        weights = nn.functional.pad(banks.T, (0, 0, 0, 1)).float().contiguous()
        self.register_buffer("mel_weights", weights, persistent=False)

    def num_frames(self, samples: int) -> int:
        """Return the number of frames of a waveform; 0 if it is shorter than one frame."""
        return int(count_frames(np.array(samples), self.config))

    def num_samples(self, frames: int) -> int:
        """Return the fewest samples that have this number of frames."""
        mirrored = 0 if self.config.snip_edges else sum(mirrored_samples(self.config))
        return max(self.frame_length, self.frame_length + (frames - 1) * self.frame_shift - mirrored)

    @torch.no_grad()
    def forward(self, waveform: Tensor, dither: Tensor | None = None) -> Tensor:
        """Compute log-mel energies, (batch, frames, mels) float32.

        On one CPU, the result of a waveform is the same, bit for bit, alone or within a batch.

        Args:
            waveform: (batch, samples) in [-1, 1]; at least one frame long.
            dither: (batch, samples) of standard normal noise, which is scaled by the configuration's `dither`; or None.
        """
        batch, samples = waveform.shape
        frames = self.num_frames(samples)
        assert frames > 0, f"{samples} samples are less than a frame of {self.frame_length}"
        with torch.autocast(waveform.device.type, enabled=False):
            scale = INT16_SCALE if self.config.int16_scale else 1.0
            signal = waveform.float() * scale  # (batch, samples)
            if dither is not None:
                signal.add_(dither, alpha=self.config.dither * scale / INT16_SCALE)
            if not self.config.snip_edges:
                signal = mirror(signal, *mirrored_samples(self.config))
            fbank = signal.new_empty(batch, frames, self.config.num_mel_bins)
            rows, block = _block_shape(waveform.device.type, batch, frames)
            padded = signal.new_zeros(rows, block, self.fft_length)  # stays zero after the frame
            for row in range(0, batch, rows):
                for start in range(0, frames, block):
                    self._fill(fbank[row : row + rows, start : start + block], signal[row : row + rows], start, padded)
        return fbank

    def _fill(self, fbank: Tensor, signal: Tensor, start: int, padded: Tensor) -> None:
        """Compute one block.

        Args:
            fbank: (rows, frames, mels), output.
            signal: (rows, samples).
            start: first frame of the block.
            padded: (rows, frames or more, fft_length), reused from block to block.
        """
        frames = fbank.shape[1]
        first = start * self.frame_shift
        x = signal[:, first : first + (frames - 1) * self.frame_shift + self.frame_length]
        x_frames = x.unfold(1, self.frame_length, self.frame_shift)  # (rows, frames, frame_length), a view
        mean = x_frames.mean(2, keepdim=True)
        # Pre-emphasis of x - mean is that of x, shared by all frames, minus (1 - 0.97) mean. The first sample of a
        # frame has none before it, so Kaldi takes the sample itself instead.
        emphasized = torch.sub(x[:, 1:], x[:, :-1], alpha=PREEMPHASIS)
        emphasized = emphasized.unfold(1, self.frame_length - 1, self.frame_shift)
        windowed = padded[:, :frames, : self.frame_length]
        torch.sub(emphasized, mean, alpha=1 - PREEMPHASIS, out=windowed[:, :, 1:])
        torch.sub(x_frames[:, :, :1], mean, out=windowed[:, :, :1]).mul_(1 - PREEMPHASIS)
        windowed.mul_(self.window)
        spectrum = torch.fft.rfft(padded[:, :frames])  # (rows, frames, bins + 1)
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        mel_energy = power @ self.mel_weights  # all terms are positive: TF32 changes a logarithm by less than 1e-3
        torch.log(mel_energy.clamp_(min=EPSILON), out=fbank)


def _block_shape(device_type: str, batch: int, frames: int) -> tuple[int, int]:
    """Return waveforms and frames per block: what fits the cache of a CPU, or many on a GPU."""
    return (1, min(frames, _CPU_BLOCK)) if device_type == "cpu" else (batch, min(frames, max(1, _GPU_BLOCK // batch)))


def mirror(signal: Tensor, before: int, after: int) -> Tensor:
    """Continue signals (batch, samples) by their own first and last samples, in reverse order."""
    return torch.cat([signal[:, :before].flip(1), signal, signal[:, -after:].flip(1)], dim=1)


def make_window(name: str, length: int) -> Tensor:
    """Return a window of Kaldi, (length,) float64: hamming and hanning are symmetric, povey is hanning^0.85."""
    angle = 2 * math.pi / (length - 1) * torch.arange(length, dtype=torch.float64)
    hanning = 0.5 - 0.5 * torch.cos(angle)
    return {"hamming": 0.54 - 0.46 * torch.cos(angle), "hanning": hanning, "povey": hanning.pow(0.85)}[name]


def dither_noise(utt: str, samples: int) -> Tensor:
    """Draw standard normal noise that depends on the utterance id alone: (samples,) float32."""
    seed = int.from_bytes(hashlib.sha256(utt.encode()).digest()[:8], "little")
    generator = np.random.Generator(np.random.SFC64(seed))
    return torch.from_numpy(generator.standard_normal(samples, dtype=np.float32))


def subtract_mean(feats: Tensor) -> Tensor:
    """Subtract the mean over frames: (.., frames, mels) float32."""
    feats = feats.float()
    return feats - feats.mean(-2, keepdim=True)


@torch.no_grad()
def log_energy(waveform: Tensor, config: FbankConfig) -> Tensor:
    """Compute Kaldi's raw log energy, (frames,) float32: C0 of its MFCCs with --use-energy --raw-energy.

    This is the logarithm of the sum of squares of a frame, on 16-bit scale, mean removed, before pre-emphasis and
    window.

    Args:
        waveform: (samples,) in [-1, 1], at least one frame long.
        config: rate, frame length and shift.
    """
    length, shift = frame_samples(config)
    frames = (waveform.float() * INT16_SCALE).unfold(0, length, shift)  # (frames, length)
    blocks = [(b - b.mean(1, keepdim=True)).square().sum(1) for b in frames.split(_CPU_BLOCK)]
    return torch.cat(blocks).clamp(min=EPSILON).log()


def find_voiced(waveform: NDArray[np.float32], args: DatasetArgs) -> NDArray[np.bool_]:
    """Return whether each frame of a waveform (samples,) is speech by the VAD of a configuration, (frames,)."""
    energy = log_energy(torch.from_numpy(waveform), args.fbank_args).numpy()
    return energy_vad(energy, **args.vad_args.model_dump()) > 0


def energy_vad(
    log_energy: NDArray[np.float32],
    *,
    energy_threshold: float = 5.0,
    energy_mean_scale: float = 0.5,
    frames_context: int = 0,
    proportion_threshold: float = 0.6,
) -> NDArray[np.float32]:
    """Detect speech as Kaldi's `compute-vad`: 1.0 for frames of speech, else 0.0; (frames,) float32.

    Args:
        log_energy: (frames,), see `log_energy`.
        energy_threshold: a frame is loud if its log energy is above this, plus `energy_mean_scale` times the mean
            log energy of the utterance.
        frames_context: number of frames to either side that vote on a frame.
        proportion_threshold: share of loud frames among them from which a frame is speech.
    """
    threshold = np.float32(energy_threshold)
    if energy_mean_scale != 0:
        threshold += np.float32(energy_mean_scale * log_energy.mean(dtype=np.float64))
    loud = np.concatenate([[0], np.cumsum(log_energy > threshold)])  # loud[t]: loud frames before t
    frame = np.arange(len(log_energy))
    first, last = np.maximum(frame - frames_context, 0), np.minimum(frame + frames_context + 1, len(frame))
    votes = (loud[last] - loud[first]).astype(np.float32)
    return (votes >= (last - first).astype(np.float32) * np.float32(proportion_threshold)).astype(np.float32)
