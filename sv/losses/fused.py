"""SphereFace2's loss and all its gradients in one pass over blocks of speakers.

There is no normalizer over the speakers, so a block's share of the losses and of the embeddings' gradient depends on no
other block. No (batch, speakers) matrix is ever held, and memory grows with the speakers only by the weights and their
gradient. Each block takes the three matrix products of `blocks.Block`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sv.losses.blocks import Block, block_rows
from sv.losses.cosine import unit
from sv.losses.label_confidence import Confidence
from sv.losses.pairs import Pairs, softplus
from sv.losses.split import entries


class Labelled(NamedTuple):
    """A batch.

    Attributes:
        embedding: (batch, dim) of norm 1.
        speaker: (batch,) int64.
        confidence: which pairs count less, its classes counted from the first of these rows.
    """

    embedding: Tensor
    speaker: Tensor
    confidence: Confidence | None = None


class Rows(NamedTuple):
    """Rows of W and the bias of all pairs.

    Attributes:
        weight: (rows, dim), of any norm.
        bias: b, 0-d.
        first: the speaker of the first row; the others follow.
    """

    weight: Tensor
    bias: Tensor
    first: int = 0


@dataclass
class PairSums:
    """Sums over the pairs of a batch with some rows of W; gradients are those of the mean over the batch.

    Attributes:
        losses: (batch,).
        target: (batch,) logit that the true speaker would have as another one; 0 where it is not among these rows.
        hardest: (batch,) highest logit of another speaker.
        bias_grad: 0-d.
        embedding_grad: (batch, dim), with respect to embeddings of norm 1.
        weight_grad: (rows, dim).
        label_losses: (batch,) softplus of minus the target's logit without margin, 0 where it is not among these rows;
            None without `confidence`.
    """

    losses: Tensor
    target: Tensor
    hardest: Tensor
    bias_grad: Tensor
    embedding_grad: Tensor
    weight_grad: Tensor
    label_losses: Tensor | None = None


@torch.no_grad()
def pair_sums(batch: Labelled, rows: Rows, pairs: Pairs, *, block: int = 0, gradients: bool = True) -> PairSums:
    """Compute losses and gradients in one pass over the rows.

    Args:
        batch: batch of all processes.
        rows: rows of this process.
        pairs: options and margin.
        block: rows taken together; 0: as many as fit a cache.
        gradients: False leaves them 0.
    """
    one_pass = _Pass(batch, rows, pairs, gradients)
    block = block or block_rows(len(batch.speaker), rows.weight)
    for start in range(0, len(rows.weight), block):
        one_pass.add_block(start, start + block)
    return one_pass.sums


class _Pass:
    """One pass over the rows; arguments as `pair_sums`."""

    def __init__(self, labelled: Labelled, rows: Rows, pairs: Pairs, gradients: bool) -> None:
        self.embedding, self.confidence = labelled.embedding, labelled.confidence
        self.pairs, self.gradients = pairs, gradients
        self.weight, self.bias = rows.weight, rows.bias
        self.row = labelled.speaker - rows.first  # (batch,) of the true speaker, if it is among these rows
        embedding, batch = labelled.embedding, len(labelled.speaker)
        self.sums = PairSums(
            losses=embedding.new_zeros(batch),
            target=embedding.new_zeros(batch),
            hardest=embedding.new_full((batch,), -torch.inf),
            bias_grad=embedding.new_zeros(()),
            embedding_grad=torch.zeros_like(embedding),
            weight_grad=torch.empty_like(rows.weight) if gradients else rows.weight.new_empty(0),
        )
        self.target_slope = self._add_targets()

    def _add_targets(self) -> Tensor:
        """Add the target pairs to losses and bias_grad; return the slope (batch,) of the loss in their cosines."""
        present = (self.row >= 0) & (self.row < len(self.weight))
        cosine = (self.embedding * unit(self.weight[self.row.clamp(0, len(self.weight) - 1)])).sum(dim=1)
        self.sums.target.copy_(self.pairs.nontarget_logit(cosine, self.bias).where(present, 0))
        weight: Tensor | float = self.pairs.options.target_weight
        if self.confidence is not None:
            weight = weight * self.confidence.weight
            self.sums.label_losses = softplus(-self.pairs.plain_logit(cosine, self.bias)).where(present, 0)
        with torch.set_grad_enabled(self.gradients):
            cosine, bias = cosine.requires_grad_(self.gradients), self.bias.detach().requires_grad_(self.gradients)
            logit = self.pairs.target_logit(cosine, bias)
            losses = weight * softplus(-logit).where(present, 0)
            self.sums.losses += losses.detach()
            if not self.gradients:
                return torch.zeros_like(losses)
            slope, bias_grad = torch.autograd.grad(losses.sum() / len(losses), (cosine, bias))
        self.sums.bias_grad += bias_grad
        return slope

    def add_block(self, start: int, stop: int) -> None:
        """Add the pairs of a block of rows with other speakers, and all gradients of these rows."""
        block, row, sums = Block(self.embedding, self.weight[start:stop]), self.row - start, self.sums
        share = 1 - self.pairs.options.target_weight
        factor = share / len(row)  # the weight of a pair with another speaker in the mean over the batch
        logit, slope = self.pairs.nontarget_logit_and_slope(block.products, self.bias, factor)
        logit.scatter_(1, *entries(logit, row, torch.full_like(self.target_slope, -torch.inf)))  # weighs nothing
        weight = None
        if self.confidence is not None:
            self.confidence.leave_out(logit, start, -torch.inf)
            weight = self.confidence.pair_weight(start, stop)
        losses = softplus(logit)
        sums.losses.add_((losses if weight is None else losses.mul_(weight)).sum(dim=1), alpha=share)
        torch.maximum(sums.hardest, logit.amax(dim=1), out=sums.hardest)
        if not self.gradients:
            return
        probability = logit.sigmoid_() if weight is None else logit.sigmoid_().mul_(weight)
        sums.bias_grad.add_(probability.sum(), alpha=factor)
        grad = probability.mul_(slope)
        grad.scatter_(1, *entries(grad, row, self.target_slope))
        block.add_gradients(grad, sums.embedding_grad, sums.weight_grad[start:stop])
