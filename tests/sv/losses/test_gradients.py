"""A loss with known gradients: they are scaled, and handed on once."""

import pytest
import torch

from sv.losses.gradients import with_gradients


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_known_gradients_are_scaled_by_what_follows(factor: float) -> None:
    one, other = torch.randn(3, requires_grad=True), torch.randn(2, requires_grad=True)
    known = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0])
    loss = with_gradients(torch.tensor(7.0), (one, known[0].clone()), (other, known[1].clone()))
    assert loss == 7
    found = torch.autograd.grad(factor * loss, (one, other))
    torch.testing.assert_close(found, tuple(factor * grad for grad in known))


def test_a_loss_is_differentiated_once() -> None:
    """Gradients are handed on and not copied: a copy of a million speakers' is a gigabyte."""
    weight = torch.randn(3, requires_grad=True)
    loss = with_gradients(torch.tensor(7.0), (weight, torch.ones(3)))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated already"):
        loss.backward()
