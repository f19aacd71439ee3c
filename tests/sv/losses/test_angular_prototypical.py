"""The angular prototypical loss by hand; test_prototypical.py has a loop for both."""

import math

import torch

from sv.losses import build_head


def test_two_speakers_by_hand() -> None:
    angles = torch.tensor([0.0, 60.0, 90.0, 180.0]).deg2rad()
    embedding = torch.tensor([[3.0], [1.0], [1.0], [7.0]]) * torch.stack([angles.cos(), angles.sin()], dim=1)
    _, losses, *_ = build_head("angular_prototypical", 2, 2, {})(embedding, torch.tensor([0, 0, 1, 1]), 0.0)
    pairs = [(60, 180), (60, 30), (90, 30), (90, 180)]  # degrees from each query to its own prototype and to the other
    expected = [math.log(1 + math.exp(10 * (math.cos(math.radians(b)) - math.cos(math.radians(a))))) for a, b in pairs]
    torch.testing.assert_close(losses, torch.tensor(expected))
