"""Triplet losses against loops over all triplets in float64, and by hand."""

import math

import pytest
import torch
from torch import Tensor

from sv.losses import build_head
from sv.losses.triplet import hardest, semihard


def distance(x: Tensor, y: Tensor) -> float:
    return float((x / x.norm() - y / y.norm()).square().sum())


def slow_loss(embedding: Tensor, speaker: list[int], anchor: int, margin: float, mining: str) -> float:
    to = [distance(embedding[anchor], x) for x in embedding]
    positives = [to[i] for i, y in enumerate(speaker) if y == speaker[anchor] and i != anchor]
    negatives = [to[i] for i, y in enumerate(speaker) if y != speaker[anchor]]
    if mining == "hardest":
        return max(0.0, margin + max(positives) - min(negatives))
    losses = []
    for positive in positives:
        farther = [negative for negative in negatives if negative > positive]
        losses.append(max(0.0, margin + positive - (min(farther) if farther else max(negatives))))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("mining", ["semihard", "hardest"])
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("margin", [0.0, 0.3, 1.5])
def test_loss_equals_a_slow_loop(mining: str, size: int, margin: float) -> None:
    torch.manual_seed(8)
    speaker = [y for y in (3, 0, 2, 1, 9) for _ in range(size)]
    embedding = torch.randn(len(speaker), 3, dtype=torch.float64)
    embedding[0] = -embedding[1]  # farther from its own than all others are
    _, losses, correct, *_ = build_head("triplet", 3, 4, {"utts_per_speaker": size, "mining": mining}).double()(
        embedding, torch.tensor(speaker), margin
    )
    for anchor, (loss, right) in enumerate(zip(losses.tolist(), correct.tolist(), strict=True)):
        assert loss == pytest.approx(slow_loss(embedding, speaker, anchor, margin, mining), abs=1e-12)
        order = sorted(
            (i for i in range(len(speaker)) if i != anchor), key=lambda i: distance(embedding[anchor], embedding[i])
        )
        assert right == (speaker[order[0]] == speaker[anchor])


def test_mining_by_hand() -> None:
    positive, negative = torch.tensor([[0.1, 0.4]]), torch.tensor([[0.2, 0.5, 0.9]])
    # semi-hard: 0.1 meets 0.2, 0.4 meets 0.5; both 0.3 - 0.1. Hardest: 0.4 meets 0.2
    torch.testing.assert_close(semihard(positive, negative, 0.3), torch.tensor([0.2]))
    torch.testing.assert_close(hardest(positive, negative, 0.3), torch.tensor([0.5]))
    # a positive beyond all negatives meets the farthest of them
    torch.testing.assert_close(semihard(torch.tensor([[1.0]]), negative, 0.3), torch.tensor([0.4]))


def test_two_speakers_by_hand() -> None:
    angles = torch.tensor([0.0, 60.0, 90.0, 90.0]).deg2rad()
    embedding = 5 * torch.stack([angles.cos(), angles.sin()], dim=1)
    _, losses, correct, *_ = build_head("triplet", 2, 2, {"mining": "hardest"})(
        embedding, torch.tensor([0, 0, 1, 1]), 0.3
    )
    # squared distances 2 - 2 cos: 1 at 60 degrees, 2 - sqrt(3) at 30, 2 at 90
    near = 2 - math.sqrt(3)
    torch.testing.assert_close(losses, torch.tensor([0.0, 1.3 - near, 0.3 - near, 0.3 - near]))
    assert correct.tolist() == [True, False, True, True]
