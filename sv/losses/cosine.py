"""Cosines, and cosines of a moved angle, whose values and gradients are finite everywhere.

With theta = acos(cosine), d/dcosine of cos(theta + m) is sin(theta + m) / sin(theta), which has no bound at theta = 0:
acos and sqrt(1 - cos^2) give inf there, and then NaN. Here everything is algebra on the cosine, with a floor under the
sine.
"""

import math

import torch
from torch import Tensor

NORM_FLOOR = 1e-6


def cosine_matrix(embedding: Tensor, weight: Tensor) -> Tensor:
    """Return cosines (batch, speakers) of embedding (batch, dim) and weight (speakers, dim); rounding may pass 1."""
    return unit(embedding) @ unit(weight).T


def unit(rows: Tensor) -> Tensor:
    """Scale rows (..., dim) to norm 1.

    A row of norm 1e-6 or less has no direction: it becomes 0, and so does its gradient. Otherwise 1 / norm would raise
    the gradient until one dead utterance outweighs the rest of the batch.
    """
    norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)  # (..., 1)
    return rows * ((norm > NORM_FLOOR) / norm.clamp_min(NORM_FLOOR))


def sine(cosine: Tensor) -> Tensor:
    """Return sin(theta) in [0, 1], exact at cosine = +-1 and 0 beyond.

    Below sqrt(eps) of the dtype (float32: 3.5e-4, where the cosine's rounding hides the sine) the root of
    u = 1 - cosine^2 is replaced by its chord u / sqrt(eps): the slope stays under 2 / sqrt(eps), and the value is off
    by at most sqrt(eps) / 4.
    """
    square = ((1 - cosine) * (1 + cosine)).clamp_min(0)
    return square / square.clamp_min(torch.finfo(cosine.dtype).eps).sqrt()


def add_angle(cosine: Tensor, angle: float) -> Tensor:
    """Return cos(theta + angle), -pi / 2 < angle < pi / 2, continued to grow with the cosine over all of [-1, 1].

    Where theta + angle passes pi, cos(theta + angle) would rise again; it continues as cosine - (1 - cos(angle)), which
    meets it at -1 (WeSpeaker's continuation of AAM). Where theta + angle falls below 0, it continues as the mirror
    image, cosine + (1 - cos(angle)), which meets it at +1. So the values lie in [cos(angle) - 2, 2 - cos(angle)].
    """
    if angle < 0:  # with pi - theta in place of theta
        return -add_angle(-cosine, -angle)
    moved = cosine * math.cos(angle) - sine(cosine) * math.sin(angle)
    return torch.where(cosine > -math.cos(angle), moved, cosine - (1 - math.cos(angle)))


def add_angle_with_slope(cosine: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """Return `add_angle` and its derivative with respect to the cosine, in closed form, without autograd."""
    square = ((1 - cosine) * (1 + cosine)).clamp_min_(0)
    eps = torch.finfo(cosine.dtype).eps
    inverse_sine = square.clamp_min(eps).rsqrt_()
    slope, largest = inverse_sine * cosine, _largest(cosine)  # at first the cotangent
    if largest > 1 - eps:
        slope.mul_(1 + (square <= eps).to(cosine.dtype)).mul_(square > 0)  # the chord of `sine`
    value = square.mul_(inverse_sine).mul_(-math.sin(angle)).add_(cosine, alpha=math.cos(angle))
    slope.mul_(math.sin(angle)).add_(math.cos(angle))
    if largest >= math.cos(angle):
        side = math.copysign(1, angle)
        beyond = side * cosine <= -math.cos(angle)
        return torch.where(beyond, cosine - side * (1 - math.cos(angle)), value), slope.masked_fill_(beyond, 1)
    return value, slope


def _largest(cosine: Tensor) -> float:
    """Return the largest |cosine|, or its bound 1 on a GPU, so as not to wait."""
    if cosine.device.type != "cpu":
        return 1.0
    lowest, highest = cosine.aminmax()
    return max(-float(lowest), float(highest))


def multiply_angle(cosine: Tensor, factor: float) -> Tensor:
    """Return cos(min(factor theta, pi)), factor >= 1; it never falls with the cosine, and is flat beyond pi.

    The slope factor sin(factor theta) / sin(theta) is at most factor^2, its limit at theta = 0.
    """
    theta = torch.atan2(sine(cosine), cosine)  # its slope is large where that of acos is infinite
    return (factor * theta).clamp_max(math.pi).cos()
