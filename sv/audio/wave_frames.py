"""The waveform itself as features: frames that do not overlap, for encoders with a front-end of their own."""

import numpy as np
import torch
from torch import Tensor, nn

from sv.audio.mel import INT16_SCALE, check_settings, count_frames, frame_samples
from sv.config import FbankConfig


class WaveFrames(nn.Module):
    """Cuts waveforms (batch, samples) into features (batch, frames, samples of a frame); an incomplete frame is lost.

    Raises:
        UserError: frames overlap, or num_mel_bins is not the number of their samples.
    """

    def __init__(self, config: FbankConfig) -> None:
        super().__init__()
        self.config = config
        check_settings(config)
        self.frame_length, self.frame_shift = frame_samples(config)

    def num_frames(self, samples: int) -> int:
        """Return the number of frames of a waveform; 0 if it is shorter than one frame."""
        return int(count_frames(np.array(samples), self.config))

    def num_samples(self, frames: int) -> int:
        """Return the fewest samples that have this number of frames."""
        return frames * self.frame_length

    @torch.no_grad()
    def forward(self, waveform: Tensor, dither: Tensor | None = None) -> Tensor:
        """Return the frames, (batch, frames, samples) float32.

        Args:
            waveform: (batch, samples) in [-1, 1]; at least one frame long.
            dither: (batch, samples) of standard normal noise, which is scaled by the configuration's `dither`; or None.
        """
        signal = waveform.float()
        if dither is not None:
            signal = signal.add(dither, alpha=self.config.dither / INT16_SCALE)
        return signal.unfold(1, self.frame_length, self.frame_length).contiguous()
