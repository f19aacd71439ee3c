"""SphereFace2's view of a pair, an utterance and a speaker: from their cosine to the logit of "same speaker".

    target      z_y = s f_y(cos_y) + b          other speaker     z_j = s f_j(cos_j) + b
    type C:     f_y = g(cos_y) - m                                f_j = g(cos_j) + m
    type A:     f_y = g(cos(theta_y + m))                         f_j = g(cos(theta_j - m))
    type M:     f_y = g(cos(min(m theta_y, pi)))                  f_j = g(cos_j)
    g(z) = 2 ((z + 1) / 2)^t - 1

Every f grows with its cosine: type A is continued where theta_y + m > pi or theta_j < m (`cosine.add_angle`), and g
below -1 by its tangent. Everything is finite in value and slope on all of [-1, 1].
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from sv.losses.cosine import add_angle, add_angle_with_slope, multiply_angle

SOFTPLUS_LINEAR_FROM = 40.0  # e^-40 vanishes; torch's 20 is off by 2e-9 a pair, 4e-5 over 17,982 speakers

MarginType = Literal["C", "A", "M"]
MarginOn = Literal["both", "target"]
Gradient = Literal["through_g", "detached"]


@dataclass(frozen=True)
class Pairs:
    """How cosines become logits.

    Args:
        scale: s.
        target_weight: lambda, the weight of the one target pair against all others.
        t: exponent of g, 1 or more; 1 leaves the cosine as it is.
        margin_type: C, on the similarity; A, on the angle; M, a factor of the target's angle.
        margin_on: both, as the speaker-verification paper has it, or the target alone, as the face paper; M always the
            latter.
        gradient: through_g differentiates all of f; detached takes the slope of f as 1, so that g and the margin weight
            a pair but do not steer it (the code of the face paper).
    """

    scale: float = 32.0
    target_weight: float = 0.7
    t: float = 3.0
    margin_type: MarginType = "C"
    margin_on: MarginOn = "both"
    gradient: Gradient = "through_g"

    def target_logit(self, cosine: Tensor, bias: Tensor, margin: float) -> Tensor:
        """z_y of target pairs, of any shape."""
        return self._logit(cosine, self._similarity(cosine, margin), bias)

    def nontarget_logit(self, cosine: Tensor, bias: Tensor, margin: float) -> Tensor:
        """z_j of pairs with another speaker, of any shape."""
        return self._logit(cosine, self._similarity(cosine, -self.nontarget_margin(margin)), bias)

    def nontarget_logit_and_slope(
        self, cosine: Tensor, bias: Tensor, margin: float, factor: float
    ) -> tuple[Tensor, Tensor | float]:
        """`nontarget_logit`, and `factor` times its derivative with respect to the cosine; closed form, no autograd."""
        margin = self.nontarget_margin(margin)
        angle, shift = (margin, 0.0) if self.margin_type == "A" else (0.0, margin)
        moved, angle_slope = add_angle_with_slope(cosine, -angle) if angle else (cosine, None)
        twice = (moved + 1).clamp_min_(0)  # (z + 1) / 2 is half of this
        power = twice.pow(self.t - 1)
        logit = twice.mul_(power).mul_(self.scale * 2 ** (1 - self.t)).add_(bias + self.scale * (shift - 1))
        if self.gradient == "detached":
            return logit, self.scale * factor
        slope = power.mul_(self.t * self.scale * 2 ** (1 - self.t) * factor)
        return logit, slope if angle_slope is None else slope.mul_(angle_slope)

    def nontarget_margin(self, margin: float) -> float:
        """What the margin of a step is for pairs with another speaker."""
        return 0.0 if self.margin_on == "target" or self.margin_type == "M" else margin

    def _similarity(self, cosine: Tensor, margin: float) -> Tensor:
        """f: a margin above 0 makes a target pair harder, one below 0 another pair."""
        if self.margin_type == "C":
            return spread(cosine, self.t) - margin
        if self.margin_type == "A":
            return spread(add_angle(cosine, margin), self.t)
        return spread(multiply_angle(cosine, margin) if margin > 0 else cosine, self.t)

    def _logit(self, cosine: Tensor, similarity: Tensor, bias: Tensor) -> Tensor:
        if self.gradient == "detached":
            similarity = cosine + (similarity - cosine).detach()
        return self.scale * similarity + bias

    def balanced_bias(self, num_speakers: int, margin: float) -> float:
        """The bias at which a target pair and all others pull equally hard while cosines are 0, as at first.

        With a = e^(s f_y(0)), c = e^(s f_j(0)), n = (1 - lambda) (num_speakers - 1), it is ln y of the positive root of

            lambda / (1 + a y) = n c y / (1 + c y),

        that is of n a c y^2 + (n - lambda) c y - lambda = 0. At margin 0 that is -s g(0) - ln(n / lambda).
        """
        zero, no_bias = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        log_a = float(self.target_logit(zero, no_bias, margin))
        log_c = float(self.nontarget_logit(zero, no_bias, margin))
        n, weight = (1 - self.target_weight) * (num_speakers - 1), self.target_weight
        product = 4 * n * weight * math.exp(log_a - log_c)
        root = math.sqrt((n - weight) ** 2 + product)
        if n >= weight:  # no difference of nearly equal numbers
            return math.log(2 * weight) - log_c - math.log(n - weight + root)
        return math.log(weight - n + root) - log_a - math.log(2 * n)


def softplus(z: Tensor) -> Tensor:
    """log(1 + e^z), finite for all z."""
    return functional.softplus(z, threshold=SOFTPLUS_LINEAR_FROM)


def spread(z: Tensor, t: float) -> Tensor:
    """g(z) = 2 ((z + 1) / 2)^t - 1, which spreads similarities out; z from -1 on, below by the tangent at -1.

    That tangent has slope t 0^(t - 1): 1 for t = 1, and 0 for all greater t.
    """
    if t == 1:
        return z
    return 2 * ((z + 1) / 2).clamp_min(0) ** t - 1
