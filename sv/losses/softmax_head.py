"""The base of all softmax losses: loss and gradients in two passes over blocks of speakers.

    loss = L - z_y,    L = log( e^{z_y} + sum_{j != y} e^{z_j} )

z_y is the target's logit, moved by a margin; in some losses so are those of the k nearest other speakers. Every
gradient needs L, and L needs all speakers. The first pass finds L (a running maximum and a running sum), the second
one computes the products again, and the gradients. That is one matrix product more than the three of SphereFace2
(`fused.py`), and no (batch, speakers) matrix is held. Processes that share the speakers exchange a few numbers per
utterance between the passes.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo  # torch.compiler.disable, which imports the compiler when it is called

from sv.losses.blocks import Block, block_rows
from sv.losses.cosine import unit
from sv.losses.gradients import with_gradients
from sv.losses.head import Head, HeadOutput
from sv.losses.label_confidence import Confidence
from sv.losses.options import LossOptions
from sv.losses.split import HeadPart, entries


class SoftmaxHead(Head):
    """Softmax over the speakers, of logits s <x, w_j> + b_j.

    Attributes:
        scale: s.
        unit_rows: the weight vectors are divided by their norms.
        top_k: number of the nearest other speakers that `nearest` moves.
    """

    row_parameters: ClassVar[tuple[str, ...]] = ("weight",)

    scale: float = 1.0
    unit_rows: ClassVar[bool] = True
    top_k: int = 0
    weight: nn.Parameter  # (speakers, dim), or (speakers, subcenters, dim): the nearest of a speaker's counts
    bias: nn.Parameter | None  # (speakers,)

    def __init__(self, embedding_dim: int, num_speakers: int, options: LossOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.register_parameter("bias", None)

    def inputs(self, embedding: Tensor) -> Tensor:
        """Return x, (batch, dim), of embeddings; here scaled to norm 1."""
        return unit(embedding)

    def target(self, product: Tensor, x: Tensor, margin: float) -> Tensor:
        """Return the target's logit z_y, (batch,).

        Args:
            product: (batch,) <x, w_y>, of unit rows the cosine if x has norm 1.
            x: (batch, dim).
            margin: m.
        """
        raise NotImplementedError

    def nearest(self, product: Tensor, margin: float) -> Tensor:
        """Return the logits of the `top_k` nearest other speakers, of any shape."""
        return self.scale * product

    @_disable_dynamo
    def compute(self, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None) -> HeadOutput:
        x = self.inputs(embedding)
        passes = _Passes(self, x.detach(), speaker, margin, confidence)
        total = passes.first().total(passes)
        loss = total.losses.mean()
        if torch.is_grad_enabled():
            grads = passes.second(total)
            loss = with_gradients(loss, (x, grads.pop("x")), *self._of_rows(grads))
        return HeadOutput(loss, total.losses, total.correct, total.label_losses)

    @_disable_dynamo
    def compute_split(
        self, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None, part: HeadPart
    ) -> HeadOutput:
        x = self.inputs(embedding)
        everyone, speakers = part.gather_batch(x.detach(), speaker)
        of_all = None if confidence is None else confidence.gathered(part)
        passes = _Passes(self, everyone, speakers - part.first, margin, of_all)
        total = passes.first().gathered(part).total(passes, part.rank)
        loss, own = total.losses.mean(), part.own(len(x))
        if torch.is_grad_enabled():
            grads = passes.second(total)
            mine, arriving = part.start_sum(grads.pop("x"))
            arriving.wait()
            loss = with_gradients(loss, (x, mine.mul_(part.size)), *self._of_rows(grads))
        label_losses = None if total.label_losses is None else total.label_losses[own]
        return HeadOutput(loss, total.losses[own], total.correct[own], label_losses)

    def logits(self, embedding: Tensor) -> Tensor:
        rows = self.weight.to(embedding.dtype).flatten(0, -2)
        product = self.inputs(embedding) @ (unit(rows) if self.unit_rows else rows).T
        if self.weight.dim() == 3:
            product = product.unflatten(1, self.weight.shape[:2]).amax(dim=2)
        return self.scale * product + (0 if self.bias is None else self.bias.to(embedding.dtype))

    def probability(self, logit: Tensor, log_sum: Tensor) -> Tensor:
        return (logit - log_sum).exp()

    def _of_rows(self, grads: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return parameters in the embeddings' dtype, with their gradients."""
        return [(getattr(self, name).to(grad.dtype), grad) for name, grad in grads.items()]


class _Found(NamedTuple):
    """Results of the first pass, of each of `parts` processes.

    Attributes:
        rest: (parts, batch) log of the sum of e^z over the other speakers that are not in `top`.
        target: (parts, batch) z_y; -inf where the true speaker is another process's.
        plain: (parts, batch) the target's logit without margin; -inf likewise.
        hardest: (parts, batch) the highest logit of another speaker, not moved.
        top: (parts, batch, k) products of the nearest other speakers; -inf where there are not as many.
    """

    rest: Tensor
    target: Tensor
    plain: Tensor
    hardest: Tensor
    top: Tensor

    def gathered(self, part: HeadPart) -> "_Found":
        """Return what all processes found, by one exchange."""
        mine = torch.cat([torch.stack(self[:-1], dim=2), self.top], dim=2)  # (1, batch, 4 + k)
        of_all = part.gather(mine)  # (size, batch, 4 + k)
        rest, target, plain, hardest = of_all[:, :, :4].unbind(dim=2)
        return _Found(rest, target, plain, hardest, of_all[:, :, 4:])

    def total(self, passes: "_Passes", rank: int = 0) -> "_Total":
        """Return losses, and what process `rank` needs for its gradients."""
        parts, _, k = self.top.shape
        top = self.top.transpose(0, 1).flatten(1)  # (batch, parts * k)
        nearest = torch.zeros_like(top, dtype=torch.bool)
        if k:
            nearest = nearest.scatter(1, top.topk(k, dim=1).indices, True) & (top > -torch.inf)
        moved = torch.where(nearest, passes.nearest(top), passes.head.scale * top)
        target = self.target.amax(dim=0)
        log_sum = torch.cat([self.rest.T, moved, target.unsqueeze(1)], dim=1).logsumexp(dim=1)
        plain = self.plain.amax(dim=0)
        correct, losses, label_losses = plain > self.hardest.amax(dim=0), log_sum - target, None
        if passes.confidence is not None:
            unmoved = torch.cat([self.rest.T, passes.head.scale * top, plain.unsqueeze(1)], dim=1)
            losses, label_losses = passes.confidence.weight * losses, unmoved.logsumexp(dim=1) - plain
        return _Total(losses, correct, log_sum, nearest.unflatten(1, (parts, k))[:, rank], label_losses)


class _Total(NamedTuple):
    """Results that all processes have between the passes.

    Attributes:
        losses: (batch,).
        correct: (batch,) bool, whether the true speaker scores highest, without margin.
        log_sum: (batch,) L.
        nearest: (batch, k) bool, whether this process's `top` are among the nearest of all.
        label_losses: (batch,) as in `HeadOutput`.
    """

    losses: Tensor
    correct: Tensor
    log_sum: Tensor
    nearest: Tensor
    label_losses: Tensor | None


class _Passes:
    """Both passes over the rows of one process.

    Args:
        head: the softmax head.
        embedding: (batch, dim) x, without gradients.
        row: (batch,) of the true speaker, counted from the first row; out of range where another process has it.
        margin: m.
        confidence: which utterances and classes count less; its classes are counted from the first row, too.

    Attributes:
        block: speakers taken together, as many as fit a cache.
    """

    def __init__(
        self, head: SoftmaxHead, embedding: Tensor, row: Tensor, margin: float, confidence: Confidence | None
    ) -> None:
        self.head, self.embedding, self.row, self.margin, self.confidence = head, embedding, row, margin, confidence
        self.weight = head.weight.detach().to(embedding.dtype)
        self.bias = None if head.bias is None else head.bias.detach().to(embedding.dtype)
        self.block = max(1, block_rows(len(embedding), self.weight) // self.weight[0, ..., 0].numel())

    @torch.no_grad()
    def first(self) -> _Found:
        """Go over the rows once."""
        x, k = self.embedding, self.head.top_k
        highest, total = x.new_full((len(x),), torch.finfo(x.dtype).min), x.new_zeros(len(x))
        top, self._column = x.new_full((len(x), k), -torch.inf), self.row.new_full((len(x), k), -1)
        for start, _, logits, _ in self._blocks():
            logits.scatter_(1, *entries(logits, self.row - start, torch.full_like(total, -torch.inf)))
            if self.confidence is not None:
                self.confidence.leave_out(logits, start, -torch.inf)
            before, highest = highest, torch.maximum(highest, logits.amax(dim=1))
            if k:
                top, logits = self._take_top(top, logits, start)
            total = total * (before - highest).exp() + (logits - highest.unsqueeze(1)).exp_().sum(dim=1)
        rest, self._top = total.log() + highest, top / self.head.scale
        target, plain = self._targets()
        return _Found(rest[None], target[None], plain[None], highest[None], self._top[None])

    def _take_top(self, top: Tensor, logits: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Return the highest logits (batch, k) so far, and the others that were not left out of the sum before."""
        every = torch.cat([top, logits], dim=1)
        column = torch.arange(start, start + logits.shape[1], device=logits.device).expand_as(logits)
        column = torch.cat([self._column, column], dim=1)
        top, index = every.topk(top.shape[1], dim=1)
        self._column = column.gather(1, index)
        return top, every.scatter_(1, index, -torch.inf)

    @torch.enable_grad()
    def _targets(self) -> tuple[Tensor, Tensor]:
        """Return the target's logit with margin and without, (batch,) each; -inf where it is not among these rows."""
        row = self.row.clamp(0, len(self.weight) - 1)
        rows = self.weight[row].flatten(1, -2) if self.weight.dim() == 3 else self.weight[row].unsqueeze(1)
        rows = unit(rows) if self.head.unit_rows else rows  # (batch, subcenters, dim)
        product = torch.einsum("bd,bkd->bk", self.embedding, rows).amax(dim=1).requires_grad_()
        x = self.embedding.detach().requires_grad_()
        target, bias = self.head.target(product, x, self.margin), 0 if self.bias is None else self.bias[row]
        self._target = target + bias
        self._slopes = torch.autograd.grad(target.sum(), (product, x), allow_unused=True)
        self.present = (self.row >= 0) & (self.row < len(self.weight))
        plain = self.head.scale * product.detach() + bias
        return self._target.detach().where(self.present, -torch.inf), plain.where(self.present, -torch.inf)

    def nearest(self, product: Tensor) -> Tensor:
        """Return the moved logits of nearest speakers; finite for the -inf of speakers that are not there."""
        return self.head.nearest(product.where(product > -torch.inf, 0), self.margin)

    @torch.no_grad()
    def second(self, total: _Total) -> dict[str, Tensor]:
        """Go over the rows again; return the gradients of the mean loss by name: "x", "weight" and, if any, "bias"."""
        found = {"x": torch.zeros_like(self.embedding), "weight": torch.empty_like(self.weight)}
        if self.bias is not None:
            found["bias"] = torch.empty_like(self.bias)
        target = self._target_grad(total, found["x"])
        nearest = self._nearest_grad(total)
        column = self._column.where(total.nearest, -1)
        for start, block, logits, choice in self._blocks():
            grad = torch.sub(logits, total.log_sum.unsqueeze(1)).exp_().mul_(1 / len(logits))
            if self.confidence is not None:
                self.confidence.leave_out(grad, start, 0.0)
                grad.mul_(self.confidence.weight.unsqueeze(1))
            grad.scatter_(1, *entries(grad, self.row - start, target))
            for one, value in zip(column.unbind(1), nearest.unbind(1), strict=True):
                grad.scatter_(1, *entries(grad, one - start, value))
            rows = slice(start, start + logits.shape[1])
            if self.bias is not None:
                torch.sum(grad, dim=0, out=found["bias"][rows])
            if choice is not None:
                of_subcenters = grad.new_zeros(*grad.shape, self.weight.shape[1])
                grad = of_subcenters.scatter_(2, choice, grad.unsqueeze(2)).flatten(1)
            block.add_gradients(grad, found["x"], found["weight"][rows].flatten(0, -2))
        return found

    def _target_grad(self, total: _Total, embedding_grad: Tensor) -> Tensor:
        """Return the gradient (batch,) of the target's logit without margin; add what comes by x itself."""
        pull = ((self._target.detach() - total.log_sum).exp() - 1).where(self.present, 0) / len(total.losses)
        if self.confidence is not None:
            pull = pull * self.confidence.weight
        of_product, of_x = self._slopes
        if of_x is not None:
            embedding_grad.addcmul_(pull.unsqueeze(1), of_x)
        return pull * of_product / self.head.scale

    @torch.enable_grad()
    def _nearest_grad(self, total: _Total) -> Tensor:
        """Return the gradient (batch, k) of the logits of this process's nearest speakers before they are moved."""
        product = self._top.detach().requires_grad_()
        if not product.shape[1]:
            return product.detach()
        moved = self.nearest(product)
        (slope,) = torch.autograd.grad(moved.sum(), product)
        grad = (moved.detach() - total.log_sum.unsqueeze(1)).exp() * slope / (self.head.scale * len(product))
        return grad if self.confidence is None else grad * self.confidence.weight.unsqueeze(1)

    def _blocks(self) -> Iterator[tuple[int, Block, Tensor, Tensor | None]]:
        """Yield the first row of each block, the block, logits (batch, speakers), and which subcenter each is from."""
        for start in range(0, len(self.weight), self.block):
            weight = self.weight[start : start + self.block]
            block = Block(self.embedding, weight.flatten(0, -2), scale=self.head.scale, unit_rows=self.head.unit_rows)
            if weight.dim() == 3:
                logits, choice = block.products.unflatten(1, weight.shape[:2]).max(dim=2, keepdim=True)
                yield start, block, logits.squeeze(2), choice
            elif self.bias is not None:
                yield start, block, block.products + self.bias[start : start + self.block], None
            else:
                yield start, block, block.products, None
