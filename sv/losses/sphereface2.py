"""SphereFace2: one binary classifier a speaker, learned from pairs of an utterance and a speaker's weight vector.

    loss = lambda softplus(-z_y) + (1 - lambda) sum_{j != y} softplus(z_j)

The logits z of the target pair and of the others, with margin types C, A and M, are in `pairs.py`. `sphereface2` is the
plain form; the head computes the same in one pass over blocks of speakers (`fused.py`), which torch.compile leaves as
it is and compiles what stands around it.

Wen et al., "SphereFace2: Binary Classification is All You Need for Deep Face Recognition", 2021, arXiv 2108.01513.
Han, Chen, Qian, "Exploring Binary Classification Loss for Speaker Verification", ICASSP 2023, arXiv 2307.08205.
"""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo  # torch.compiler.disable, which imports the compiler when it is called

from sv.errors import UserError
from sv.losses.cosine import unit
from sv.losses.fused import pair_sums
from sv.losses.head import Head, HeadOutput, check_scale, speaker_weight
from sv.losses.known import with_gradients
from sv.losses.pairs import Gradient, MarginOn, MarginType, Pairs, softplus
from sv.losses.split import HeadPart

_BIAS_STEP = 1e-3  # that `fit_bias` ends with
_HIGHEST_T = 100  # 2^t is a float32
_DEFAULT_MARGIN: dict[str, float] = {"C": 0.2, "A": 0.15, "M": 1.3}
_FINETUNE_MARGIN: dict[str, float] = {"C": 0.3, "A": 0.25, "M": 1.5}
_MARGIN_RANGE: dict[str, tuple[float, float]] = {"C": (0.0, 1.0), "A": (0.0, 1.5), "M": (1.0, 4.0)}


def sphereface2(cosine: Tensor, speaker: Tensor, bias: Tensor, *, pairs: Pairs, margin: float) -> Tensor:
    """Losses (batch,) of a batch.

    Args:
        cosine: (batch, speakers) float32, each embedding with each speaker's weight vector.
        speaker: (batch,) int64, index of the true speaker.
        bias: b, 0-d, shared by all pairs.
        pairs: scale, lambda, t and margin type.
        margin: m; type A: radians.
    """
    index = speaker.unsqueeze(1)  # (batch, 1)
    target = pairs.target_logit(cosine.gather(1, index).squeeze(1), bias, margin)  # (batch,)
    nontarget = pairs.nontarget_logit(cosine, bias, margin)  # (batch, speakers)
    nontarget = nontarget.scatter(1, index, -torch.inf)  # softplus(-inf) = 0: the true speaker is left out
    return pairs.target_weight * softplus(-target) + (1 - pairs.target_weight) * softplus(nontarget).sum(dim=1)


class SphereFace2(Head):
    """SphereFace2; the bias (1, 1) is not decayed.

    Args:
        bias_init: zero, as the speaker-verification code has it, or balanced: solved from number of speakers, options
            and margin of the first step, so that target pairs and others pull equally hard (`Pairs.balanced_bias`).
        others: see `Pairs`.
    """

    no_weight_decay: ClassVar[frozenset[str]] = frozenset({"bias"})
    row_parameters: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        *,
        scale: float = 32.0,
        margin_type: MarginType = "C",
        target_weight: float = 0.7,
        t: float = 3.0,
        margin_on: MarginOn = "both",
        gradient: Gradient = "through_g",
        bias_init: Literal["zero", "balanced"] = "zero",
    ) -> None:
        super().__init__(embedding_dim, num_speakers)
        if not 0 < target_weight < 1:
            raise UserError(f"target_weight (lambda) is {target_weight:g}; it must lie between 0 and 1, as 0.7 does")
        if not 1 <= t <= _HIGHEST_T:
            raise UserError(f"t is {t:g}; it must be 1 to {_HIGHEST_T}, as 3 is")
        self.pairs = Pairs(check_scale(scale), target_weight, t, margin_type, margin_on, gradient)
        self.default_margin = _DEFAULT_MARGIN[margin_type]
        self.finetune_margin = _FINETUNE_MARGIN[margin_type]
        self.margin_range = _MARGIN_RANGE[margin_type]
        self.bias_init = bias_init
        self.weight = speaker_weight(embedding_dim, num_speakers)
        self.bias = nn.Parameter(torch.zeros(1, 1))

    def start(self, margin: float) -> None:
        if self.bias_init == "balanced":
            self.reset_bias(margin)

    def reset_bias(self, margin: float) -> None:
        """Set the bias to the balanced one at this margin."""
        nn.init.constant_(self.bias, self.pairs.balanced_bias(self.num_speakers, margin))

    @torch.no_grad()
    def fit_bias(self, embedding: Tensor, speaker: Tensor, margin: float) -> None:
        """Set the bias to the one with the lowest loss, at which target pairs and others pull equally hard.

        The loss is convex in the bias: bisection finds where its slope is 0. `Pairs.balanced_bias` is the solution
        where all cosines are 0.
        """
        x, weight, _ = self._inputs(embedding)
        high = 4 * self.pairs.scale + math.log(
            self.num_speakers / min(self.pairs.target_weight, 1 - self.pairs.target_weight)
        )
        low = -high
        while high - low > _BIAS_STEP:
            bias = x.new_tensor((low + high) / 2)
            if pair_sums(x, weight, bias, speaker, self.pairs, margin).bias_grad > 0:
                high = float(bias)
            else:
                low = float(bias)
        nn.init.constant_(self.bias, (low + high) / 2)

    @_disable_dynamo
    def compute(self, embedding: Tensor, speaker: Tensor, margin: float) -> HeadOutput:
        x, weight, bias = self._inputs(embedding)
        sums = pair_sums(x, weight, bias, speaker, self.pairs, margin, gradients=torch.is_grad_enabled())
        loss = sums.losses.mean()
        if torch.is_grad_enabled():
            loss = with_gradients(loss, (x, sums.embedding_grad), (weight, sums.weight_grad), (bias, sums.bias_grad))
        return HeadOutput(loss, sums.losses, sums.target > sums.hardest)

    @_disable_dynamo
    def compute_split(self, embedding: Tensor, speaker: Tensor, margin: float, part: HeadPart) -> HeadOutput:
        x, weight, bias = self._inputs(embedding)
        everyone, speakers = part.gather_batch(x.detach(), speaker)
        sums = pair_sums(everyone, weight, bias, speakers, self.pairs, margin, first=part.first)
        embedding_grad, arriving = part.start_sum(sums.embedding_grad)
        found = torch.cat([sums.losses, sums.target, sums.bias_grad.expand(1), sums.hardest])
        of_all = part.gather(found.unsqueeze(0))  # (size, 3 * batch + 1)
        batch = len(everyone)
        losses, target, bias_grad = of_all[:, :-batch].sum(dim=0).split([batch, batch, 1])
        hardest, loss, own = of_all[:, -batch:].amax(dim=0), losses.mean(), part.own(len(x))
        arriving.wait()
        gradients = (x, embedding_grad.mul_(part.size)), (weight, sums.weight_grad), (bias, bias_grad.reshape(()))
        loss = with_gradients(loss, *gradients) if torch.is_grad_enabled() else loss
        return HeadOutput(loss, losses[own], (target > hardest)[own])

    def _inputs(self, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of norm 1, weight vectors and bias, of one dtype."""
        return unit(embedding), self.weight.to(embedding.dtype), self.bias.to(embedding.dtype).squeeze()
