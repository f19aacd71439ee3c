"""SphereFace2: one binary classifier per speaker, learned from pairs of an utterance and a speaker's weight vector.

    loss = lambda softplus(-z_y) + (1 - lambda) sum_{j != y} softplus(z_j)

A label that may be wrong (`label_confidence.py`) gives each of these pairs a weight of its own, at most 1.

`pairs.py` has the logits z of the target pair and of the others, with margin types C, A and M. `sphereface2` is the
plain form; the head computes the same in one pass over blocks of speakers (`fused.py`), which torch.compile does not
change.

Wen et al., "SphereFace2: Binary Classification is All You Need for Deep Face Recognition", 2021, arXiv 2108.01513.
Han, Chen, Qian, "Exploring Binary Classification Loss for Speaker Verification", ICASSP 2023, arXiv 2307.08205.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo  # torch.compiler.disable, which imports the compiler when it is called

from sv.losses.cosine import cosine_matrix, unit
from sv.losses.fused import Labelled, Rows, pair_sums
from sv.losses.gradients import with_gradients
from sv.losses.head import Head, HeadOutput, speaker_weight
from sv.losses.label_confidence import Confidence
from sv.losses.options import SphereFace2Options
from sv.losses.pairs import Pairs, softplus
from sv.losses.split import HeadPart

_BIAS_STEP = 1e-3  # at which `fit_bias` ends


def sphereface2(
    cosine: Tensor, speaker: Tensor, bias: Tensor, *, pairs: Pairs, confidence: Confidence | None = None
) -> Tensor:
    """Return the losses (batch,) of a batch.

    Args:
        cosine: (batch, speakers) float32, each embedding with each speaker's weight vector.
        speaker: (batch,) int64, index of the true speaker.
        bias: b, 0-d, shared by all pairs.
        pairs: options and margin.
        confidence: which pairs count less.
    """
    index = speaker.unsqueeze(1)  # (batch, 1)
    target = pairs.target_logit(cosine.gather(1, index).squeeze(1), bias)  # (batch,)
    nontarget = pairs.nontarget_logit(cosine, bias)  # (batch, speakers)
    nontarget = nontarget.scatter(1, index, -torch.inf)  # softplus(-inf) = 0: the true speaker is left out
    weight = pairs.options.target_weight
    if confidence is None:
        return weight * softplus(-target) + (1 - weight) * softplus(nontarget).sum(dim=1)
    confidence.leave_out(nontarget, 0, -torch.inf)
    of_others, pair_weight = softplus(nontarget), confidence.pair_weight(0, nontarget.shape[1])
    of_others = of_others if pair_weight is None else pair_weight * of_others
    return weight * confidence.weight * softplus(-target) + (1 - weight) * of_others.sum(dim=1)


class SphereFace2(Head):
    """SphereFace2; the bias (1, 1) is not decayed."""

    no_weight_decay: ClassVar[frozenset[str]] = frozenset({"bias"})
    row_parameters: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, embedding_dim: int, num_speakers: int, options: SphereFace2Options) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.options = options
        self.weight = speaker_weight(embedding_dim, num_speakers)
        self.bias = nn.Parameter(torch.zeros(1, 1))

    def start(self, margin: float) -> None:
        if self.options.bias_init == "balanced":
            self.reset_bias(margin)

    def reset_bias(self, margin: float) -> None:
        """Set the bias to the balanced one at this margin."""
        nn.init.constant_(self.bias, Pairs(self.options, margin).balanced_bias(self.num_speakers))

    @torch.no_grad()
    def fit_bias(self, embedding: Tensor, speaker: Tensor, margin: float) -> None:
        """Set the bias to the value with the lowest loss, where the gradients of target pairs and others balance.

        The loss is convex in the bias: bisection finds where its slope is 0. `Pairs.balanced_bias` is the solution if
        all cosines are 0.
        """
        x, rows = self._inputs(embedding)
        weight = self.options.target_weight
        high = 4 * self.options.scale + math.log(self.num_speakers / min(weight, 1 - weight))
        low = -high
        while high - low > _BIAS_STEP:
            bias = x.new_tensor((low + high) / 2)
            found = pair_sums(Labelled(x, speaker), rows._replace(bias=bias), Pairs(self.options, margin))
            if found.bias_grad > 0:
                high = float(bias)
            else:
                low = float(bias)
        nn.init.constant_(self.bias, (low + high) / 2)

    @_disable_dynamo
    def compute(self, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None) -> HeadOutput:
        x, rows = self._inputs(embedding)
        batch, pairs = Labelled(x, speaker, confidence), Pairs(self.options, margin)
        sums = pair_sums(batch, rows, pairs, gradients=torch.is_grad_enabled())
        loss = sums.losses.mean()
        if torch.is_grad_enabled():
            gradients = (x, sums.embedding_grad), (rows.weight, sums.weight_grad), (rows.bias, sums.bias_grad)
            loss = with_gradients(loss, *gradients)
        return HeadOutput(loss, sums.losses, sums.target > sums.hardest, sums.label_losses)

    @_disable_dynamo
    def compute_split(
        self, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None, part: HeadPart
    ) -> HeadOutput:
        x, rows = self._inputs(embedding)
        everyone, speakers = part.gather_batch(x.detach(), speaker)
        labelled = Labelled(everyone, speakers, None if confidence is None else confidence.gathered(part))
        sums = pair_sums(labelled, rows._replace(first=part.first), Pairs(self.options, margin))
        embedding_grad, arriving = part.start_sum(sums.embedding_grad)
        of_labels = [] if sums.label_losses is None else [sums.label_losses]
        found = torch.cat([sums.losses, sums.target, sums.bias_grad.expand(1), *of_labels, sums.hardest])
        of_all = part.gather(found.unsqueeze(0))  # (size, 3 * batch + 1), with confidence 4 * batch + 1
        batch = len(everyone)
        losses, target, bias_grad, *label_losses = (
            of_all[:, :-batch].sum(dim=0).split([batch, batch, 1, *(batch for _ in of_labels)])
        )
        hardest, loss, own = of_all[:, -batch:].amax(dim=0), losses.mean(), part.own(len(x))
        arriving.wait()
        weight_grad = (rows.weight, sums.weight_grad)
        gradients = (x, embedding_grad.mul_(part.size)), weight_grad, (rows.bias, bias_grad.reshape(()))
        loss = with_gradients(loss, *gradients) if torch.is_grad_enabled() else loss
        return HeadOutput(loss, losses[own], (target > hardest)[own], label_losses[0][own] if label_losses else None)

    def logits(self, embedding: Tensor) -> Tensor:
        cosine = cosine_matrix(embedding, self.weight.to(embedding.dtype))
        return Pairs(self.options, 0.0).plain_logit(cosine, self.bias.to(embedding.dtype))

    def probability(self, logit: Tensor, log_sum: Tensor) -> Tensor:
        return logit.sigmoid()

    def _inputs(self, embedding: Tensor) -> tuple[Tensor, Rows]:
        """Return embeddings of norm 1, and weight vectors and bias of the same dtype."""
        return unit(embedding), Rows(self.weight.to(embedding.dtype), self.bias.to(embedding.dtype).squeeze())
