"""CAM++: a small 2-d network, then densely connected 1-d layers with context-aware masks.

Wang, Zheng, Chen, Cheng, Chen, "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
Masking", Interspeech 2023, arXiv 2303.00332. Layers, names and arithmetic are those of WeSpeaker's CAMPPlus, whose
checkpoints load. 3D-Speaker's load too: they only lack the 1e-7 that TSTP adds to a variance.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from sv.models.encoder import Encoder
from sv.models.options import POOLINGS, CamPlusPlusOptions
from sv.models.resnet import BasicBlock

HEAD_CHANNELS = 32
TDNN_CHANNELS = 128
GROWTH = 32  # channels that a dense layer adds
BOTTLENECK = 128  # channels inside a dense layer
BLOCKS = ((12, 1), (24, 2), (16, 2))  # dense layers and dilation of each block
SEGMENT = 100  # frames of a segment: 2 s, for the first 1-d layer halves their number


class Head(nn.Module):
    """The 2-d network: it divides the mels by 8, with 32 channels for each bin, and keeps the frames."""

    def __init__(self) -> None:
        super().__init__()
        channels = HEAD_CHANNELS
        self.conv1 = nn.Conv2d(1, channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(BasicBlock(channels, channels, (2, 1)), BasicBlock(channels, channels, 1))
        self.layer2 = nn.Sequential(BasicBlock(channels, channels, (2, 1)), BasicBlock(channels, channels, 1))
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.bn1(self.conv1(x)), inplace=True)  # (batch, 32, mels, frames)
        x = self.layer2(self.layer1(x))  # (batch, 32, mels / 4, frames)
        return relu(self.bn2(self.conv2(x)), inplace=True).flatten(1, 2)  # (batch, 32 * mels / 8, frames)


class MaskedConv(nn.Module):
    """Convolution over time, multiplied by a mask in (0, 1) that each segment gets from its mean and the utterance's.

    A mask is the same in all frames of a segment, so it is computed once for each.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(in_channels, in_channels // 2, kernel_size=1)
        self.linear2 = nn.Conv1d(in_channels // 2, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        context = x.mean(dim=-1, keepdim=True) + segment_means(x)  # (batch, in_channels, segments)
        mask = self.linear2(relu(self.linear1(context), inplace=True)).sigmoid()  # (batch, out_channels, segments)
        return self.linear_local(x) * repeat_segments(mask, x.shape[-1])  # (batch, out_channels, frames)


class DenseLayer(nn.Module):
    """Compute 32 new channels from all channels of the input, and append them."""

    def __init__(self, in_channels: int, *, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _norm_relu(in_channels)
        self.linear1 = nn.Conv1d(in_channels, BOTTLENECK, kernel_size=1, bias=False)
        self.nonlinear2 = _norm_relu(BOTTLENECK)
        self.cam_layer = MaskedConv(BOTTLENECK, GROWTH, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        new = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))  # (batch, 32, frames)
        return torch.cat([x, new], dim=1)  # (batch, in_channels + 32, frames)


class CamPlusPlus(Encoder):
    """CAM++: head, a layer that halves the frames, three dense blocks, pooling, a linear layer with batch norm."""

    opened = frozenset({"head"})

    def __init__(self, options: CamPlusPlusOptions) -> None:
        super().__init__(options)
        self.head = Head()
        bins = -(-options.feat_dim // 8)  # halved three times, rounded up
        self.xvector = nn.Sequential()
        tdnn = nn.Conv1d(HEAD_CHANNELS * bins, TDNN_CHANNELS, kernel_size=5, stride=2, padding=2, bias=False)
        self.xvector.add_module("tdnn", _named(linear=tdnn, nonlinear=_norm_relu(TDNN_CHANNELS)))
        channels = TDNN_CHANNELS
        for number, (layers, dilation) in enumerate(BLOCKS, start=1):
            inputs = [channels + GROWTH * i for i in range(layers)]
            block = {f"tdnnd{i}": DenseLayer(size, dilation=dilation) for i, size in enumerate(inputs, start=1)}
            channels += GROWTH * layers
            halve = nn.Conv1d(channels, channels // 2, kernel_size=1, bias=False)
            self.xvector.add_module(f"block{number}", _named(**block))
            self.xvector.add_module(f"transit{number}", _named(nonlinear=_norm_relu(channels), linear=halve))
            channels //= 2
        self.xvector.add_module("out_nonlinear", _norm_relu(channels))
        pool = POOLINGS.build(options.pooling_func, channels, **options.pooling_args)
        self.xvector.add_module("stats", pool)
        self.xvector.add_module("unsqueeze", nn.Unflatten(1, (pool.out_dim, 1)))
        to_embedding = nn.Conv1d(pool.out_dim, options.embed_dim, kernel_size=1, bias=False)
        norm = _named(batchnorm=nn.BatchNorm1d(options.embed_dim, affine=False))
        self.xvector.add_module("dense", _named(linear=to_embedding, nonlinear=norm))
        for module in self.xvector.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def encode(self, features: Tensor) -> Tensor:
        x = self.head(features.transpose(1, 2).unsqueeze(1))  # (batch, 32 * mels / 8, frames)
        return self.xvector(x).squeeze(-1)  # (batch, dim)


def segment_means(x: Tensor) -> Tensor:
    """Return the means of each 100 frames: (batch, channels, frames) to (batch, channels, frames // 100 + 2).

    The mean of a shorter segment at the end is that of the frames that it has. One or two segments without frames
    follow, as zeros: torch.export makes another network for one segment than for many, and so there are always many.
    """
    frames = x.shape[-1]
    segments = frames // SEGMENT + 2
    filled = pad(x, (0, segments * SEGMENT - frames)).unflatten(-1, (segments, SEGMENT))
    counts = (frames - SEGMENT * torch.arange(segments, device=x.device)).clamp(1, SEGMENT)
    return filled.sum(dim=-1) / counts


def repeat_segments(x: Tensor, frames: int) -> Tensor:
    """Repeat the value of each segment in its frames: (batch, channels, segments) to (batch, channels, frames)."""
    return x.index_select(-1, torch.arange(frames, device=x.device) // SEGMENT)


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def _norm_relu(channels: int) -> nn.Sequential:
    return _named(batchnorm=nn.BatchNorm1d(channels), relu=nn.ReLU(inplace=True))
