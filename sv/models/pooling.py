"""Pooling over time: from values for each frame to one vector for each utterance, under WeSpeaker's names.

    TAP   mean                              TSDP  standard deviation
    TSTP  mean and standard deviation       ASTP  the same two, the frames weighted by attention
    ASP       as ASTP, with ReLU and batch norm in the attention (WeSpeaker's SimAM-ResNets)
    MHASTP    as ASTP, the channels in groups (heads), each with an attention of its own
    XI        mean of a posterior, the frames weighted by a precision (the xi-vector)
    MQMHASTP  several MHASTP (queries) of the same frames, one after the other

The input is (batch, channels, frames), or (batch, channels, bins, frames) from a 2-d network; the output is flattened
in the order (channels, bins), means before deviations. Deviations come from the unbiased variance, which is taken as 0
for a single frame, so that one frame gives a finite embedding. Statistics are computed in float32 under autocast.

ASTP: Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN", 2020, arXiv 2005.07143, section 3.1.
XI: Lee, Wang, Koshinaka, "Xi-Vector Embedding for Speaker Recognition", 2021, IEEE SPL 28, 1385-1389.
MHASTP: India, Safari, Hernando, "Self Multi-Head Attention for Speaker Recognition", 2019, arXiv 1906.09890.
MQMHASTP: Zhao et al., "Multi-query multi-head attention pooling and Inter-topK penalty for speaker verification",
2021, arXiv 2110.05042.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, linear, softplus

from sv.errors import UserError
from sv.models.pooling_options import (
    AttentionOptions,
    MultiHeadOptions,
    MultiQueryOptions,
    NormedAttentionOptions,
    PoolingOptions,
    XiOptions,
)

VARIANCE_FLOOR = 1e-7  # WeSpeaker's; a deviation is at least 3.2e-4, its gradient with respect to the variance 1,600
ASP_VARIANCE_FLOOR = 1e-5
XI_VARIANCE_FLOOR = 1e-12
XI_LOG_PRECISION = 15.0  # at most, of a frame


class Pooling(nn.Module):
    """Base of all poolings: `in_dim` = channels x bins values for each frame to `out_dim` for each utterance."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.in_dim = in_dim
        self.out_dim = out_dim


class TemporalAverage(Pooling):
    """TAP: the mean."""

    def __init__(self, in_dim: int, options: PoolingOptions) -> None:
        super().__init__(in_dim, in_dim)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_float32(x).mean(dim=-1).flatten(1)  # (batch, channels [* bins])


class TemporalDeviation(Pooling):
    """TSDP: the standard deviation."""

    def __init__(self, in_dim: int, options: PoolingOptions) -> None:
        super().__init__(in_dim, in_dim)

    def forward(self, x: Tensor) -> Tensor:
        return deviation(at_least_float32(x)).flatten(1)  # (batch, channels [* bins])


class TemporalStatistics(Pooling):
    """TSTP: mean and standard deviation."""

    def __init__(self, in_dim: int, options: PoolingOptions) -> None:
        super().__init__(in_dim, 2 * in_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = at_least_float32(x)
        return torch.cat([x.mean(dim=-1).flatten(1), deviation(x).flatten(1)], dim=1)  # (batch, 2 * channels [* bins])


class AttentiveStatistics(Pooling):
    """ASTP: mean and standard deviation with a softmax over time for each channel.

    The attention sees the frame and, with `global_context_att`, mean and deviation of the whole utterance.
    """

    def __init__(self, in_dim: int, options: AttentionOptions) -> None:
        super().__init__(in_dim, 2 * in_dim)
        self.global_context_att = options.global_context_att
        inputs = 3 * in_dim if options.global_context_att else in_dim
        self.linear1 = nn.Conv1d(inputs, options.bottleneck_dim, kernel_size=1)
        self.linear2 = nn.Conv1d(options.bottleneck_dim, in_dim, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, -2)  # (batch, channels, frames)
        hidden = self._with_context(x) if self.global_context_att else self.linear1(x)  # (batch, bottleneck, frames)
        attention = self.linear2(hidden.tanh())  # (batch, channels, frames)
        return weighted_statistics(x, attention)  # (batch, 2 * channels)

    def _with_context(self, x: Tensor) -> Tensor:
        """Return linear1 of (x, mean, deviation); the last two are equal in all frames, so each is mapped once."""
        context = at_least_float32(x)
        context = torch.cat([context.mean(dim=-1), deviation(context)], dim=1)  # (batch, 2 * channels)
        of_frame, of_context = self.linear1.weight.split([self.in_dim, 2 * self.in_dim], dim=1)
        constant = linear(context, of_context.squeeze(-1), self.linear1.bias)  # (batch, bottleneck)
        return conv1d(x, of_frame) + constant.unsqueeze(-1)


class NormedAttentiveStatistics(Pooling):
    """ASP: as ASTP, but the attention has ReLU and batch norm and never sees the whole utterance."""

    def __init__(self, in_dim: int, options: NormedAttentionOptions) -> None:
        super().__init__(in_dim, 2 * in_dim)
        self.attention = nn.Sequential(
            nn.Conv1d(in_dim, options.hidden_dim, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(options.hidden_dim),
            nn.Conv1d(options.hidden_dim, in_dim, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, -2)  # (batch, channels, frames)
        return weighted_statistics(x, self.attention(x), ASP_VARIANCE_FLOOR)  # (batch, 2 * channels)


class XiPosterior(Pooling):
    """XI: the mean of a Gaussian posterior, to which each frame adds with a precision that is estimated from it.

    The frames and a learnt prior are observations of one vector. The weights of the mean are a softmax of their log
    precisions, for each channel. With `stddev`, the weighted deviation from it is appended.
    """

    def __init__(self, in_dim: int, options: XiOptions) -> None:
        super().__init__(in_dim, 2 * in_dim if options.stddev else in_dim)
        self.stddev = options.stddev
        self.prior_mean = nn.Parameter(torch.zeros(1, in_dim), requires_grad=options.train_mean)
        self.prior_logprec = nn.Parameter(torch.zeros(1, in_dim), requires_grad=options.train_prec)
        hidden = options.hidden_size
        self.lin1_relu_bn = nn.Sequential(
            nn.Conv1d(in_dim, hidden, kernel_size=1), nn.ReLU(inplace=True), nn.BatchNorm1d(hidden)
        )
        self.lin2 = nn.Conv1d(hidden, in_dim, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, -2)  # (batch, channels, frames)
        root = softplus(at_least_float32(self.lin2(self.lin1_relu_bn(x))))
        logprec = (2 * root.log()).clamp(-XI_LOG_PRECISION, XI_LOG_PRECISION)  # (batch, channels, frames)
        frames = at_least_float32(x)
        prior = (
            self.prior_mean[..., None].expand(x.shape[0], -1, -1),
            self.prior_logprec[..., None].expand(x.shape[0], -1, -1),
        )
        seen = torch.cat([frames, prior[0]], dim=2)  # (batch, channels, frames + 1)
        weights = torch.cat([logprec, prior[1]], dim=2).softmax(dim=2)
        mean = (weights * seen).sum(dim=2)
        if not self.stddev:
            return mean
        variance = (weights * seen.square()).sum(dim=2) - mean.square()
        return torch.cat([mean, variance.clamp_min(XI_VARIANCE_FLOOR).sqrt()], dim=1)


class MultiHeadStatistics(Pooling):
    """MHASTP: the channels are split into heads, each pooled by its own attention, which sees only its channels.

    The output holds the first head's means and deviations, then the second head's, and so on.

    Raises:
        UserError: the channels cannot be split evenly.
    """

    def __init__(self, in_dim: int, options: MultiHeadOptions) -> None:
        super().__init__(in_dim, 2 * in_dim)
        if in_dim % options.head_num:
            raise UserError(
                f"the {in_dim} channels to pool cannot be split into head_num = {options.head_num} equal heads; "
                "choose another pooling_func, or sizes that divide"
            )
        self.heads_att_trans = nn.ModuleList(
            _head_attention(in_dim // options.head_num, options) for _ in range(options.head_num)
        )

    def forward(self, x: Tensor) -> Tensor:
        heads = x.flatten(1, -2).chunk(len(self.heads_att_trans), dim=1)  # each (batch, channels / heads, frames)
        pairs = zip(heads, self.heads_att_trans, strict=True)
        return torch.cat([weighted_statistics(head, att(head)) for head, att in pairs], dim=1)  # (batch, 2 * channels)


class MultiQueryStatistics(Pooling):
    """MQMHASTP: `query_num` times MHASTP."""

    def __init__(self, in_dim: int, options: MultiQueryOptions) -> None:
        super().__init__(in_dim, 2 * in_dim * options.query_num)
        self.n_query = nn.ModuleList(MultiHeadStatistics(in_dim, options) for _ in range(options.query_num))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([query(x) for query in self.n_query], dim=1)  # (batch, queries * 2 * channels)


def weighted_statistics(x: Tensor, attention: Tensor, floor: float = VARIANCE_FLOOR) -> Tensor:
    """Return mean and standard deviation over the frames, weighted by the softmax of `attention` over them.

    Args:
        x: (batch, channels, frames).
        attention: (batch, channels, frames), or (batch, 1, frames) for one weight for all channels.
        floor: the smallest variance.

    Returns:
        (batch, 2 * channels), the means first; float32 for half precision.
    """
    x = at_least_float32(x)
    weights = at_least_float32(attention).softmax(dim=-1)
    mean = (weights * x).sum(dim=-1)
    variance = (weights * x.square()).sum(dim=-1) - mean.square()
    return torch.cat([mean, variance.clamp_min(floor).sqrt()], dim=1)


def deviation(x: Tensor) -> Tensor:
    """Return the standard deviation over the last axis."""
    correction = min(1, x.shape[-1] - 1)
    return (x.var(dim=-1, correction=correction) + VARIANCE_FLOOR).sqrt()


def at_least_float32(x: Tensor) -> Tensor:
    """Return half precision as float32, and other dtypes as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _head_attention(channels: int, options: MultiHeadOptions) -> nn.Sequential:
    """Return 1x1 convolutions with tanh between them, from the channels of a head to one value or one for each."""
    hidden = [options.bottleneck_dim] * (options.layer_num - 1)
    sizes = [channels, *hidden, channels if options.d_s > 1 else 1]
    layers = nn.Sequential()
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        if i > 0:
            layers.add_module(f"tanh{i - 1}", nn.Tanh())
        layers.add_module(f"att_{i}", nn.Conv1d(inputs, outputs, kernel_size=1))
    return layers
