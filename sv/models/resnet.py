"""ResNet for speakers: a 2-d network over (mels, frames), pooled over time, one linear layer to the embedding.

Unlike the network for images, its first convolution is 3x3 with stride 1, there is no max pooling, and the channels
start at 32. Layers, names and arithmetic are those of WeSpeaker's models, whose checkpoints load: conv1, bn1, layer1 to
layer4, seg_1 (, seg_bn_1, seg_2).

He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, relu

from sv.models.encoder import Encoder
from sv.models.options import POOLINGS, ResNetOptions


class PointwiseConv2d(nn.Conv2d):
    """1x1 convolution, strided or not, that trains in channels_last on CPUs, too.

    There oneDNN writes past its memory in the gradient of a strided one with few input channels (its issue 6035). So
    where a gradient is needed, a pooling of one value strides, and the convolution does not.
    """

    def __init__(self, in_channels: int, channels: int, stride: int | tuple[int, int]) -> None:
        super().__init__(in_channels, channels, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, mels, frames) to (batch, channels, mels / stride, frames / stride)."""
        if (self.training or x.requires_grad) and self.stride != (1, 1):
            return conv2d(avg_pool2d(x, 1, self.stride), self.weight)
        return super().forward(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the stride is one for both axes, or one for (mels, frames)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int | tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return relu(out, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which strides) and 1x1 to four times the channels, with a shortcut."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.expansion * channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * channels)
        self.shortcut = shortcut(in_channels, self.expansion * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)), inplace=True)
        out = relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        out += self.shortcut(x)
        return relu(out, inplace=True)


class ResNet(Encoder):
    """Four groups of blocks; the last three halve mels and frames and double the channels.

    Args:
        num_blocks: in each of the four groups.
        bottleneck: blocks are `Bottleneck`, not `BasicBlock`.
    """

    def __init__(self, options: ResNetOptions, *, num_blocks: Sequence[int], bottleneck: bool) -> None:
        super().__init__(options)
        block, m_channels, embed_dim = Bottleneck if bottleneck else BasicBlock, options.m_channels, options.embed_dim
        self.conv1 = nn.Conv2d(1, m_channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(m_channels)
        widths = [m_channels * factor for factor in (1, 2, 4, 8)]
        inputs = [m_channels] + [width * block.expansion for width in widths[:3]]
        self.layer1 = _group(block, inputs[0], widths[0], num_blocks[0], stride=1)
        self.layer2 = _group(block, inputs[1], widths[1], num_blocks[1], stride=2)
        self.layer3 = _group(block, inputs[2], widths[2], num_blocks[2], stride=2)
        self.layer4 = _group(block, inputs[3], widths[3], num_blocks[3], stride=2)
        bins = -(-options.feat_dim // 8)  # halved three times, rounded up
        self.pool = POOLINGS.build(options.pooling_func, widths[3] * block.expansion * bins)
        self.seg_1 = nn.Linear(self.pool.out_dim, embed_dim)
        self.two_emb_layer = options.two_emb_layer
        if options.two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(embed_dim, affine=False)
            self.seg_2 = nn.Linear(embed_dim, embed_dim)
        self.emb_bn = nn.BatchNorm1d(embed_dim) if options.emb_bn else nn.Identity()

    def encode(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)  # (batch, 1, mels, frames)
        x = relu(self.bn1(self.conv1(x)), inplace=True)  # (batch, m_channels, mels, frames)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (batch, channels, mels / 8, frames / 8)
        embedding = self.seg_1(self.pool(x))  # (batch, dim)
        if self.two_emb_layer:
            embedding = self.seg_2(self.seg_bn_1(relu(embedding)))
        return self.emb_bn(embedding)


def shortcut(in_channels: int, out_channels: int, stride: int | tuple[int, int]) -> nn.Sequential:
    """Return a strided 1x1 convolution, or nothing where the shape stays."""
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    return nn.Sequential(PointwiseConv2d(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


def _group(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, channels: int, num_blocks: int, *, stride: int
) -> nn.Sequential:
    """Return `num_blocks` blocks; only the first has the stride."""
    first = block(in_channels, channels, stride)
    return nn.Sequential(first, *(block(channels * block.expansion, channels, 1) for _ in range(num_blocks - 1)))
