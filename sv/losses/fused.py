"""SphereFace2's loss and all its gradients in one pass over blocks of speakers.

There is no normalizer over the speakers: what a block adds to the losses, and to the gradient of the embeddings,
depends on no other block. So no (batch, speakers) matrix is ever held, and beside the weights and their gradient the
memory does not grow with the speakers. For a block of rows of W, with embeddings x_i of norm 1 and n_j = 1 / |w_j|:

    cos = x W^T n                               G = d loss / d cos,    d_j = sum_i G_ij cos_ij
    dx += (G n) W                               dW = (G n)^T x - n^2 d W

That is three products of matrices, and in between work on (batch, block), which the caches hold.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sv.losses.cosine import NORM_FLOOR, unit
from sv.losses.pair_block import pair_block
from sv.losses.pairs import Pairs, softplus

_BLOCK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 23}  # of a (batch, block) matrix, so that a few of them fit a cache


@dataclass
class PairSums:
    """What the pairs of a batch with some rows of W give; the gradients are those of the mean over the batch.

    Attributes:
        losses: (batch,).
        target: (batch,) logit that the true speaker would have as another one; 0 where it is not among these rows.
        hardest: (batch,) highest logit of another speaker.
        bias_grad: 0-d.
        embedding_grad: (batch, dim), with respect to embeddings of norm 1.
        weight_grad: (rows, dim).
    """

    losses: Tensor
    target: Tensor
    hardest: Tensor
    bias_grad: Tensor
    embedding_grad: Tensor
    weight_grad: Tensor


@torch.no_grad()
def pair_sums(
    embedding: Tensor,
    weight: Tensor,
    bias: Tensor,
    speaker: Tensor,
    pairs: Pairs,
    margin: float,
    *,
    first: int = 0,
    block: int = 0,
    gradients: bool = True,
) -> PairSums:
    """One pass over the rows of `weight`.

    Args:
        embedding: (batch, dim) of norm 1.
        weight: (rows, dim), those of speakers first to first + rows - 1, of any norm.
        bias: b, 0-d.
        speaker: (batch,) int64.
        margin: m.
        block: rows taken together; 0: as many as fit a cache.
        gradients: False leaves them 0.
    """
    batch, rows = len(embedding), len(weight)
    block = block or block_rows(batch, weight)
    sums = PairSums(
        losses=embedding.new_zeros(batch),
        target=embedding.new_zeros(batch),
        hardest=embedding.new_full((batch,), -torch.inf),
        bias_grad=embedding.new_zeros(()),
        embedding_grad=torch.zeros_like(embedding),
        weight_grad=torch.empty_like(weight) if gradients else weight.new_empty(0),
    )
    row = speaker - first  # (batch,) of the true speaker, if it is among these rows
    slope = _targets(sums, embedding, weight, bias, row, pairs, margin, gradients)
    for start in range(0, rows, block):
        rows_of_block = weight[start : start + block]
        _block(sums, embedding, rows_of_block, bias, row - start, slope, pairs, margin, start, gradients)
    return sums


def block_rows(batch: int, weight: Tensor) -> int:
    """How many rows of `weight` are taken together: as many as make a (batch, block) matrix that fits a cache."""
    return max(64, _BLOCK_BYTES.get(weight.device.type, 1 << 20) // (batch * weight.element_size()))


def _targets(
    sums: PairSums,
    embedding: Tensor,
    weight: Tensor,
    bias: Tensor,
    row: Tensor,
    pairs: Pairs,
    margin: float,
    gradients: bool,
) -> Tensor:
    """Add the target pairs to losses and bias_grad; returns (batch,) the derivative with respect to their cosines."""
    batch, present = len(row), (row >= 0) & (row < len(weight))
    cosine = (embedding * unit(weight[row.clamp(0, len(weight) - 1)])).sum(dim=1)
    sums.target.copy_(pairs.nontarget_logit(cosine, bias, margin).where(present, 0))
    with torch.set_grad_enabled(gradients):
        cosine, bias = cosine.requires_grad_(gradients), bias.detach().requires_grad_(gradients)
        losses = pairs.target_weight * softplus(-pairs.target_logit(cosine, bias, margin)).where(present, 0)
        sums.losses += losses.detach()
        if not gradients:
            return torch.zeros_like(losses)
        slope, bias_grad = torch.autograd.grad(losses.sum() / batch, (cosine, bias))
    sums.bias_grad += bias_grad
    return slope


def _block(
    sums: PairSums,
    embedding: Tensor,
    weight: Tensor,
    bias: Tensor,
    row: Tensor,
    target_slope: Tensor,
    pairs: Pairs,
    margin: float,
    start: int,
    gradients: bool,
) -> None:
    """Add the pairs of a block of rows, of which `row` (batch,) is the true speaker's where it is among them."""
    norm = torch.linalg.vector_norm(weight, dim=1)
    inverse = (norm > NORM_FLOOR) / norm.clamp_min(NORM_FLOOR)  # as in `unit`
    share = 1 - pairs.target_weight
    block = pair_block(embedding @ weight.T, inverse, bias, row, target_slope, pairs, margin, share / len(embedding))
    sums.losses.add_(block.losses, alpha=share)
    torch.maximum(sums.hardest, block.hardest, out=sums.hardest)
    if not gradients:
        return
    sums.bias_grad.add_(block.probability, alpha=share / len(embedding))
    sums.embedding_grad.addmm_(block.grad, weight)
    weight_grad = sums.weight_grad[start : start + len(weight)]
    torch.mul(weight, block.along.mul_(inverse.square()).neg_().unsqueeze(1), out=weight_grad)
    weight_grad.addmm_(block.grad.T, embedding)
