"""A-softmax against a loop over angles in float64, WeSpeaker's formula with its annealing, and by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize, one_hot

from sv.config import MarginUpdate
from sv.losses import build_head
from sv.losses.options import SphereFaceOptions
from sv.losses.sphereface import multiplied_angle
from sv.training.schedules import Margin


def psi(theta: float, factor: int) -> float:
    k = min(int(theta * factor / math.pi), factor - 1)
    return (-1) ** k * math.cos(factor * theta) - 2 * k


def slow_loss(cosine: list[float], norm: float, speaker: int, factor: int, lam: float) -> float:
    theta = math.acos(cosine[speaker])
    phi = (lam * math.cos(theta) + psi(theta, factor)) / (1 + lam)
    top = math.exp(norm * phi)
    return -math.log(top / (top + sum(math.exp(norm * c) for j, c in enumerate(cosine) if j != speaker)))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("lam", [0.0, 5.0, 1000.0])
def test_loss_equals_a_slow_loop(factor: int, lam: float) -> None:
    generator = torch.Generator().manual_seed(2)
    embedding = 3 * torch.randn(40, 5, generator=generator, dtype=torch.float64)
    speaker = torch.arange(40) % 5
    head = build_head("sphere", 5, 5, {"angle_factor": factor}).double()
    head.load_state_dict({"weight": torch.eye(5)})  # an embedding's values are its products with the speakers
    norm = embedding.norm(dim=1)
    rows = zip((embedding / norm[:, None]).tolist(), norm.tolist(), speaker.tolist(), strict=True)
    expected = [slow_loss(row, length, y, factor, lam) for row, length, y in rows]
    losses = head(embedding, speaker, 1 / (1 + lam))[1]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def wespeaker_loss(embedding: Tensor, weight: Tensor, speaker: Tensor, step: int) -> Tensor:
    """WeSpeaker's `sphere` (n = 4) at its step-th call, from its formula."""
    lam = max(5.0, 1000.0 / (1 + 0.12 * step))
    cosine = linear(normalize(embedding), normalize(weight))
    k = (4 * cosine.detach().acos() / math.pi).floor()
    moved = (-1.0) ** k * (8 * cosine**4 - 8 * cosine**2 + 1) - 2 * k
    output = one_hot(speaker, weight.shape[0]) * (moved - cosine) / (1 + lam) + cosine
    return cross_entropy(output * embedding.norm(dim=1, keepdim=True), speaker)


@pytest.mark.parametrize("step", [1, 500, 5000])
def test_loss_and_gradients_equal_wespeakers(step: int) -> None:
    torch.manual_seed(3)
    head = build_head("sphere", 6, 30, {}).double()
    embedding = 3 * torch.randn(64, 6, dtype=torch.float64)
    embedding.requires_grad_()
    speaker = torch.randint(30, (64,))
    margin = 1 / (1 + max(5.0, 1000 / (1 + 0.12 * step)))
    parameters = [embedding, *head.parameters()]
    loss = head(embedding, speaker, margin).loss
    expected = wespeaker_loss(embedding, head.get_parameter("weight"), speaker, step)
    torch.testing.assert_close(loss, expected)
    ours, theirs = torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    torch.testing.assert_close(ours, theirs)


def test_a_linear_margin_schedule_is_the_papers_annealing() -> None:
    update = MarginUpdate(increase_start_epoch=1, fix_start_epoch=2, increase_type="linear")
    schedule = Margin(update, SphereFaceOptions().margins.default, steps_per_epoch=1658)
    papers = [1 / (1 + max(5.0, 1000 / (1 + 0.12 * step))) for step in range(3000)]
    assert max(abs(schedule(step) - share) for step, share in enumerate(papers)) < 0.01
    assert schedule(1658) == papers[-1] == 1 / 6


@pytest.mark.parametrize("factor", [1, 2, 4, 5, 8])
def test_multiplied_angle_falls_from_1_to_1_minus_2n_without_a_jump(factor: int) -> None:
    cosine = torch.linspace(1, -1, 100001, dtype=torch.float64)
    values = multiplied_angle(cosine, factor)
    assert values[0] == 1
    assert values[-1] == 1 - 2 * factor
    assert values.diff().max() <= 1e-12
    assert values.diff().min() > -factor * factor * 1.1 * 2 / 100000  # the steepest slope is n^2, at +-1


def test_two_speakers_by_hand() -> None:
    head = build_head("sphere", 2, 2, {"angle_factor": 2})
    head.load_state_dict({"weight": torch.tensor([[7.0, 0.0], [0.0, 5.0]])})
    _, losses, correct, *_ = head(torch.tensor([[3.0, 4.0]]), torch.tensor([0]), 0.5)
    assert correct.tolist() == [False]
    # |x| 5, cosines 0.6 and 0.8; psi = 2 * 0.36 - 1 = -0.28 (k 0: 53 degrees are under 90); phi = (0.6 - 0.28) / 2
    torch.testing.assert_close(losses, torch.tensor([math.log(1 + math.exp(5 * (0.8 - 0.16)))]))
