"""Inter-top-k AAM-softmax with sub-centers against WeSpeaker's formula."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize, one_hot

from sv.losses import build_head


def wespeaker_loss(embedding: Tensor, weight: Tensor, speaker: Tensor, margin: float) -> Tensor:
    """WeSpeaker's arc_margin_intertopk_subcenter with K 3, mp 0.06, k_top 5, from its formula."""
    cosine = linear(normalize(embedding), normalize(weight)).reshape(len(embedding), -1, 3).max(2).values
    sine, penalty = (1 - cosine**2).sqrt(), 0.06 * margin / 0.2
    target = cosine * math.cos(margin) - sine * math.sin(margin)
    target = target.where(cosine > math.cos(math.pi - margin), cosine - 1 - math.cos(math.pi - margin))
    harder = cosine * math.cos(penalty) + sine * math.sin(penalty)
    is_target = one_hot(speaker, cosine.shape[1])
    is_top = one_hot((cosine - 2 * is_target).topk(5).indices, cosine.shape[1]).sum(1)
    return cross_entropy(32 * (is_target * target + is_top * harder + (1 - is_target - is_top) * cosine), speaker)


@pytest.mark.parametrize("margin", [0.1, 0.2, 0.5])
def test_loss_and_gradients_equal_wespeakers(margin: float) -> None:
    torch.manual_seed(5)
    head = build_head("aam_intertopk_subcenter", 6, 20, {}).double()
    embedding = torch.randn(64, 6, dtype=torch.float64, requires_grad=True)
    weight, speaker = head.get_parameter("weight"), torch.randint(20, (64,))
    loss = head(embedding, speaker, margin).loss
    expected = wespeaker_loss(embedding, weight.flatten(0, 1), speaker, margin)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, [embedding, weight]) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)
