"""ERes2Net: a Res2Net that fuses, with attention, the parts inside a block and the outputs of its groups.

Chen et al., "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker Verification", Interspeech 2023,
arXiv 2305.12838. Layers, names and arithmetic are those of 3D-Speaker's ERes2Net, whose checkpoints load; to a variance
it adds 1e-8, TSTP 1e-7. WeSpeaker's checkpoints load too, although some of their tensors have other names.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from sv.models.options import Res2NetOptions
from sv.models.res2net import Res2Block, Res2Net

REDUCTION = 4  # channels of an input of a fusion, divided by those inside its attention

Value = TypeVar("Value")


class AttentionalFusion(nn.Module):
    """Add two maps, of which each value of the first weighs a in (0, 2) and of the second 2 - a."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // REDUCTION
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, inner, kernel_size=1),
            nn.BatchNorm2d(inner),
            nn.SiLU(inplace=True),
            nn.Conv2d(inner, channels, kernel_size=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum; all are (batch, channels, mels, frames)."""
        weight = 1 + self.local_att(torch.cat([x, y], dim=1)).tanh()
        return x * weight + y * (2 - weight)


class PlainBlock(Res2Block):
    """Res2 block that convolves all parts."""

    @staticmethod
    def num_convs(scale: int) -> int:
        return scale


class FusedBlock(PlainBlock):
    """Res2 block that convolves all parts, and fuses each with the output of the one before."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, base_width: int, scale: int, expansion: int
    ) -> None:
        super().__init__(in_channels, channels, stride, base_width=base_width, scale=scale, expansion=expansion)
        self.fuse_models = nn.ModuleList(AttentionalFusion(self.width) for _ in range(scale - 1))

    def join(self, number: int, before: Tensor, part: Tensor) -> Tensor:
        return self.fuse_models[number - 1](before, part)


class ERes2Net(Res2Net):
    """ERes2Net; from the first group on, what is fused so far is halved and fused with the next group's output."""

    blocks = (PlainBlock, PlainBlock, FusedBlock, FusedBlock)

    def __init__(self, options: Res2NetOptions, *, base_width: int, scale: int, expansion: int) -> None:
        super().__init__(options, base_width=base_width, scale=scale, expansion=expansion)
        channels = options.m_channels * expansion
        self.layer1_downsample = halve(channels)
        self.layer2_downsample = halve(2 * channels)
        self.layer3_downsample = halve(4 * channels)
        self.fuse_mode12 = AttentionalFusion(2 * channels)
        self.fuse_mode123 = AttentionalFusion(4 * channels)
        self.fuse_mode1234 = AttentionalFusion(8 * channels)

    def run_groups(self, x: Tensor) -> Tensor:
        out1 = self.layer1(x)  # (batch, m_channels * expansion, mels, frames)
        out2 = self.layer2(out1)
        out3 = self.layer3(out2)
        out4 = self.layer4(out3)
        fused = self.fuse_mode12(out2, self.layer1_downsample(out1))
        fused = self.fuse_mode123(out3, self.layer2_downsample(fused))
        return self.fuse_mode1234(out4, self.layer3_downsample(fused))

    def own_names(self, state: Mapping[str, Value]) -> dict[str, Value]:
        """Rename WeSpeaker's tensors of fused blocks: conv2_1 to convs.0, convs.i to convs.i+1, and bn2_1 and bns.i."""
        fused = {key.removesuffix("conv2_1.weight") for key in state if key.endswith(".conv2_1.weight")}
        return {_own_name(key) if key.startswith(tuple(fused)) else key: value for key, value in state.items()}


def halve(channels: int) -> nn.Conv2d:
    """Return a convolution that halves mels and frames and doubles the channels."""
    return nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1, bias=False)


def _own_name(key: str) -> str:
    key = re.sub(r"\.(convs|bns)\.(\d+)\.", lambda found: f".{found[1]}.{int(found[2]) + 1}.", key)
    return key.replace(".conv2_1.", ".convs.0.").replace(".bn2_1.", ".bns.0.")
