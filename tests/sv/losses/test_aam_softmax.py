"""AAM-softmax against a loop over angles in float64, WeSpeaker's formula, and by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize, one_hot

from sv.losses import build_head
from sv.losses.aam_softmax import AamSoftmax
from sv.losses.options import AamOptions


def slow_loss(cosine: list[float], speaker: int, scale: float, margin: float, easy_margin: bool) -> float:
    theta = math.acos(cosine[speaker])
    if easy_margin:
        phi = math.cos(theta + margin) if theta < math.pi / 2 else math.cos(theta)
    else:
        phi = math.cos(theta + margin) if theta + margin <= math.pi else math.cos(theta) - (1 - math.cos(margin))
    top = math.exp(scale * phi)
    return -math.log(top / (top + sum(math.exp(scale * c) for j, c in enumerate(cosine) if j != speaker)))


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.2])
def test_loss_equals_a_slow_loop(margin: float, easy_margin: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    cosine = torch.rand(40, 5, generator=generator, dtype=torch.float64) * 1.99 - 0.995
    speaker = torch.arange(40) % 5
    assert (cosine.gather(1, speaker[:, None]) < -math.cos(1.2)).any()  # some targets lie past pi - m
    expected = [
        slow_loss(row.tolist(), int(y), 12.0, margin, easy_margin) for row, y in zip(cosine, speaker, strict=True)
    ]
    losses = AamSoftmax(4, 5, AamOptions(scale=12.0, easy_margin=easy_margin)).losses(cosine, speaker, margin)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def wespeaker_loss(embedding: Tensor, weight: Tensor, speaker: Tensor, scale: float, margin: float) -> Tensor:
    """WeSpeaker's arc margin, from its formula."""
    cosine = linear(normalize(embedding), normalize(weight))
    moved = cosine * math.cos(margin) - (1 - cosine**2).sqrt() * math.sin(margin)
    moved = moved.where(cosine > math.cos(math.pi - margin), cosine - 1 - math.cos(math.pi - margin))
    return cross_entropy(scale * moved.where(one_hot(speaker, weight.shape[0]) > 0, cosine), speaker)


def test_loss_and_gradients_equal_wespeakers() -> None:
    torch.manual_seed(3)
    head = build_head("aam", 6, 30, {}).double()
    embedding = torch.randn(64, 6, dtype=torch.float64, requires_grad=True)
    speaker = torch.randint(30, (64,))
    parameters = [embedding, *head.parameters()]
    loss = head(embedding, speaker, 0.4).loss
    expected = wespeaker_loss(embedding, head.get_parameter("weight"), speaker, 32.0, 0.4)
    torch.testing.assert_close(loss, expected)
    ours, theirs = torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    torch.testing.assert_close(ours, theirs)


def test_two_speakers_by_hand() -> None:
    head = build_head("aam", 2, 2, {"scale": 10.0})
    head.load_state_dict({"weight": torch.tensor([[2.0, 0.0], [0.0, 5.0]])})
    embedding = torch.tensor([[math.cos(math.pi / 3), math.sin(math.pi / 3)]])  # 60 degrees from speaker 0, 30 from 1
    _, losses, correct, *_ = head(embedding, torch.tensor([0]), math.pi / 6)
    assert correct.tolist() == [False]
    torch.testing.assert_close(losses, torch.tensor([math.log(1 + math.exp(10 * math.sqrt(0.75)))]))  # cos 90 = 0
