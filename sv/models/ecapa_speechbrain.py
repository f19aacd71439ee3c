"""ECAPA-TDNN as SpeechBrain and 3D-Speaker build it, whose checkpoints load.

It differs from `ecapa_tdnn.py` by mirrored frames before and after each convolution, the order of the parts of a Res2
block, a batch norm within the attention, 3 * channels joined channels, and the population variance.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN", 2020, arXiv 2005.07143; speechbrain/lobes/models/ECAPA_TDNN.py.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sv.models.encoder import Encoder
from sv.models.options import SpeechBrainEcapaOptions
from sv.models.pooling import at_least_float32

BOTTLENECK = 128  # channels of the gates and of the attention
RES2_SCALE = 8
VARIANCE_FLOOR = 1e-12


class Conv(nn.Module):
    """Convolution over time that keeps the number of frames; beyond both ends it sees the frames mirrored."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        around = dilation * (kernel_size // 2)
        self.conv = nn.Conv1d(
            in_channels, out_channels, kernel_size, dilation=dilation, padding=around, padding_mode="reflect"
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Norm(nn.Module):
    """Batch norm, under the name that checkpoints have."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Tdnn(nn.Module):
    """Convolution, ReLU, batch norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = Conv(in_channels, out_channels, kernel_size, dilation)
        self.norm = Norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(relu(self.conv(x)))


class Res2(nn.Module):
    """Keep the first of eight parts of the channels, convolve each other one after adding the output before it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        width = channels // RES2_SCALE
        self.blocks = nn.ModuleList(Tdnn(width, width, 3, dilation) for _ in range(RES2_SCALE - 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *parts = x.chunk(RES2_SCALE, dim=1)  # each (batch, width, frames)
        outputs = [first]
        for number, (part, block) in enumerate(zip(parts, self.blocks, strict=True)):
            outputs.append(block(part + outputs[-1] if number else part))
        return torch.cat(outputs, dim=1)


class Gate(nn.Module):
    """Multiply each channel by a gate in (0, 1), computed from the means of all channels over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv(channels, BOTTLENECK)
        self.conv2 = Conv(BOTTLENECK, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv2(relu(self.conv1(x.mean(dim=-1, keepdim=True)))).sigmoid()


class SeRes2(nn.Module):
    """1x1, Res2, 1x1 and gate, added to the input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.tdnn1 = Tdnn(channels, channels)
        self.res2net_block = Res2(channels, dilation)
        self.tdnn2 = Tdnn(channels, channels)
        self.se_block = Gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x))))


class AttentivePooling(nn.Module):
    """Mean and deviation over time, weighted for each channel; the attention sees frame, mean and deviation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tdnn = Tdnn(3 * channels, BOTTLENECK)
        self.conv = Conv(BOTTLENECK, channels)

    def forward(self, x: Tensor) -> Tensor:
        even = torch.full_like(x[:, :1], 1 / x.shape[-1])
        context = [part.unsqueeze(-1).expand_as(x).to(x.dtype) for part in _statistics(x, even)]
        attention = self.conv(self.tdnn(torch.cat([x, *context], dim=1)).tanh())  # (batch, channels, frames)
        return torch.cat(_statistics(x, at_least_float32(attention).softmax(dim=-1)), dim=1)  # (batch, 2 * channels)


class SpeechBrainEcapa(Encoder):
    """SpeechBrain's ECAPA-TDNN; a kernel of 3 frames, 4 apart, needs 5 frames to mirror."""

    def __init__(self, options: SpeechBrainEcapaOptions) -> None:
        super().__init__(options, min_frames=5)
        channels = options.channels
        first = Tdnn(options.feat_dim, channels, kernel_size=5)
        self.blocks = nn.ModuleList([first, *(SeRes2(channels, dilation) for dilation in (2, 3, 4))])
        self.mfa = Tdnn(3 * channels, 3 * channels)
        self.asp = AttentivePooling(3 * channels)
        self.asp_bn = Norm(6 * channels)
        self.fc = Conv(6 * channels, options.embed_dim)

    def encode(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2)
        outputs = []
        for block in self.blocks:
            x = block(x)  # (batch, channels, frames)
            outputs.append(x)
        x = self.mfa(torch.cat(outputs[1:], dim=1))  # (batch, 3 * channels, frames)
        return self.fc(self.asp_bn(self.asp(x).unsqueeze(-1))).squeeze(-1)  # (batch, dim)


def _statistics(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (batch, channels) over the frames, with weights that sum to 1; float32 at least."""
    x, weights = at_least_float32(x), at_least_float32(weights)
    mean = (weights * x).sum(dim=-1)
    variance = (weights * (x - mean.unsqueeze(-1)).square()).sum(dim=-1)
    return mean, variance.clamp_min(VARIANCE_FLOOR).sqrt()
