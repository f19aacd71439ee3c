"""RepVGG: a chain of 3x3 convolutions; in training each has parallel branches, which `for_inference` adds up to one.

The branches are the convolution, another one (1x1, or in the RSBB variants 3x3 with dilation 2) and the input itself,
each with batch norm. Convolution and batch norm are linear, so their sum is one convolution (3x3, or 5x5) with a bias.

Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021, arXiv 2101.03697.
Ma et al., "Rep Works in Speaker Verification", 2021, arXiv 2110.09720. Layers, names and arithmetic are those of
WeSpeaker's REPVGG models; their checkpoints load, converted ones with `deploy`.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from sv.models.encoder import Encoder
from sv.models.options import POOLINGS, RepVggOptions

STAGE_CHANNELS = (64, 128, 256, 512)
STRIDES = (1, 1, 2, 2, 2)  # of the stem and the four stages
SE_RATIO = 4
LAST_GROUPED = 26  # of the layers, of which every second one may be grouped


class ChannelGate(nn.Module):
    """Multiply each channel by a gate in (0, 1), computed from the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc_1 = nn.Linear(channels, channels // SE_RATIO)
        self.fc_2 = nn.Linear(channels // SE_RATIO, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc_2(relu(self.fc_1(x.mean(dim=(2, 3))))).sigmoid()[:, :, None, None]


class Branch(nn.Module):
    """Convolution and batch norm."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm2d(conv.out_channels)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Block(nn.Module):
    """The branches, or one convolution in their place; then ReLU, and the gate if there is one."""

    def __init__(self, channels: tuple[int, int], stride: int, groups: int, rsbb: bool, options: RepVggOptions) -> None:
        super().__init__()
        inputs, outputs = channels
        size = 5 if rsbb else 3
        self.rsbb, self.stride = rsbb, stride
        self.se = ChannelGate(outputs) if options.use_se else nn.Identity()
        self.rbr_identity: nn.BatchNorm2d | None = None
        self.rbr_reparam: nn.Conv2d | None = None
        if options.deploy:
            self.rbr_reparam = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups)
            return
        if inputs == outputs and stride == 1:
            self.rbr_identity = nn.BatchNorm2d(inputs)
        conv = partial(nn.Conv2d, inputs, outputs, stride=stride, groups=groups, bias=False)
        self.rbr_dense = Branch(conv(kernel_size=3, padding=1))
        if rsbb:
            self.rbr_dense_dilation = Branch(conv(kernel_size=3, padding=2, dilation=2))
        else:
            self.rbr_1x1 = Branch(conv(kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        if self.rbr_reparam is not None:
            return self.se(relu(self.rbr_reparam(x)))
        out = self.rbr_dense(x) + (self.rbr_dense_dilation if self.rsbb else self.rbr_1x1)(x)
        if self.rbr_identity is not None:
            out = out + self.rbr_identity(x)
        return self.se(relu(out))

    @torch.no_grad()
    def fuse(self) -> None:
        """Put one convolution in the place of the branches; batch norm has its running statistics."""
        if self.rbr_reparam is not None:
            return
        conv, size = self.rbr_dense.conv, 5 if self.rsbb else 3
        parts = [_scaled(self.rbr_dense.conv.weight, self.rbr_dense.bn)]
        if self.rsbb:
            second = self.rbr_dense_dilation
            parts.append(_scaled(_dilated(second.conv.weight), second.bn))
        else:
            parts.append(_scaled(self.rbr_1x1.conv.weight, self.rbr_1x1.bn))
        if self.rbr_identity is not None:
            same = torch.eye(conv.in_channels // conv.groups).repeat(conv.groups, 1)[:, :, None, None]
            parts.append(_scaled(same.to(conv.weight), self.rbr_identity))
        fused = nn.Conv2d(
            conv.in_channels, conv.out_channels, size, stride=self.stride, padding=size // 2, groups=conv.groups
        )
        weight = torch.stack([pad(kernel, [(size - kernel.shape[-1]) // 2] * 4) for kernel, _ in parts]).sum(dim=0)
        fused.weight = nn.Parameter(weight)
        fused.bias = nn.Parameter(torch.stack([bias for _, bias in parts]).sum(dim=0))
        for name in ("rbr_dense", "rbr_dense_dilation" if self.rsbb else "rbr_1x1"):
            delattr(self, name)
        self.rbr_identity, self.rbr_reparam = None, fused


class RepVgg(Encoder):
    """Stem and four stages of blocks, pooling over time, one linear layer.

    Args:
        num_blocks: in each of the four stages.
        widths: times as many channels as `STAGE_CHANNELS`.
        groups: groups of every second convolution.
        rsbb: the second branch is a 3x3 convolution with dilation 2.
    """

    def __init__(
        self,
        options: RepVggOptions,
        *,
        num_blocks: Sequence[int],
        widths: Sequence[float],
        groups: int = 1,
        rsbb: bool = False,
    ) -> None:
        super().__init__(options)
        inputs = min(STAGE_CHANNELS[0], int(STAGE_CHANNELS[0] * widths[0]))
        self.stage0 = Block((1, inputs), STRIDES[0], 1, rsbb, options)
        layer = 1
        for stage, blocks in enumerate(num_blocks, start=1):
            outputs = int(STAGE_CHANNELS[stage - 1] * widths[stage - 1])
            chain = nn.Sequential()
            for number in range(blocks):
                grouped = groups if layer % 2 == 0 and layer <= LAST_GROUPED else 1
                stride = STRIDES[stage] if number == 0 else 1
                chain.append(Block((inputs, outputs), stride, grouped, rsbb, options))
                inputs, layer = outputs, layer + 1
            self.add_module(f"stage{stage}", chain)
        bins = -(-options.feat_dim // 8)  # halved three times, rounded up
        self.pool = POOLINGS.build(options.pooling_func, inputs * bins)
        self.seg = nn.Linear(self.pool.out_dim, options.embed_dim)

    def encode(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)  # (batch, 1, mels, frames)
        for stage in range(5):
            x = self.get_submodule(f"stage{stage}")(x)
        return self.seg(self.pool(x))  # of (batch, channels, mels / 8, frames / 8)

    def for_inference(self) -> "RepVgg":
        for module in self.modules():
            if isinstance(module, Block):
                module.fuse()
        return self


def _scaled(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return kernel and bias (outputs,) of a convolution that includes the batch norm after it."""
    assert norm.running_mean is not None and norm.running_var is not None, "batch norm keeps statistics"
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # (outputs,)
    return kernel * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def _dilated(kernel: Tensor) -> Tensor:
    """Return the 5x5 kernel of a 3x3 kernel with dilation 2."""
    spread = kernel.new_zeros(*kernel.shape[:2], 5, 5)
    spread[:, :, ::2, ::2] = kernel
    return spread
