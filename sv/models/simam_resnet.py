"""SimAM-ResNet: a wide ResNet whose blocks weight each value by its distance from its channel's mean.

The weights have no parameters. They come from the whole utterance, so zeros appended to one change its embedding.
Layers, names and arithmetic are those of WeSpeaker's SimAM_ResNet34_ASP and SimAM_ResNet100_ASP, whose checkpoints
load: front.conv1, front.bn1, front.layer1 to front.layer4, pooling, bottleneck.

Yang et al., "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks", ICML 2021.
Qin et al., "Simple Attention Module based Speaker Verification with Iterative noisy label detection", ICASSP 2022,
arXiv 2110.06534.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import relu

from sv.models.encoder import Encoder
from sv.models.options import POOLINGS, SimamResNetOptions
from sv.models.pooling import at_least_float32
from sv.models.resnet import shortcut

REGULARIZATION = 1e-4  # lambda of the SimAM paper, added to the variance


class SimamBlock(nn.Module):
    """Two 3x3 convolutions and `simam`, with a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)), inplace=True)
        out = simam(self.bn2(self.conv2(out)))
        out += self.downsample(x)
        return relu(out, inplace=True)


class Front(nn.Module):
    """The 2-d network: four groups of blocks; the last three halve mels and frames and double the channels."""

    def __init__(self, in_planes: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, in_planes, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.layer1 = _group(in_planes, in_planes, num_blocks[0], stride=1)
        self.layer2 = _group(in_planes, 2 * in_planes, num_blocks[1], stride=2)
        self.layer3 = _group(2 * in_planes, 4 * in_planes, num_blocks[2], stride=2)
        self.layer4 = _group(4 * in_planes, 8 * in_planes, num_blocks[3], stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.bn1(self.conv1(x)), inplace=True)  # (batch, in_planes, mels, frames)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (batch, 8 * in_planes, mels / 8, frames / 8)


class SimamResNet(Encoder):
    """The 2-d network, pooling over time, one linear layer to the embedding.

    Args:
        num_blocks: in each of the four groups.
    """

    def __init__(self, options: SimamResNetOptions, *, num_blocks: Sequence[int]) -> None:
        super().__init__(options)
        self.front = Front(options.in_planes, num_blocks)
        bins = -(-options.feat_dim // 8)  # halved three times, rounded up
        self.pooling = POOLINGS.build(options.pooling_func, 8 * options.in_planes * bins)
        self.drop = nn.Dropout(options.dropout)
        self.bottleneck = nn.Linear(self.pooling.out_dim, options.embed_dim)

    def encode(self, features: Tensor) -> Tensor:
        x = self.front(features.transpose(1, 2).unsqueeze(1))  # (batch, channels, mels / 8, frames / 8)
        return self.bottleneck(self.drop(self.pooling(x)))  # (batch, dim)


def simam(x: Tensor) -> Tensor:
    """Multiply each value by a weight that grows with its distance from its channel's mean, in deviations.

    The weight is sigmoid(distance^2 / (4 (variance + 1e-4)) + 0.5), computed in float32 under autocast. The variance is
    the unbiased one, and 0 for a single value.

    Args:
        x: (batch, channels, bins, frames). Mean and variance are those of a channel of an utterance.
    """
    values = at_least_float32(x)
    squares = (values - values.mean(dim=(-2, -1), keepdim=True)).square()
    others = max(x.shape[-2] * x.shape[-1] - 1, 1)
    variance = squares.sum(dim=(-2, -1), keepdim=True) / others  # (batch, channels, 1, 1)
    weights = (squares / (4 * (variance + REGULARIZATION)) + 0.5).sigmoid()
    return x * weights.to(x.dtype)


def _group(in_channels: int, channels: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    """Return `num_blocks` blocks; only the first has the stride."""
    first = SimamBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(SimamBlock(channels, channels, 1) for _ in range(num_blocks - 1)))
