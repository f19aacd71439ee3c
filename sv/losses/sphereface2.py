"""SphereFace2: one binary classifier a speaker, learned from pairs of an utterance and a speaker's weight vector.

    loss = lambda softplus(-z_y) + (1 - lambda) sum_{j != y} softplus(z_j)

    type C:  z_y = s (g(cos_y) - m) + b             z_j = s (g(cos_j) + m) + b
    type A:  z_y = s g(cos(theta_y + m)) + b        z_j = s g(cos(theta_j - m)) + b
    g(z) = 2 ((z + 1) / 2)^t - 1

Type A is continued where theta_y + m > pi or theta_j < m, so that z grows with the cosine everywhere (`add_angle`),
and g below -1 by its tangent.

Wen et al., "SphereFace2: Binary Classification is All You Need for Deep Face Recognition", 2021, arXiv 2108.01513.
Han, Chen, Qian, "Exploring Binary Classification Loss for Speaker Verification", ICASSP 2023, arXiv 2307.08205.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sv.errors import UserError
from sv.losses.cosine import add_angle
from sv.losses.head import CosineHead, check_scale

SOFTPLUS_LINEAR_FROM = 40.0  # e^-40 vanishes; torch's 20 is off by 2e-9 a pair, 4e-5 over 17,982 speakers

MarginType = Literal["C", "A"]


def sphereface2(
    cosine: Tensor,
    speaker: Tensor,
    bias: Tensor,
    *,
    scale: float,
    margin: float,
    margin_type: MarginType,
    target_weight: float,
    t: float,
) -> Tensor:
    """Losses (batch,) of a batch.

    Args:
        cosine: (batch, speakers) float32, each embedding with each speaker's weight vector.
        speaker: (batch,) int64, index of the true speaker.
        bias: b, 0-d, shared by all pairs.
        scale: s.
        margin: m; type A: radians.
        margin_type: C, on the similarity, or A, on the angle.
        target_weight: lambda, the weight of the one target pair against all others.
        t: exponent of g; 1 leaves the cosine as it is.
    """
    index = speaker.unsqueeze(1)  # (batch, 1)
    target = scale * similarity(cosine.gather(1, index).squeeze(1), margin, margin_type, t) + bias  # (batch,)
    nontarget = scale * similarity(cosine, -margin, margin_type, t) + bias  # (batch, speakers)
    nontarget = nontarget.scatter(1, index, -torch.inf)  # softplus(-inf) = 0: the true speaker is left out
    return target_weight * softplus(-target) + (1 - target_weight) * softplus(nontarget).sum(dim=1)


def softplus(z: Tensor) -> Tensor:
    """log(1 + e^z), finite for all z."""
    return functional.softplus(z, threshold=SOFTPLUS_LINEAR_FROM)


def similarity(cosine: Tensor, margin: float, margin_type: MarginType, t: float) -> Tensor:
    """g with the margin taken off: m > 0 makes a target pair harder, -m makes the others harder."""
    if margin_type == "A":
        return spread(add_angle(cosine, margin), t)
    return spread(cosine, t) - margin


def spread(z: Tensor, t: float) -> Tensor:
    """g(z) = 2 ((z + 1) / 2)^t - 1, which spreads similarities out; z from -1 on, below by the tangent at -1.

    That tangent has slope t 0^(t - 1): 1 for t = 1, and 0 for all greater t.
    """
    if t == 1:
        return z
    return 2 * ((z + 1) / 2).clamp_min(0) ** t - 1


class SphereFace2(CosineHead):
    """SphereFace2; the bias (1, 1) starts at 0 and is not decayed."""

    no_weight_decay: ClassVar[frozenset[str]] = frozenset({"bias"})

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        *,
        scale: float = 32.0,
        margin_type: MarginType = "C",
        target_weight: float = 0.7,
        t: float = 3.0,
    ) -> None:
        super().__init__(embedding_dim, num_speakers)
        if margin_type not in ("C", "A"):
            raise UserError(f"margin type {margin_type!r} is unknown; known: C, A")
        if not 0 < target_weight < 1:
            raise UserError(f"target_weight (lambda) is {target_weight:g}; it must lie between 0 and 1, as 0.7 does")
        if not 1 <= t < float("inf"):
            raise UserError(f"t is {t:g}; it must be 1 or more, as 3 is")
        self.scale = check_scale(scale)
        self.margin_type: MarginType = margin_type
        self.target_weight = target_weight
        self.t = t
        self.default_margin = {"C": 0.2, "A": 0.15}[margin_type]
        self.margin_range = {"C": (0.0, 1.0), "A": (0.0, 1.5)}[margin_type]
        self.bias = nn.Parameter(torch.zeros(1, 1))

    def losses(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        return sphereface2(
            cosine,
            speaker,
            self.bias.to(cosine.dtype).squeeze(),
            scale=self.scale,
            margin=margin,
            margin_type=self.margin_type,
            target_weight=self.target_weight,
            t=self.t,
        )
