"""Softmax against a loop, and its constant margin of 0."""

import math

import pytest
import torch

from sv.errors import UserError
from sv.losses import build_head


def test_loss_equals_a_slow_loop() -> None:
    torch.manual_seed(4)
    head = build_head("softmax", 3, 4, {}).double()
    weight, bias = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    head.load_state_dict({"weight": weight, "bias": bias})
    embedding, speaker = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 3, 2, 2, 1])
    expected, best = [], []
    for x, y in zip(embedding, speaker, strict=True):
        logits = [float(x @ w + b) for w, b in zip(weight, bias, strict=True)]
        expected.append(math.log(sum(math.exp(z) for z in logits)) - logits[int(y)])
        best.append(max(range(4), key=logits.__getitem__) == int(y))
    _, losses, correct, *_ = head(embedding, speaker, 0.0)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))
    assert correct.tolist() == best


def test_a_margin_is_refused() -> None:
    head = build_head("softmax", 3, 4, {})
    with pytest.raises(UserError, match=r"margin 0\.2 does not fit: Softmax has no margin"):
        head(torch.randn(2, 3), torch.tensor([0, 1]), 0.2)
