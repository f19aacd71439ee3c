"""The LSTM of GE2E as Resemblyzer publishes it: three layers, the last state, a linear layer with ReLU, norm 1.

The input is cut into overlapping windows, as there; its embedding is the mean of theirs. The last window is
padded with 0, the feature of silence. It is left out if more than 1 / 4 of its samples are padding, unless it is
the only one. n samples give 1 + n // 160 frames, so 3 / 4 of the samples of 160 frames are those of 121 frames.

Wan, Wang, Papir, Moreno, "Generalized End-to-End Loss for Speaker Verification", 2017, arXiv 1710.10467;
resemblyzer/voice_encoder.py.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad, relu

from sv.models.encoder import Encoder
from sv.models.options import Ge2eLstmOptions

MIN_COVERAGE = 0.75  # of the last window


class Ge2eLstm(Encoder):
    """LSTM over the frames; features are those of kind ge2e, their mean not subtracted."""

    def __init__(self, options: Ge2eLstmOptions) -> None:
        super().__init__(options)
        self.lstm = nn.LSTM(options.feat_dim, options.hidden_dim, options.num_layers, batch_first=True)
        self.linear = nn.Linear(options.hidden_dim, options.embed_dim)
        self.window, self.step = options.window_frames, options.step_frames
        self.least = max(math.ceil(MIN_COVERAGE * self.window) + 1, self.window - self.step)  # frames in the last one

    def encode(self, features: Tensor) -> Tensor:
        windows = self._windows(features)  # (batch, windows, frames, mels)
        outputs, _ = self.lstm(windows.flatten(0, 1))
        embedding = normalize(relu(self.linear(outputs[:, -1])))  # (batch * windows, dim)
        return normalize(embedding.unflatten(0, windows.shape[:2]).mean(dim=1))

    def _windows(self, features: Tensor) -> Tensor:
        """Cut (batch, frames, mels) into (batch, windows, window frames, mels); a graph for any number of frames."""
        last = torch.sym_max(features.shape[1] - self.least, 0)
        starts = torch.arange(0, last + 1, self.step, device=features.device)
        rows = starts[:, None] + torch.arange(self.window, device=features.device)
        return pad(features, (0, 0, 0, self.window))[:, rows]
