"""Res2Net: a ResNet whose 3x3 convolutions each see a part of the channels and the output of the part before.

Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", 2019, arXiv 1904.01169. Layers, names and arithmetic are
those of WeSpeaker's Res2Net34, whose checkpoints load: blocks of 1x1, 3x3 and 1x1 in which the first 1x1 strides, and
activations that are cut at 20. ERes2Net and ERes2NetV2 are built from the same parts.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import hardtanh, relu

from sv.models.encoder import Encoder
from sv.models.options import POOLINGS, Res2NetOptions
from sv.models.resnet import PointwiseConv2d, shortcut

NUM_BLOCKS = (3, 4, 6, 3)  # of each group


class Res2Block(nn.Module):
    """1x1 (which strides), 3x3 on each part, and 1x1, with a shortcut.

    Args:
        channels: channels of the group; the output has `expansion` times as many.
        base_width: channels of a part, for 64 channels of the group.
        scale: number of parts.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, base_width: int, scale: int, expansion: int
    ) -> None:
        super().__init__()
        self.width = channels * base_width // 64
        self.conv1 = PointwiseConv2d(in_channels, self.width * scale, stride)
        self.bn1 = nn.BatchNorm2d(self.width * scale)
        num_convs = self.num_convs(scale)
        self.convs = nn.ModuleList(
            nn.Conv2d(self.width, self.width, kernel_size=3, padding=1, bias=False) for _ in range(num_convs)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(self.width) for _ in range(num_convs))
        self.conv3 = nn.Conv2d(self.width * scale, channels * expansion, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * expansion)
        self.shortcut = shortcut(in_channels, channels * expansion, stride)

    @staticmethod
    def num_convs(scale: int) -> int:
        """Return how many of the parts are convolved; the last part is not."""
        return scale - 1

    def join(self, number: int, before: Tensor, part: Tensor) -> Tensor:
        """Return the input of convolution `number` >= 1: the output of the one before, and its own part.

        All three are (batch, width, mels, frames).
        """
        return before + part

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, mels, frames) to (batch, channels * expansion, mels / stride, frames / stride)."""
        parts = _activate(self.bn1(self.conv1(x))).split(self.width, dim=1)  # `scale` of (batch, width, mels, frames)
        outputs: list[Tensor] = []
        for number, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            part = self.join(number, outputs[-1], parts[number]) if number else parts[number]
            outputs.append(_activate(bn(conv(part))))
        out = self.bn3(self.conv3(torch.cat([*outputs, *parts[len(outputs) :]], dim=1)))
        out += self.shortcut(x)
        return _activate(out)


class Res2Net(Encoder):
    """Four groups of blocks; the last three halve mels and frames and double the channels.

    Args:
        base_width, scale, expansion: see `Res2Block`.
    """

    blocks: tuple[type[Res2Block], ...] = (Res2Block,) * 4  # kind of each group
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, options: Res2NetOptions, *, base_width: int, scale: int, expansion: int) -> None:
        super().__init__(options)
        m_channels, embed_dim = options.m_channels, options.embed_dim
        self.conv1 = nn.Conv2d(1, m_channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(m_channels)
        in_channels = m_channels
        for group, (block, num_blocks) in enumerate(zip(self.blocks, NUM_BLOCKS, strict=True)):
            layers = nn.Sequential()
            for number in range(num_blocks):
                stride = 2 if group and not number else 1
                channels = m_channels * 2**group
                layers.append(
                    block(in_channels, channels, stride, base_width=base_width, scale=scale, expansion=expansion)
                )
                in_channels = channels * expansion
            self.add_module(f"layer{group + 1}", layers)
        bins = -(-options.feat_dim // 8)  # halved three times, rounded up
        self.pool = POOLINGS.build(options.pooling_func, in_channels * bins)
        self.seg_1 = nn.Linear(self.pool.out_dim, embed_dim)
        self.two_emb_layer = options.two_emb_layer
        if options.two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(embed_dim, affine=False)
            self.seg_2 = nn.Linear(embed_dim, embed_dim)

    def encode(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)  # (batch, 1, mels, frames)
        x = relu(self.bn1(self.conv1(x)), inplace=True)  # (batch, m_channels, mels, frames)
        embedding = self.seg_1(self.pool(self.run_groups(x)))  # (batch, dim)
        if self.two_emb_layer:
            embedding = self.seg_2(self.seg_bn_1(relu(embedding)))
        return embedding

    def run_groups(self, x: Tensor) -> Tensor:
        """Map (batch, m_channels, mels, frames) to (batch, 8 * m_channels * expansion, mels / 8, frames / 8)."""
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _activate(x: Tensor) -> Tensor:
    """Cut to 0 ... 20."""
    return hardtanh(x, 0.0, 20.0, inplace=True)
