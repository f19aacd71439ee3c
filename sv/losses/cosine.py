"""Cosines, and cosines of a moved angle, whose values and gradients are finite everywhere.

With theta = acos(cosine), d/dcosine of cos(theta + m) is sin(theta + m) / sin(theta): without bound at theta = 0, where
acos and sqrt(1 - cos^2) give inf and then NaN. Here everything is algebra on the cosine, with a floor under the sine.
"""

import math

import torch
from torch import Tensor

NORM_FLOOR = 1e-6


def cosine_matrix(embedding: Tensor, weight: Tensor) -> Tensor:
    """Cosines (batch, speakers) of embedding (batch, dim) and weight (speakers, dim); up to rounding within [-1, 1]."""
    return unit(embedding) @ unit(weight).T


def unit(rows: Tensor) -> Tensor:
    """Rows (..., dim) brought to norm 1.

    A row of norm 1e-6 or less has no direction: it becomes 0, and so does its gradient, which 1 / norm would otherwise
    raise to where one dead utterance outweighs the rest of the batch.
    """
    norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)  # (..., 1)
    return rows * ((norm > NORM_FLOOR) / norm.clamp_min(NORM_FLOOR))


def sine(cosine: Tensor) -> Tensor:
    """sin(theta) in [0, 1], exact at cosine = +-1 and 0 beyond.

    Under sqrt(eps) of the dtype (float32: 3.5e-4, which is what rounding of the cosine lets one see of it) the root
    of u = 1 - cosine^2 is replaced by its chord u / sqrt(eps): the slope stays under 2 / sqrt(eps), and the value is
    off by sqrt(eps) / 4 at most.
    """
    square = ((1 - cosine) * (1 + cosine)).clamp_min(0)
    return square / square.clamp_min(torch.finfo(cosine.dtype).eps).sqrt()


def add_angle(cosine: Tensor, angle: float) -> Tensor:
    """cos(theta + angle), -pi / 2 < angle < pi / 2, continued so that it grows with the cosine over all of [-1, 1].

    Where theta + angle passes pi, cos(theta + angle) would rise again; it goes on as cosine - (1 - cos(angle)) instead,
    which meets it at -1 (WeSpeaker's continuation of AAM). Where theta + angle falls under 0, the mirror image of that:
    cosine + (1 - cos(angle)), which meets it at +1. So the values lie in [cos(angle) - 2, 2 - cos(angle)].
    """
    if angle < 0:  # with pi - theta in place of theta
        return -add_angle(-cosine, -angle)
    moved = cosine * math.cos(angle) - sine(cosine) * math.sin(angle)
    return torch.where(cosine > -math.cos(angle), moved, cosine - (1 - math.cos(angle)))


def add_angle_with_slope(cosine: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """`add_angle`, and its derivative with respect to the cosine in closed form; without autograd."""
    square = ((1 - cosine) * (1 + cosine)).clamp_min_(0)
    eps = torch.finfo(cosine.dtype).eps
    inverse_sine = square.clamp_min(eps).rsqrt_()
    slope, largest = inverse_sine * cosine, _largest(cosine)  # the cotangent, to begin with
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
    """The largest |cosine|; on a GPU, which is not waited for, the 1 that it may be."""
    if cosine.device.type != "cpu":
        return 1.0
    lowest, highest = cosine.aminmax()
    return max(-float(lowest), float(highest))


def multiply_angle(cosine: Tensor, factor: float) -> Tensor:
    """cos(min(factor theta, pi)), factor >= 1; never falls with the cosine, and is flat where factor theta passes pi.

    The slope factor sin(factor theta) / sin(theta) is at most factor^2, its limit at theta = 0.
    """
    theta = torch.atan2(sine(cosine), cosine)  # where acos has an infinite slope, this has a large one
    return (factor * theta).clamp_max(math.pi).cos()
