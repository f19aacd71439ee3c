"""Pooling over time: from values for each frame to one vector for each utterance, under WeSpeaker's names.

    TAP   mean                              TSDP  standard deviation
    TSTP  mean and standard deviation       ASTP  the same two, the frames weighted by attention

The input is (batch, channels, frames), or (batch, channels, bins, frames) from a 2-d network; the output is flattened
in the order (channels, bins), means before deviations. Deviations come from the unbiased variance, which is taken as 0
for a single frame, so that one frame gives a finite embedding. Statistics are computed in float32 under autocast.

ASTP: Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN", 2020, arXiv 2005.07143, section 3.1.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, linear

from sv.models.options import AttentionOptions, PoolingOptions

VARIANCE_FLOOR = 1e-7  # WeSpeaker's; a deviation is at least 3.2e-4, its gradient with respect to the variance 1,600


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
        return _at_least_float32(x).mean(dim=-1).flatten(1)  # (batch, channels [* bins])


class TemporalDeviation(Pooling):
    """TSDP: the standard deviation."""

    def __init__(self, in_dim: int, options: PoolingOptions) -> None:
        super().__init__(in_dim, in_dim)

    def forward(self, x: Tensor) -> Tensor:
        return deviation(_at_least_float32(x)).flatten(1)  # (batch, channels [* bins])


class TemporalStatistics(Pooling):
    """TSTP: mean and standard deviation."""

    def __init__(self, in_dim: int, options: PoolingOptions) -> None:
        super().__init__(in_dim, 2 * in_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = _at_least_float32(x)
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
        x = _at_least_float32(x)
        attention = _at_least_float32(attention).softmax(dim=-1)
        mean = (attention * x).sum(dim=-1)
        variance = (attention * x.square()).sum(dim=-1) - mean.square()
        return torch.cat([mean, variance.clamp_min(VARIANCE_FLOOR).sqrt()], dim=1)  # (batch, 2 * channels)

    def _with_context(self, x: Tensor) -> Tensor:
        """Return linear1 of (x, mean, deviation); the last two are equal in all frames, so each is mapped once."""
        context = _at_least_float32(x)
        context = torch.cat([context.mean(dim=-1), deviation(context)], dim=1)  # (batch, 2 * channels)
        of_frame, of_context = self.linear1.weight.split([self.in_dim, 2 * self.in_dim], dim=1)
        constant = linear(context, of_context.squeeze(-1), self.linear1.bias)  # (batch, bottleneck)
        return conv1d(x, of_frame) + constant.unsqueeze(-1)


def deviation(x: Tensor) -> Tensor:
    """Return the standard deviation over the last axis."""
    correction = min(1, x.shape[-1] - 1)
    return (x.var(dim=-1, correction=correction) + VARIANCE_FLOOR).sqrt()


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
