"""The fused head against the plain form: losses and gradients, over blocks, types, dtypes and edge values."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sv.losses import build_head
from sv.losses.cosine import cosine_matrix, unit
from sv.losses.fused import Labelled, Rows, pair_sums
from sv.losses.label_confidence import Confidence
from sv.losses.options import Gradient, MarginOn, MarginType, SphereFace2Options
from sv.losses.pairs import Pairs, softplus
from sv.losses.sphereface2 import sphereface2

MARGINS = {"C": 0.2, "A": 0.15, "M": 1.3}


def problem(dtype: torch.dtype, batch: int = 12, speakers: int = 37, dim: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, weight vectors and speakers, with pairs in parallel, opposite and without direction."""
    generator = torch.Generator().manual_seed(1)
    embedding = torch.randn(batch, dim, generator=generator, dtype=dtype)
    weight = torch.randn(speakers, dim, generator=generator, dtype=dtype)
    speaker = torch.randint(speakers, (batch,), generator=generator)
    embedding[0], embedding[1], embedding[2] = 3 * weight[speaker[0]], -weight[speaker[1]], 0
    embedding[3], embedding[4] = weight[(speaker[3] + 1) % speakers], -2 * weight[(speaker[4] + 1) % speakers]
    weight[5] = 0
    return embedding, weight, speaker


def some_confidence(dtype: torch.dtype, batch: int = 12, speakers: int = 37) -> Confidence:
    """Labels that are trusted, not and by half; ignored classes, once, twice or none; some classes unlabelled."""
    generator = torch.Generator().manual_seed(2)
    weight = torch.tensor([1.0, 0.0, 0.5], dtype=dtype).repeat(batch)[:batch]
    ignored = torch.randint(-1, speakers, (batch, 3), generator=generator)
    ignored[0], ignored[1] = torch.tensor([5, 5, -1]), -1
    return Confidence(weight, ignored, torch.arange(speakers) % 3 == 0)


def make_pairs(margin_type: MarginType = "C", **options: Any) -> Pairs:
    return Pairs(SphereFace2Options(margin_type=margin_type, **options), MARGINS[margin_type])


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
@pytest.mark.parametrize("margin_on", ["both", "target"])
@pytest.mark.parametrize("gradient", ["through_g", "detached"])
@pytest.mark.parametrize("t", [1.0, 2.5, 3.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_plain_form(
    margin_type: MarginType, margin_on: MarginOn, gradient: Gradient, t: float, dtype: torch.dtype, tolerance: float
) -> None:
    embedding, weight, speaker = problem(dtype)
    options: dict[str, Any] = {"margin_type": margin_type, "margin_on": margin_on, "gradient": gradient, "t": t}
    head = build_head("sphereface2", 9, 37, options).to(dtype)
    head.load_state_dict({"weight": weight, "bias": torch.full((1, 1), 2.0)})
    embedding.requires_grad_()
    inputs = [embedding, head.get_parameter("weight"), head.get_parameter("bias")]
    output = head(embedding, speaker, MARGINS[margin_type])
    cosine = cosine_matrix(embedding, inputs[1])
    losses = sphereface2(cosine, speaker, inputs[2].squeeze(), pairs=make_pairs(**options))
    torch.testing.assert_close(output.losses, losses.detach(), rtol=tolerance, atol=tolerance)
    ours, theirs = torch.autograd.grad(output.loss, inputs), torch.autograd.grad(losses.mean(), inputs)
    for name, one, other in zip(("embedding", "weight", "bias"), ours, theirs, strict=True):
        size = other.norm().clamp_min(0.1)  # the bias's is a small difference of pulls and pushes
        assert (one - other).norm() <= tolerance * size, name
    cosine = cosine.detach()
    clear = cosine.topk(2).values.diff().abs().squeeze() > 1e-5  # where rounding does not decide
    assert torch.equal(output.correct[clear], (cosine.argmax(dim=1) == speaker)[clear])


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
@pytest.mark.parametrize("parts", ["weight", "ignored", "unlabelled", "all"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_confidence_equals_the_plain_form(
    margin_type: MarginType, parts: str, dtype: torch.dtype, tolerance: float
) -> None:
    embedding, weight, speaker = problem(dtype)
    confidence = some_confidence(dtype)
    if parts != "all":
        confidence = Confidence(
            confidence.weight if parts != "ignored" else torch.ones_like(confidence.weight),
            confidence.ignored if parts == "ignored" else None,
            confidence.unlabelled if parts == "unlabelled" else None,
        )
    head = build_head("sphereface2", 9, 37, {"margin_type": margin_type}).to(dtype)
    head.load_state_dict({"weight": weight, "bias": torch.full((1, 1), 2.0)})
    embedding.requires_grad_()
    inputs = [embedding, head.get_parameter("weight"), head.get_parameter("bias")]
    output = head(embedding, speaker, MARGINS[margin_type], confidence)
    pairs, bias = make_pairs(margin_type), inputs[2].squeeze()
    cosine = cosine_matrix(embedding, inputs[1])
    losses = sphereface2(cosine, speaker, bias, pairs=pairs, confidence=confidence)
    torch.testing.assert_close(output.losses, losses.detach(), rtol=tolerance, atol=tolerance)
    of_labels = softplus(-pairs.plain_logit(cosine, bias)).gather(1, speaker.unsqueeze(1))
    torch.testing.assert_close(output.label_losses, of_labels.detach().squeeze(1), rtol=tolerance, atol=tolerance)
    ours, theirs = torch.autograd.grad(output.loss, inputs), torch.autograd.grad(losses.mean(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= tolerance * other.norm().clamp_min(0.1)


@pytest.mark.parametrize("block", [1, 5, 36, 37, 1000])
@pytest.mark.parametrize("margin_type", ["C", "A"])
def test_any_block_gives_the_same(block: int, margin_type: MarginType) -> None:
    embedding, weight, speaker = problem(torch.float64)
    rows = Rows(weight, torch.tensor(1.0, dtype=torch.float64))
    arguments = (Labelled(unit(embedding), speaker, some_confidence(torch.float64)), rows, make_pairs(margin_type))
    whole, blocks = pair_sums(*arguments), pair_sums(*arguments, block=block)
    for name in ("losses", "target", "hardest", "bias_grad", "embedding_grad", "weight_grad", "label_losses"):
        torch.testing.assert_close(getattr(blocks, name), getattr(whole, name), rtol=1e-12, atol=1e-14)


def test_rows_of_two_processes_add_up() -> None:
    embedding, weight, speaker = problem(torch.float64)
    x, bias, pairs = unit(embedding), torch.tensor(1.0, dtype=torch.float64), make_pairs()
    batch = Labelled(x, speaker)
    whole = pair_sums(batch, Rows(weight, bias), pairs)
    parts = [pair_sums(batch, Rows(weight[first:last], bias, first), pairs) for first, last in ((0, 20), (20, 37))]
    for name in ("losses", "target", "bias_grad", "embedding_grad"):
        torch.testing.assert_close(getattr(parts[0], name) + getattr(parts[1], name), getattr(whole, name))
    torch.testing.assert_close(torch.maximum(parts[0].hardest, parts[1].hardest), whole.hardest)
    torch.testing.assert_close(torch.cat([part.weight_grad for part in parts]), whole.weight_grad)


def test_accumulated_gradients_are_the_mean_of_batches() -> None:
    embedding, weight, speaker = problem(torch.float64)
    head = build_head("sphereface2", 9, 37, {}).double()
    head.load_state_dict({"weight": weight, "bias": torch.zeros(1, 1)})
    head(embedding, speaker, 0.2).loss.backward()
    expected = [p.grad.clone() for p in head.parameters() if p.grad is not None]
    head.zero_grad()
    for part in (slice(0, 6), slice(6, 12)):
        (head(embedding[part], speaker[part], 0.2).loss / 2).backward()
    torch.testing.assert_close([p.grad for p in head.parameters()], expected)


def test_without_gradients_the_losses_are_the_same() -> None:
    embedding, _, speaker = problem(torch.float32)
    head = build_head("sphereface2", 9, 37, {})
    with_grad = head(embedding, speaker, 0.2)
    with torch.no_grad():
        without = head(embedding, speaker, 0.2)
    assert not without.loss.requires_grad
    torch.testing.assert_close(without, with_grad)


def test_frozen_weights_get_no_gradient_and_embeddings_do() -> None:
    embedding, _, speaker = problem(torch.float32)
    head = build_head("sphereface2", 9, 37, {}).requires_grad_(False)
    head(embedding.requires_grad_(), speaker, 0.2).loss.backward()
    assert embedding.grad is not None
    assert all(p.grad is None for p in head.parameters())


MEASURE = """
import resource, sys, torch
from sv.losses import build_head
loss, speakers = sys.argv[1], int(sys.argv[2])
embedding, speaker = torch.randn(128, 64, requires_grad=True), torch.randint(speakers, (128,))
build_head(loss, 64, 1000, {})(embedding, speaker % 1000, 0.2).loss.backward()  # what any first call takes
head = build_head(loss, 64, speakers, {})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
head(embedding, speaker, 0.2).loss.backward()
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["sphereface2", "aam"])  # a head in one pass over blocks, and one in two passes
def test_memory_beside_weights_and_gradient_does_not_grow_with_the_speakers(loss: str) -> None:
    speakers, dim = 400_000, 64
    words = [sys.executable, "-c", MEASURE, loss, str(speakers)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    gradient = 4 * dim * speakers  # 102 MB; a (batch, speakers) matrix would be 205 MB
    assert int(done.stdout) - gradient < 64 << 20


@pytest.mark.slow
@pytest.mark.parametrize("margin_type", ["C", "A"])
def test_a_compiled_network_has_the_same_loss_and_gradients(margin_type: str) -> None:
    """The encoder is compiled to a graph; the head runs as it is."""
    embedding, _, speaker = problem(torch.float32)
    head = build_head("sphereface2", 9, 37, {"margin_type": margin_type})
    encoder = torch.nn.Linear(9, 9)

    def loss_and_gradients(network: Callable[[Tensor], Tensor]) -> list[Tensor]:
        loss = network(embedding)
        return [loss.detach(), *torch.autograd.grad(loss, [*encoder.parameters(), *head.parameters()])]

    def network(batch: Tensor) -> Tensor:
        return head(encoder(batch).relu(), speaker, 0.2).loss

    torch._dynamo.reset()
    compiled = loss_and_gradients(torch.compile(network, backend="aot_eager"))  # inductor's graphs, not its C++
    torch.testing.assert_close(compiled, loss_and_gradients(network))
