"""The loss against a teacher alone: no labels, no weight vectors."""

import pytest
import torch

from sv.losses import build_head
from sv.losses.distillation import Distillation


def test_the_loss_is_distillation_and_right_is_who_is_nearest_to_the_own_teacher():
    head = build_head("teacher", 2, 2, {})
    assert not list(head.parameters())
    head.distillation = Distillation(2, 2, 1.0)
    embedding = torch.tensor([[1.0, 0], [0, 1], [0, 1]], requires_grad=True)
    target = torch.tensor([[1.0, 0], [0, 2], [-1, 0]])  # cosines to the own one 1, 1 and 0
    output = head(embedding, torch.tensor([5, 7, 9]), 0.0, None, target)
    assert output.losses.tolist() == pytest.approx([0, 0, 1])
    assert float(output.loss.detach()) == pytest.approx(1 / 3)
    assert output.correct.tolist() == [True, True, False]
    output.loss.backward()
    assert embedding.grad[2].tolist() == pytest.approx([1 / 3, 0])  # towards (-1, 0)


def test_bf16_embeddings_are_compared_in_float32():
    head = build_head("teacher", 64, 2, {})
    head.distillation = Distillation(64, 64, 1.0)
    torch.manual_seed(0)
    embedding = torch.randn(8, 64).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = head(embedding, torch.zeros(8, dtype=torch.int64), 0.0, None, embedding.float())
    assert output.losses.dtype == torch.float32
    assert output.losses.abs().max() < 1e-6
