"""The work between the matrix products of `sv.losses.fused`, on (batch, block) matrices that a cache holds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sv.losses.pairs import Pairs, softplus
from sv.losses.split import entries


@dataclass
class BlockSums:
    """What a block gives.

    Attributes:
        losses: (batch,) softplus of the logits of other speakers, summed.
        hardest: (batch,) highest of these logits.
        probability: 0-d, their sigmoid, summed.
        along: (block,) gradient with respect to the cosine, times the cosine, summed over the batch.
        grad: (batch, block) gradient with respect to the products.
    """

    losses: Tensor
    hardest: Tensor
    probability: Tensor
    along: Tensor
    grad: Tensor


def pair_block(
    products: Tensor,
    inverse: Tensor,
    bias: Tensor,
    row: Tensor,
    target_slope: Tensor,
    pairs: Pairs,
    margin: float,
    factor: float,
) -> BlockSums:
    """Losses and gradients of the pairs of a batch with a block of speakers.

    Args:
        products: (batch, block) x_i . w_j; is overwritten.
        inverse: (block,) 1 / |w_j|.
        bias: b, 0-d.
        row: (batch,) int64, column of the true speaker; outside 0 to block - 1 where it is not in this block.
        target_slope: (batch,) d loss / d cosine of the target pairs.
        pairs: s, t, type, ...
        margin: m.
        factor: the weight in the mean over the batch of the loss of a pair with another speaker.
    """
    cosine = products.mul_(inverse)
    logit, slope = pairs.nontarget_logit_and_slope(cosine, bias, margin, factor)
    logit.scatter_(1, *entries(logit, row, torch.full_like(target_slope, -torch.inf)))  # that weighs nothing
    losses, hardest = softplus(logit).sum(dim=1), logit.amax(dim=1)
    probability = logit.sigmoid_()
    total = probability.sum()
    grad = probability.mul_(slope)
    grad.scatter_(1, *entries(grad, row, target_slope))
    along = (grad * cosine).sum(dim=0)
    return BlockSums(losses, hardest, total, along, grad.mul_(inverse))
