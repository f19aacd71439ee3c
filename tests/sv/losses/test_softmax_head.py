"""Softmax heads in two passes over blocks against their plain forms: losses, gradients, blocks, edge values."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sv.losses import LOSSES, build_head, loss_options
from sv.losses.cosine import cosine_matrix, unit
from sv.losses.label_confidence import Confidence
from sv.losses.margin_softmax import MarginSoftmax
from sv.losses.softmax_head import SoftmaxHead, _Passes
from sv.losses.sphereface import annealed_angle

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("softmax", {}),
    "sphere": ("sphere", {}),
    "am": ("am", {}),
    "aam": ("aam", {"scale": 64.0}),
    "aam easy": ("aam", {"easy_margin": True}),
    "aam_subcenter": ("aam_subcenter", {}),
    "aam_intertopk": ("aam_intertopk", {}),
    "more neighbours than speakers": ("aam_intertopk", {"top_k": 50}),
    "aam_intertopk_subcenter": ("aam_intertopk_subcenter", {"top_k": 3}),
}
BATCH, SPEAKERS, DIM = 12, 37, 9


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return request.param


def problem(case: str, dtype: torch.dtype) -> tuple[SoftmaxHead, Tensor, Tensor]:
    """A head, embeddings and speakers, with other speakers in parallel, opposite and without direction.

    An embedding of 0 would choose its nearest speakers among equal ones.
    """
    torch.manual_seed(1)
    name, options = CASES[case]
    head = build_head(name, DIM, SPEAKERS, options).to(dtype)
    assert isinstance(head, SoftmaxHead)
    if head.bias is not None:
        torch.nn.init.normal_(head.bias)
    weight = head.weight.detach().reshape(SPEAKERS, -1, DIM)
    embedding, speaker = torch.randn(BATCH, DIM, dtype=dtype), torch.randint(SPEAKERS, (BATCH,))
    embedding[0], embedding[1] = weight[(speaker[0] + 1) % SPEAKERS, 0], -2 * weight[(speaker[1] + 1) % SPEAKERS, 0]
    embedding[2] = embedding[2] if head.top_k or name == "sphere" else 0
    weight[5] = 0
    return head, embedding.requires_grad_(), speaker


def plain_losses(head: SoftmaxHead, embedding: Tensor, speaker: Tensor, margin: float) -> Tensor:
    if isinstance(head, MarginSoftmax):
        return head.losses(head.cosines(embedding), speaker, margin)
    if head.bias is not None:
        return cross_entropy(linear(embedding, head.weight, head.bias), speaker, reduction="none")
    cosine, index = cosine_matrix(embedding, head.weight), speaker.unsqueeze(1)
    moved = cosine.scatter(1, index, annealed_angle(cosine.gather(1, index), 4, margin))
    return cross_entropy(torch.linalg.vector_norm(embedding, dim=1, keepdim=True) * moved, speaker, reduction="none")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_plain_form(case: str, dtype: torch.dtype, tolerance: float) -> None:
    head, embedding, speaker = problem(case, dtype)
    margin = head.margins.default
    output, losses = head(embedding, speaker, margin), plain_losses(head, embedding, speaker, margin)
    torch.testing.assert_close(output.losses, losses.detach(), rtol=tolerance, atol=tolerance)
    inputs = [embedding, *head.parameters()]
    ours, theirs = torch.autograd.grad(output.loss, inputs), torch.autograd.grad(losses.mean(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= tolerance * other.norm().clamp_min(0.1)


def test_correct_means_that_the_true_speaker_is_nearest_without_margin(case: str) -> None:
    head, _, speaker = problem(case, torch.float64)
    weight = head.weight.detach().copy_(unit(head.weight.detach())).reshape(SPEAKERS, -1, DIM)[:, -1]
    some = torch.tensor([row for row in range(BATCH) if speaker[row] != 5])
    x = 100 * weight[speaker[some]]  # so near that only the margins could change the order
    assert head(x, speaker[some], head.margins.default).correct.all()
    others = (speaker[some] + torch.where(speaker[some] == 4, 2, 1)) % SPEAKERS
    assert not head(100 * weight[others], speaker[some], head.margins.default).correct.any()


def some_confidence(dtype: torch.dtype) -> Confidence:
    """Utterances that are trusted, not and by half; ignored classes, once or twice, or none."""
    ignored = torch.randint(-1, SPEAKERS, (BATCH, 3), generator=torch.Generator().manual_seed(2))
    ignored[0], ignored[1] = torch.tensor([5, 5, -1]), -1
    return Confidence(torch.tensor([1.0, 0.0, 0.5], dtype=dtype).repeat(BATCH)[:BATCH], ignored)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_label_confidence_equals_a_loop_over_utterances(case: str, dtype: torch.dtype, tolerance: float) -> None:
    """Each utterance alone, with a head that lacks the classes that the utterance ignores."""
    head, embedding, speaker = problem(case, dtype)
    confidence, margin = some_confidence(dtype), head.margins.default
    output = head(embedding, speaker, margin, confidence)
    losses, of_labels = [], []
    for row in range(BATCH):
        kept = [n for n in range(SPEAKERS) if n == speaker[row] or n not in confidence.ignored[row]]
        few = build_head(CASES[case][0], DIM, len(kept), CASES[case][1]).to(dtype)
        for name in few.row_parameters:
            delattr(few, name)
            setattr(few, name, head.get_parameter(name)[kept])  # with their gradients
        own = torch.tensor([kept.index(int(speaker[row]))])
        losses.append(confidence.weight[row] * plain_losses(few, embedding[row : row + 1], own, margin))
        of_labels.append(cross_entropy(few.logits(embedding[row : row + 1]), own, reduction="none"))
    torch.testing.assert_close(output.losses, torch.cat(losses).detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(output.label_losses, torch.cat(of_labels).detach(), rtol=tolerance, atol=tolerance)
    inputs = [embedding, *head.parameters()]
    ours, theirs = torch.autograd.grad(output.loss, inputs), torch.autograd.grad(torch.cat(losses).mean(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= tolerance * other.norm().clamp_min(0.1)


@pytest.mark.parametrize("block", [1, 5, 36, 37, 1000])
@pytest.mark.parametrize("confidence", [None, some_confidence(torch.float64)], ids=["sure", "weighted"])
def test_any_block_gives_the_same(case: str, block: int, confidence: Confidence | None) -> None:
    head, embedding, speaker = problem(case, torch.float64)
    found = []
    for rows in (block, 0):
        passes = _Passes(head, unit(embedding.detach()), speaker, head.margins.default, confidence)
        passes.block = rows or passes.block
        total = passes.first().total(passes)
        of_labels = {} if total.label_losses is None else {"label_losses": total.label_losses}
        found.append({"losses": total.losses, "correct": total.correct, **of_labels, **passes.second(total)})
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


def test_without_gradients_the_losses_are_the_same(case: str) -> None:
    head, embedding, speaker = problem(case, torch.float32)
    with_grad = head(embedding, speaker, head.margins.default)
    with torch.no_grad():
        without = head(embedding, speaker, head.margins.default)
    assert not without.loss.requires_grad
    torch.testing.assert_close(without, with_grad)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_logits_of_any_size_are_summed(scale: float) -> None:
    """At scale 300 the sum over the others overflows and underflows without a running maximum."""
    torch.manual_seed(2)
    head = build_head("aam", DIM, SPEAKERS, {"scale": scale})
    assert isinstance(head, MarginSoftmax)
    embedding, speaker = torch.randn(BATCH, DIM), torch.randint(SPEAKERS, (BATCH,))
    losses = head(embedding, speaker, 0.2).losses
    assert losses.isfinite().all()
    torch.testing.assert_close(
        losses, head.losses(head.cosines(embedding), speaker, 0.2).detach(), rtol=1e-5, atol=1e-5
    )


class Largest(TorchDispatchMode):
    """Remember the size in bytes of the largest tensor that an operator returns."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.untyped_storage().nbytes() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.size = max([self.size, *sizes])
        return result


@pytest.mark.slow
@pytest.mark.parametrize("loss", [name for name in LOSSES.names() if loss_options(name, {}).can_split])
def test_no_step_holds_a_matrix_of_batch_times_speakers(loss: str) -> None:
    batch, speakers = 256, 20_000
    head, embedding = build_head(loss, 4, speakers, {}), torch.randn(batch, 4, requires_grad=True)
    with Largest() as largest:
        head(embedding, torch.randint(speakers, (batch,)), head.margins.default).loss.backward()
    assert largest.size < 2.2 * 2**20, "a block is 1 MiB, its int64 indices 2 MiB, a matrix 19.5 MiB"
