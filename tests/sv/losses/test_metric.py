"""Properties of every metric loss: gradients, finite values at the edges, float32 under autocast, clear errors."""

import pytest
import torch
from torch import Tensor

from sv.errors import UserError
from sv.losses import build_head
from sv.losses.metric import MetricHead

CASES: dict[str, tuple[str, dict[str, object]]] = {
    "triplet semihard": ("triplet", {}),
    "triplet hardest": ("triplet", {"mining": "hardest"}),
    "ge2e": ("ge2e", {}),
    "prototypical": ("prototypical", {}),
    "angular_prototypical": ("angular_prototypical", {}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return request.param


def make(case: str, utts_per_speaker: int = 2) -> MetricHead:
    name, options = CASES[case]
    head = build_head(name, 8, 2, {**options, "utts_per_speaker": utts_per_speaker})
    assert isinstance(head, MetricHead)
    return head


def speakers(number: int, size: int) -> Tensor:
    """Labels of a batch of number x size."""
    return torch.arange(number).flip(0).repeat_interleave(size)


@pytest.mark.parametrize("size", [2, 3])
def test_gradcheck(case: str, size: int) -> None:
    torch.manual_seed(3)
    head = make(case, size).double()
    embedding = torch.randn(4 * size, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: head(x, speakers(4, size), head.margins.default).loss, (embedding,))


@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
def test_finite_at_the_edges(case: str, autocast: torch.dtype | None) -> None:
    """All alike, opposite, zero, tiny and huge embeddings, and a pair that cancels to a zero mean."""
    head = make(case, 3)
    torch.manual_seed(4)
    one, random = torch.randn(1, 8), torch.randn(12, 8)
    signs = torch.tensor([1.0, -1.0]).repeat(6)[:, None]
    some_zero = random * (torch.arange(12) % 5 > 0)[:, None]
    batches = [one.repeat(12, 1), one * signs, random * 0, some_zero, random * 1e-9, random * 1e3]
    for batch in batches:
        embedding = batch.to(autocast or torch.float32).requires_grad_()
        with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            loss, losses, correct, _ = head(embedding, speakers(4, 3), head.margins.default)
        grads = torch.autograd.grad(loss, [embedding, *head.parameters()])
        assert losses.shape == correct.shape == (12,)
        assert losses.dtype == torch.float32
        assert losses.isfinite().all()
        assert all(grad.isfinite().all() for grad in grads)


def test_a_step_downhill_lowers_the_loss_and_tells_the_speakers_apart(case: str) -> None:
    torch.manual_seed(5)
    head, labels = make(case, 3), speakers(6, 3)
    embedding = torch.randn(18, 8, requires_grad=True)
    optimizer = torch.optim.SGD([embedding, *head.parameters()], lr=1.0)
    before = head(embedding, labels, head.margins.default)
    for _ in range(100):
        optimizer.zero_grad()
        head(embedding, labels, head.margins.default).loss.backward()
        optimizer.step()
    after = head(embedding, labels, head.margins.default)
    assert after.loss < before.loss / 2
    assert before.correct.float().mean() < 0.6
    assert after.correct.float().mean() > 0.8  # semi-hard mining leaves alone who is nearer than a positive


def test_losses_follow_their_utterances(case: str) -> None:
    """Speakers in another order: the same losses, in that order."""
    torch.manual_seed(6)
    head = make(case, 3)
    embedding, order = torch.randn(4, 3, 8), [2, 0, 3, 1]
    _, losses, correct, *_ = head(embedding.flatten(0, 1), speakers(4, 3), head.margins.default)
    other = head(embedding[order].flatten(0, 1), speakers(4, 3), head.margins.default)
    torch.testing.assert_close(other.losses, losses.unflatten(0, (4, 3))[order].flatten())
    assert other.correct.equal(correct.unflatten(0, (4, 3))[order].flatten())


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 0], [0, 1, 0, 1], [0, 1, 2, 3], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0]])
def test_a_batch_that_is_not_p_times_k_is_refused(case: str, labels: list[int]) -> None:
    head = make(case, 2)
    with pytest.raises(UserError, match=r"\w+ needs batches of two or more speakers x 2 utterances"):
        head(torch.randn(len(labels), 8), torch.tensor(labels), head.margins.default)


@pytest.mark.parametrize("name", ["ge2e", "angular_prototypical"])
def test_scale_stays_positive_and_is_not_decayed(name: str) -> None:
    head = build_head(name, 8, 2, {"scale": 4.0})
    assert head.no_weight_decay == {"scale"}
    assert head.state_dict()["scale"] == 4
    torch.nn.init.constant_(head.get_parameter("scale"), -3.0)
    _, losses, *_ = head(torch.randn(6, 8), speakers(3, 2), 0.0)
    torch.testing.assert_close(losses, torch.full((6,), 3.0).log(), atol=1e-5, rtol=0)  # scale 0: all speakers alike
