"""What the check of devices must see, on the meta device."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.one_device import OneDevice

META = torch.device("meta")
MIXED: dict[str, Callable[[Tensor], object]] = {
    "product": lambda x: x @ torch.ones(4, 4),
    "sum of a product": lambda x: x.addmm_(x, torch.ones(4, 4)),
    "index": lambda x: x[torch.arange(2)],
    "product with the unit matrix": lambda x: x.mT @ torch.eye(4),
    "sum": lambda x: x + torch.ones(4),
    "index of scatter": lambda x: x.scatter(1, torch.zeros(4, 1, dtype=torch.int64), 1.0),
}
WAITING: dict[str, Callable[[Tensor], object]] = {
    "batch": lambda x: torch.ones(4).to(META),
    "number": lambda x: torch.tensor(1.0).to(META),
    "into a tensor": lambda x: x.copy_(torch.ones(4)),
    "into a part": lambda x: x.__setitem__(0, torch.ones(4)),
}


@pytest.mark.parametrize("case", MIXED)
def test_an_operator_that_mixes_devices_is_seen(case: str) -> None:
    with OneDevice(), pytest.raises(RuntimeError, match="meets tensors of two devices: cpu, meta"):
        MIXED[case](torch.empty(4, 4, device=META))


@pytest.mark.parametrize("case", WAITING)
def test_a_copy_that_waits_is_seen(case: str) -> None:
    with OneDevice(), pytest.raises(RuntimeError, match=r"to meta makes the CPU wait"):
        WAITING[case](torch.empty(4, 4, device=META))


def test_a_backward_pass_that_mixes_devices_is_seen() -> None:
    class Mixed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            return grad @ torch.ones(4, 4)

    with OneDevice():
        result = Mixed.apply(torch.empty(4, 4, device=META, requires_grad=True))
        with pytest.raises(RuntimeError, match="two devices: cpu, meta"):
            result.sum().backward()


def test_one_device_numbers_and_copies_that_do_not_wait_are_let_through() -> None:
    x = torch.empty(4, 4, device=META)
    with OneDevice():
        x += torch.ones(4).to(META, non_blocking=True)
        x.copy_(torch.ones(4), non_blocking=True)
        assert (x * torch.tensor(2.0)).device == META
        assert (torch.ones(4) @ torch.ones(4)).item() == 4
