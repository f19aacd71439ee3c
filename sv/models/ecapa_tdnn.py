"""ECAPA-TDNN: three 1-d Res2 blocks with squeeze-and-excitation, concatenated and pooled with attention.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN Based
Speaker Verification", 2020, arXiv 2005.07143. Layers, names and arithmetic (ReLU before batch norm, 1536 joined
channels at any width, tanh in the attention) are those of WeSpeaker's models, whose checkpoints load.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sv.models.encoder import Encoder
from sv.models.options import POOLINGS, EcapaOptions

JOINED_CHANNELS = 1536
RES2_SCALE = 8


class ConvReluBn(nn.Module):
    """Convolution over time that keeps the number of frames, ReLU, batch norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.bn = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(relu(self.conv(x), inplace=True))


class Res2Conv(nn.Module):
    """Convolve seven of eight parts of the channels in turn, each after adding the output of the one before it."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        assert channels % RES2_SCALE == 0, f"{channels} channels do not divide by {RES2_SCALE}"
        self.width = channels // RES2_SCALE
        self.convs = nn.ModuleList(
            nn.Conv1d(self.width, self.width, kernel_size=3, padding=dilation, dilation=dilation)
            for _ in range(RES2_SCALE - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(self.width) for _ in range(RES2_SCALE - 1))

    def forward(self, x: Tensor) -> Tensor:
        *parts, last = x.split(self.width, dim=1)  # eight of (batch, width, frames)
        outputs: list[Tensor] = []
        for part, conv, bn in zip(parts, self.convs, self.bns, strict=True):
            part = part + outputs[-1] if outputs else part
            outputs.append(bn(relu(conv(part), inplace=True)))
        return torch.cat([*outputs, last], dim=1)


class SqueezeExcitation(nn.Module):
    """Multiply each channel by a gate in (0, 1), computed from the means of all channels over time."""

    def __init__(self, channels: int, bottleneck_dim: int = 128) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, bottleneck_dim)
        self.linear2 = nn.Linear(bottleneck_dim, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.linear2(relu(self.linear1(x.mean(dim=-1)))).sigmoid()  # (batch, channels)
        return x * gate.unsqueeze(-1)


class SeRes2Block(nn.Module):
    """1x1, Res2, 1x1 and gate, added to the input."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.se_res2block = nn.Sequential(
            ConvReluBn(channels, channels),
            Res2Conv(channels, dilation=dilation),
            ConvReluBn(channels, channels),
            SqueezeExcitation(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.se_res2block(x)


class EcapaTdnn(Encoder):
    """ECAPA-TDNN; `channels` of the convolutions are 512 or 1024."""

    def __init__(self, options: EcapaOptions, *, channels: int) -> None:
        super().__init__(options)
        self.layer1 = ConvReluBn(options.feat_dim, channels, kernel_size=5)
        self.layer2 = SeRes2Block(channels, dilation=2)
        self.layer3 = SeRes2Block(channels, dilation=3)
        self.layer4 = SeRes2Block(channels, dilation=4)
        self.conv = nn.Conv1d(3 * channels, JOINED_CHANNELS, kernel_size=1)
        self.pool = POOLINGS.build(options.pooling_func, JOINED_CHANNELS, **options.pooling_args)
        self.bn = nn.BatchNorm1d(self.pool.out_dim)
        self.linear = nn.Linear(self.pool.out_dim, options.embed_dim)
        self.bn2 = nn.BatchNorm1d(options.embed_dim) if options.emb_bn else nn.Identity()

    def encode(self, features: Tensor) -> Tensor:
        out1 = self.layer1(features.transpose(1, 2))  # (batch, channels, frames)
        out2 = self.layer2(out1)
        out3 = self.layer3(out2)
        out4 = self.layer4(out3)
        x = relu(self.conv(torch.cat([out2, out3, out4], dim=1)), inplace=True)  # (batch, 1536, frames)
        return self.bn2(self.linear(self.bn(self.pool(x))))  # (batch, dim)
