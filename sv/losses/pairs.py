"""Logits of SphereFace2: from the cosine of an utterance and a speaker to the logit of "same speaker".

    target      z_y = s f_y(cos_y) + b          other speaker     z_j = s f_j(cos_j) + b
    type C:     f_y = g(cos_y) - m                                f_j = g(cos_j) + m
    type A:     f_y = g(cos(theta_y + m))                         f_j = g(cos(theta_j - m))
    type M:     f_y = g(cos(min(m theta_y, pi)))                  f_j = g(cos_j)
    g(z) = 2 ((z + 1) / 2)^t - 1

Every f grows with its cosine: type A is continued where theta_y + m > pi or theta_j < m (`cosine.add_angle`), and g
follows its tangent below -1. Values and slopes are finite on all of [-1, 1].
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sv.losses.cosine import add_angle, add_angle_with_slope, multiply_angle
from sv.losses.options import SphereFace2Options

SOFTPLUS_LINEAR_FROM = 40.0  # e^-40 vanishes; torch's 20 is off by 2e-9 a pair, 4e-5 over 17,982 speakers


@dataclass(frozen=True)
class Pairs:
    """The logits of pairs at one margin."""

    options: SphereFace2Options
    margin: float

    def target_logit(self, cosine: Tensor, bias: Tensor) -> Tensor:
        """Return z_y of target pairs, of any shape."""
        return self._logit(cosine, self._similarity(cosine, self.margin), bias)

    def nontarget_logit(self, cosine: Tensor, bias: Tensor) -> Tensor:
        """Return z_j of pairs with another speaker, of any shape."""
        return self._logit(cosine, self._similarity(cosine, -self.nontarget_margin), bias)

    def plain_logit(self, cosine: Tensor, bias: Tensor) -> Tensor:
        """Return z without margin, of any shape."""
        return self.options.scale * adjust_similarity(cosine, self.options.t) + bias

    def nontarget_logit_and_slope(self, cosine: Tensor, bias: Tensor, factor: float) -> tuple[Tensor, Tensor | float]:
        """Return z_j, and `factor` times its derivative with respect to the cosine; closed form, no autograd."""
        options, margin = self.options, self.nontarget_margin
        angle, shift = (margin, 0.0) if options.margin_type == "A" else (0.0, margin)
        moved, angle_slope = add_angle_with_slope(cosine, -angle) if angle else (cosine, None)
        twice = (moved + 1).clamp_min_(0)  # (z + 1) / 2 is half of this
        power = twice.pow(options.t - 1)
        stretch = options.scale * 2 ** (1 - options.t)
        logit = twice.mul_(power).mul_(stretch).add_(bias + options.scale * (shift - 1))
        if options.gradient == "detached":
            return logit, options.scale * factor
        slope = power.mul_(options.t * stretch * factor)
        return logit, slope if angle_slope is None else slope.mul_(angle_slope)

    @property
    def nontarget_margin(self) -> float:
        """Return the margin of pairs with another speaker."""
        return 0.0 if self.options.margin_on == "target" or self.options.margin_type == "M" else self.margin

    def _similarity(self, cosine: Tensor, margin: float) -> Tensor:
        """Return f; a margin above 0 makes a target pair harder, one below 0 a pair with another speaker."""
        if self.options.margin_type == "C":
            return adjust_similarity(cosine, self.options.t) - margin
        if self.options.margin_type == "A":
            return adjust_similarity(add_angle(cosine, margin), self.options.t)
        return adjust_similarity(multiply_angle(cosine, margin) if margin > 0 else cosine, self.options.t)

    def _logit(self, cosine: Tensor, similarity: Tensor, bias: Tensor) -> Tensor:
        if self.options.gradient == "detached":
            similarity = cosine + (similarity - cosine).detach()
        return self.options.scale * similarity + bias

    def balanced_bias(self, num_speakers: int) -> float:
        """Return the bias at which the gradients of a target pair and of all others balance if all cosines are 0.

        With a = e^(s f_y(0)), c = e^(s f_j(0)), n = (1 - lambda) (num_speakers - 1), it is ln y of the positive root of

            lambda / (1 + a y) = n c y / (1 + c y),

        that is of n a c y^2 + (n - lambda) c y - lambda = 0. At margin 0 that is -s g(0) - ln(n / lambda).
        """
        zero = torch.zeros((), dtype=torch.float64, device="cpu")  # a number, even if networks are built on meta
        log_a = float(self.target_logit(zero, zero))
        log_c = float(self.nontarget_logit(zero, zero))
        weight = self.options.target_weight
        n = (1 - weight) * (num_speakers - 1)
        product = 4 * n * weight * math.exp(log_a - log_c)
        root = math.sqrt((n - weight) ** 2 + product)
        if n >= weight:  # avoid the difference of nearly equal numbers
            return math.log(2 * weight) - log_c - math.log(n - weight + root)
        return math.log(weight - n + root) - log_a - math.log(2 * n)


def softplus(z: Tensor) -> Tensor:
    """Return log(1 + e^z), finite for all z."""
    return functional.softplus(z, threshold=SOFTPLUS_LINEAR_FROM)


def adjust_similarity(z: Tensor, t: float) -> Tensor:
    """Return g(z) = 2 ((z + 1) / 2)^t - 1, the paper's similarity adjustment; below -1 it follows its tangent at -1.

    The tangent has slope t 0^(t - 1): 1 for t = 1, and 0 for all greater t.
    """
    if t == 1:
        return z
    return 2 * ((z + 1) / 2).clamp_min(0) ** t - 1
