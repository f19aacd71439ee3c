"""AM-softmax against a loop in float64, and by hand."""

import math

import torch

from sv.losses import build_head
from sv.losses.am_softmax import AmSoftmax
from sv.losses.options import AmOptions


def slow_loss(cosine: list[float], speaker: int, scale: float, margin: float) -> float:
    top = math.exp(scale * (cosine[speaker] - margin))
    return -math.log(top / (top + sum(math.exp(scale * c) for j, c in enumerate(cosine) if j != speaker)))


def test_loss_equals_a_slow_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    cosine = torch.rand(6, 9, generator=generator, dtype=torch.float64) * 2 - 1
    speaker = torch.tensor([0, 8, 3, 3, 1, 5])
    expected = [slow_loss(row.tolist(), int(y), 15.0, 0.2) for row, y in zip(cosine, speaker, strict=True)]
    losses = AmSoftmax(4, 9, AmOptions(scale=15.0)).losses(cosine, speaker, 0.2)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def test_two_speakers_by_hand() -> None:
    head = build_head("am", 2, 2, {"scale": 10.0})
    head.load_state_dict({"weight": torch.tensor([[2.0, 0.0], [0.0, 5.0]])})
    _, losses, correct, *_ = head(torch.tensor([[3.0, 4.0]]), torch.tensor([1]), 0.1)
    assert correct.tolist() == [True]  # cosines 0.6, 0.8
    torch.testing.assert_close(losses, torch.tensor([math.log(1 + math.exp(10 * (0.6 - 0.7)))]))
