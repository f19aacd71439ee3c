"""A-softmax (SphereFace): softmax over the speakers, the angle to the true one multiplied by an integer n.

    loss = -log( e^{|x| phi(theta_y)} / (e^{|x| phi(theta_y)} + sum_{j != y} e^{|x| cos_j}) )
    phi(theta) = (lambda cos(theta) + psi(theta)) / (1 + lambda)
    psi(theta) = (-1)^k cos(n theta) - 2k,    k pi / n <= theta <= (k + 1) pi / n

psi falls from 1 at theta = 0 to 1 - 2n at pi. The embedding keeps its norm |x| and the weight vectors have norm 1;
there is no scale. psi alone hardly trains, so it is annealed: lambda falls from 1,000 to 5. Here the margin of a call
is the weight of psi, 1 / (1 + lambda), and the margin schedule does the annealing, from 0 to 1 / 6. The original's
lambda = max(5, 1000 / (1 + 0.12 step)) is within 0.01 of a linear schedule that ends after 1,658 steps.

Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, arXiv 1704.08063 (n: its m).
"""

import math

import torch
from torch import Tensor

from sv.losses.cosine import NORM_FLOOR
from sv.losses.head import speaker_weight
from sv.losses.options import SphereFaceOptions
from sv.losses.softmax_head import SoftmaxHead


def annealed_angle(cosine: Tensor, factor: int, weight: float) -> Tensor:
    """Return phi(theta), of any shape, in which psi has a weight in 0 to 1."""
    return cosine + weight * (multiplied_angle(cosine, factor) - cosine)


def multiplied_angle(cosine: Tensor, factor: int) -> Tensor:
    """Return psi(theta), which grows with the cosine over all of [-1, 1].

    cos(n theta) is the Chebyshev polynomial T_n of the cosine; the gradient does not pass through acos, whose slope
    has no bound at +-1.
    """
    before, polynomial = torch.ones_like(cosine), cosine
    for _ in range(factor - 1):
        before, polynomial = polynomial, 2 * cosine * polynomial - before
    folds = (cosine.detach().clamp(-1, 1).acos() * (factor / math.pi)).floor().clamp_max(factor - 1)  # k
    return (1 - 2 * (folds % 2)) * polynomial - 2 * folds


class SphereFace(SoftmaxHead):
    """A-softmax over the speakers; the margin is 1 / (1 + lambda)."""

    def __init__(self, embedding_dim: int, num_speakers: int, options: SphereFaceOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.angle_factor = options.angle_factor
        self.weight = speaker_weight(embedding_dim, num_speakers)

    def inputs(self, embedding: Tensor) -> Tensor:
        return embedding

    def target(self, product: Tensor, x: Tensor, margin: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=1)  # (batch,)
        cosine = product * ((norm > NORM_FLOOR) / norm.clamp_min(NORM_FLOOR))
        return norm * annealed_angle(cosine, self.angle_factor, margin)
