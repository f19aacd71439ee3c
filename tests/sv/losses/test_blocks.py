"""Products of a block of weight vectors and their gradients, against autograd in float64."""

import pytest
import torch

from sv.losses.blocks import Block, block_rows


@pytest.mark.parametrize("unit_rows", [True, False])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_products_and_gradients_are_autograd_s(scale: float, unit_rows: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    embedding, weight, grad = (torch.randn(shape, generator=generator) for shape in ((5, 4), (7, 4), (5, 7)))
    x, w = embedding.double().requires_grad_(), weight.double().requires_grad_()
    products = scale * x @ (w / w.norm(dim=1, keepdim=True) if unit_rows else w).T
    (products * grad.double()).sum().backward()

    block = Block(embedding, weight, scale=scale, unit_rows=unit_rows)
    assert torch.allclose(block.products.double(), products, rtol=1e-5, atol=1e-5)
    before = torch.ones(5, 4)
    embedding_grad, weight_grad = before.clone(), torch.full((7, 4), float("nan"))
    block.add_gradients(grad.clone(), embedding_grad, weight_grad)
    assert x.grad is not None and w.grad is not None
    assert torch.allclose((embedding_grad - before).double(), x.grad, rtol=1e-4, atol=1e-4)
    assert torch.allclose(weight_grad.double(), w.grad, rtol=1e-4, atol=1e-4)


def test_a_row_without_direction_is_0_and_stays() -> None:
    weight, embedding_grad, weight_grad = torch.zeros(2, 3), torch.zeros(1, 3), torch.empty(2, 3)
    block = Block(torch.ones(1, 3), weight)
    block.add_gradients(torch.ones(1, 2), embedding_grad, weight_grad)
    assert not block.products.any() and not embedding_grad.any() and not weight_grad.any()


@pytest.mark.parametrize(("batch", "rows"), [(128, 2048), (4096, 64), (100_000, 64)])
def test_a_block_of_a_batch_takes_a_mebibyte_or_64_rows(batch: int, rows: int) -> None:
    assert block_rows(batch, torch.zeros(1)) == rows
