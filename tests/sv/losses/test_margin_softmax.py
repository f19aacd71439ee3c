"""Properties of all softmax losses with a margin."""

import math

import pytest
import torch
from torch import Tensor

from sv.losses import build_head
from sv.losses.margin_softmax import MarginSoftmax
from sv.losses.options import MarginSoftmaxOptions


class Halved(MarginSoftmax):
    def moved(self, cosine: Tensor, margin: float) -> Tensor:
        return cosine / 2


def test_loss_is_a_cross_entropy_with_the_moved_cosine_of_the_true_speaker() -> None:
    head = Halved(2, 3, MarginSoftmaxOptions(scale=10.0))
    losses = head.losses(torch.tensor([[0.8, 0.5, -0.1]]), torch.tensor([0]), 0.0)
    expected = math.log(math.exp(4) + math.exp(5) + math.exp(-1)) - 4
    torch.testing.assert_close(losses, torch.tensor([expected]))


@pytest.mark.parametrize("name", ["am", "aam", "sphereface2"])
def test_correct_is_the_highest_cosine_without_margin(name: str) -> None:
    head = build_head(name, 2, 3, {})
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    head.load_state_dict(head.state_dict() | {"weight": weight})
    embedding = torch.tensor([[1.0, 0.9], [1.0, 1.1], [-9.0, 0.0]])
    _, losses, correct, *_ = head(embedding, torch.tensor([0, 0, 2]), 0.2)  # the first wins by less than the margin
    assert losses.shape == (3,)
    assert correct.tolist() == [True, False, True]
