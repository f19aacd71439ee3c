"""Gemini DF-ResNet: deep and narrow, with inverted bottlenecks; it halves the mels four times, the frames once.

Liu et al., "Golden Gemini is All You Need: Finding the Sweet Spots for Speaker Verification", 2023, arXiv 2312.03620.
Liu, Chen, Qian et al., "DF-ResNet: Boosting Speaker Verification Performance with Depth-First Design", Interspeech
2022. Layers, names and arithmetic are those of WeSpeaker's models, whose checkpoints load.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import relu

from sv.models.encoder import Encoder
from sv.models.options import POOLINGS, GeminiOptions

CHANNELS = (32, 32, 64, 128, 256)  # of the stem and the four stages
STRIDES = ((2, 1), (2, 2), (2, 1), (2, 1))  # over mels and frames, before each stage
WIDTH = 4  # times as many channels inside a block


class InvertedBottleneck(nn.Module):
    """1x1 to four times the channels, 3x3 on each channel alone, 1x1 back, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = WIDTH * channels
        self.conv1 = nn.Conv2d(channels, wide, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, kernel_size=3, padding=1, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.conv3 = nn.Conv2d(wide, channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)), inplace=True)
        out = relu(self.bn2(self.conv2(out)), inplace=True)
        return relu(self.bn3(self.conv3(out)) + x, inplace=True)


class GeminiDfResNet(Encoder):
    """Stem, four stages, pooling over time, one linear layer or two.

    Args:
        num_blocks: in each of the four stages.
    """

    def __init__(self, options: GeminiOptions, *, num_blocks: Sequence[int]) -> None:
        super().__init__(options)
        pairs = zip(pairwise(CHANNELS), STRIDES, strict=True)
        convs = [_conv_bn(inputs, outputs, stride) for (inputs, outputs), stride in pairs]
        stem = nn.Sequential(*_conv_bn(1, CHANNELS[0], (1, 1)), nn.ReLU(inplace=True))
        self.downsample_layers = nn.ModuleList([stem, *convs])
        self.stages = nn.ModuleList(
            nn.Sequential(*(InvertedBottleneck(channels) for _ in range(blocks)))
            for channels, blocks in zip(CHANNELS[1:], num_blocks, strict=True)
        )
        bins = -(-options.feat_dim // 16)  # halved four times, rounded up
        self.pool = POOLINGS.build(options.pooling_func, CHANNELS[-1] * bins)
        self.seg_1 = nn.Linear(self.pool.out_dim, options.embed_dim)
        self.two_emb_layer = options.two_emb_layer
        if options.two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(options.embed_dim, affine=False)
            self.seg_2 = nn.Linear(options.embed_dim, options.embed_dim)

    def encode(self, features: Tensor) -> Tensor:
        x = self.downsample_layers[0](features.transpose(1, 2).unsqueeze(1))  # (batch, 32, mels, frames)
        for downsample, stage in zip(self.downsample_layers[1:], self.stages, strict=True):
            x = stage(downsample(x))
        embedding: Tensor = self.seg_1(self.pool(x))  # of (batch, 256, mels / 16, frames / 2)
        return self.seg_2(self.seg_bn_1(relu(embedding))) if self.two_emb_layer else embedding


def _conv_bn(inputs: int, outputs: int, stride: tuple[int, int]) -> nn.Sequential:
    """Return a 3x3 convolution and batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))
