"""Properties of every head with weight vectors: gradients, finite values at the edges, float32 always, errors."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sv.errors import UserError
from sv.losses import build_head
from sv.losses.head import Head
from sv.losses.label_confidence import Confidence

CASES: dict[str, tuple[str, dict[str, object]]] = {
    "softmax": ("softmax", {}),
    "sphere": ("sphere", {}),
    "am": ("am", {}),
    "aam": ("aam", {}),
    "aam easy": ("aam", {"easy_margin": True}),
    "aam_subcenter": ("aam_subcenter", {}),
    "aam_intertopk": ("aam_intertopk", {}),
    "aam_intertopk_subcenter": ("aam_intertopk_subcenter", {}),
    "sphereface2-C": ("sphereface2", {"margin_type": "C"}),
    "sphereface2-A": ("sphereface2", {"margin_type": "A"}),
    "sphereface2-M": ("sphereface2", {"margin_type": "M"}),
    "sphereface2-A, target": ("sphereface2", {"margin_type": "A", "margin_on": "target"}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return request.param


def make(case: str, embedding_dim: int = 5, num_speakers: int = 7, **options: object) -> Head:
    torch.manual_seed(7)
    name, own = CASES[case]
    return build_head(name, embedding_dim, num_speakers, {**own, **({} if name in ("softmax", "sphere") else options)})


def first_rows(head: Head) -> Tensor:
    """(speakers, dim): of several weight vectors a speaker, the first."""
    return head.get_parameter("weight").detach().reshape(head.num_speakers, -1, head.embedding_dim)[:, 0]


def gradients(
    head: Head, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None = None
) -> tuple[Tensor, list[Tensor]]:
    embedding = embedding.clone().requires_grad_()
    output = head(embedding, speaker, margin, confidence)
    return output.losses, list(torch.autograd.grad(output.loss, [embedding, *head.parameters()]))


def some_confidence(batch: int, speakers: int, dtype: torch.dtype = torch.float32) -> Confidence:
    """Every field of the confidence at once; -1 where no class is ignored."""
    weight = torch.tensor([0.5, 0.0, 1.0], dtype=dtype).repeat(batch)[:batch]
    return Confidence(
        weight, torch.arange(-1, 2 * batch - 1).view(batch, 2) % speakers, torch.arange(speakers) % 2 == 0
    )


@pytest.mark.parametrize("confidence", [None, some_confidence(3, 5, torch.float64)], ids=["sure", "weighted"])
def test_gradcheck(case: str, confidence: Confidence | None) -> None:
    head = make(case, 4, 5, scale=8.0).double()
    embedding = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    speaker = torch.tensor([0, 4, 2])
    names, values = zip(*head.named_parameters(), strict=True)

    def loss(embedding: Tensor, *parameters: Tensor) -> Tensor:
        arguments = (embedding, speaker, head.margins.default, confidence)
        return torch.func.functional_call(head, dict(zip(names, parameters, strict=True)), arguments).loss

    class Anew(torch.autograd.Function):
        """The loss, from a graph of its own for each backward: gradcheck goes backward several times."""

        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Tensor:
            ctx.save_for_backward(*inputs)
            return loss(*inputs)

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, ...]:
            inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
            with torch.enable_grad():
                return torch.autograd.grad(loss(*inputs), inputs, upstream)

    assert torch.autograd.gradcheck(Anew.apply, (embedding, *values))


EDGES = [  # options, margin, bias
    ({}, 0.2, 0.0),
    ({"scale": 64.0}, 0.4, 0.0),
    ({}, 0.2, 200.0),
    ({}, 0.2, -200.0),
    ({"t": 2.5}, 0.2, 0.0),
    ({"t": 4.0}, 0.2, 0.0),
    ({"t": 1.0}, 0.2, 0.0),
]


@pytest.mark.parametrize(("options", "margin", "bias"), EDGES)
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
def test_finite_at_the_edges(
    case: str, options: dict[str, float], margin: float, bias: float, autocast: torch.dtype | None
) -> None:
    """Embeddings parallel and opposite to a weight vector, tiny, zero and huge; the target, and another."""
    if not case.startswith("sphereface2"):
        options = {key: value for key, value in options.items() if key == "scale"}
    head = make(case, 16, 50, **options)
    if case.startswith("sphereface2"):
        torch.nn.init.constant_(head.get_parameter("bias"), bias)
    weight = first_rows(head)
    rows = torch.arange(50)
    scales = torch.logspace(-3, 3, 50)[:, None]
    embedding = torch.cat([weight * scales, -weight * scales, weight * 0, weight * 1e-9])
    for speaker in (rows, (rows + 1) % 50):
        with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            batch = embedding.to(autocast or torch.float32), speaker.repeat(4), _margin(head, margin)
            found = [gradients(head, *batch, confidence) for confidence in (None, some_confidence(200, 50))]
        for losses, grads in found:
            assert losses.dtype == torch.float32
            assert losses.isfinite().all()
            assert all(grad.isfinite().all() for grad in grads)


def _margin(head: Head, margin: float) -> float:
    return min(head.margins.lowest + margin, head.margins.highest)


def test_full_confidence_changes_no_bit(case: str) -> None:
    head = make(case, 16, 50)
    embedding, speaker = torch.randn(8, 16), torch.randint(50, (8,))
    nothing = torch.full((8, 2), -1)
    sure = gradients(head, embedding, speaker, head.margins.default)
    for ignored in (None, nothing, nothing[:, :0]):
        confidence = Confidence(torch.ones(8), ignored)
        losses, grads = gradients(head, embedding, speaker, head.margins.default, confidence)
        assert torch.equal(losses, sure[0])
        assert all(torch.equal(one, other) for one, other in zip(grads, sure[1], strict=True))


def test_without_confidence_an_utterance_pulls_at_no_class_of_its_own(case: str) -> None:
    """The row of its class and, in a softmax, every row keep their place."""
    head = make(case, 16, 50)
    confidence = Confidence(torch.zeros(4), None, torch.ones(50, dtype=torch.bool))
    losses, grads = gradients(head, torch.randn(4, 16), torch.arange(4), head.margins.default, confidence)
    assert (losses == 0).all()
    assert all((grad == 0).all() for grad in grads)


def test_an_ignored_class_is_not_pushed(case: str) -> None:
    head = make(case, 16, 50)
    confidence = Confidence(torch.ones(8), torch.tensor([[7, 9]]).expand(8, 2))
    _, (_, weight, *_) = gradients(head, torch.randn(8, 16), torch.arange(10, 18), head.margins.default, confidence)
    moved = weight.reshape(50, -1).abs().sum(dim=1) > 0
    assert not moved[[7, 9]].any() and moved[[8, *range(10, 18)]].all()


def test_losses_of_labels_have_no_margin_and_no_weight(case: str) -> None:
    head = make(case, 16, 50)
    embedding, speaker = torch.randn(8, 16), torch.randint(50, (8,))
    logits = head.logits(embedding)
    probability = head.probability(logits, logits.logsumexp(dim=1, keepdim=True))
    expected = -probability.gather(1, speaker.unsqueeze(1)).squeeze(1).log()
    for margin in (head.margins.lowest, head.margins.default):
        found = head(embedding, speaker, margin, Confidence(torch.rand(8))).label_losses
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert head(embedding, speaker, head.margins.default).label_losses is None


def test_the_predicted_class_is_the_nearest_one(case: str) -> None:
    head = make(case, 16, 50)
    found = head.predict(3 * first_rows(head)[:5])
    assert found.speaker.tolist() == [0, 1, 2, 3, 4]
    logits = head.logits(3 * first_rows(head)[:5])
    first, second = head.probability(logits, logits.logsumexp(dim=1, keepdim=True)).topk(2, dim=1).values.unbind(1)
    torch.testing.assert_close(found.probability, first.double())
    torch.testing.assert_close(found.lead, (first - second).double(), rtol=1e-4, atol=1e-6)
    assert (head.predict(torch.randn(20, 16)).lead >= 0).all()


def test_gradient_near_a_parallel_embedding_is_not_blown_up(case: str) -> None:
    """The true gradient with respect to a unit embedding is at most scale x slope of g x a few pairs."""
    head = make(case, 16, 50)
    weight = torch.nn.functional.normalize(first_rows(head))
    speaker = torch.arange(50)
    for distance in (0.0, 1e-7, 1e-5, 1e-4, 1e-3, 1e-2):
        near = weight + distance * torch.randn_like(weight)
        for embedding in (near, -near):
            _, grads = gradients(head, embedding, speaker, head.margins.default)
            assert (grads[0] * 50).norm(dim=1).max() < 200


def test_losses_are_float32_under_autocast_and_equal_to_those_without(case: str) -> None:
    head = make(case, 16, 50)
    embedding, speaker = torch.randn(8, 16).bfloat16(), torch.randint(50, (8,))
    plain = head(embedding.float(), speaker, head.margins.default)
    with torch.autocast("cpu", torch.bfloat16):
        cast = head(embedding, speaker, head.margins.default)
    assert cast.losses.dtype == torch.float32
    assert torch.equal(plain.losses, cast.losses)
    assert torch.equal(plain.correct, cast.correct)


def test_a_step_downhill_lowers_the_loss(case: str) -> None:
    head = make(case, 8, 20)
    embedding, speaker = torch.randn(40, 8), torch.arange(40) % 20
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
    before = head(embedding, speaker, head.margins.default).loss
    for _ in range(20):
        optimizer.zero_grad()
        head(embedding, speaker, head.margins.default).loss.backward()
        optimizer.step()
    assert head(embedding, speaker, head.margins.default).loss < before


def test_weights_start_as_wespeakers_do(case: str) -> None:
    weight = make(case, 64, 1000).get_parameter("weight")
    limit = (6 / (weight.numel() / 64 + 64)) ** 0.5
    assert weight.abs().max() <= limit
    assert weight.abs().max() > 0.99 * limit


def test_one_speaker_is_refused() -> None:
    with pytest.raises(UserError, match="of 1 speakers and 4 dimensions; it takes 2 speakers"):
        build_head("aam", 4, 1, {})


@pytest.mark.parametrize("name", ["sphere", "am", "aam", "aam_subcenter", "aam_intertopk", "sphereface2"])
@pytest.mark.parametrize("margin", [-0.1, 3.0, float("nan")])
def test_margin_out_of_range_is_refused(name: str, margin: float) -> None:
    head = build_head(name, 4, 3, {})
    with pytest.raises(UserError, match=r"margin .* does not fit: \w+ takes 0 to 1"):
        head(torch.randn(2, 4), torch.tensor([0, 1]), margin)


def test_speaker_out_of_range_is_named() -> None:
    head = build_head("aam", 4, 3, {})
    head.check_speakers(torch.tensor([0, 2, 1]))
    with pytest.raises(UserError, match="speaker index 3 of 2 utterances is outside 0 to 2"):
        head(torch.randn(4, 4), torch.tensor([0, 3, 1, -1]), 0.2)
