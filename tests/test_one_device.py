"""Mistakes that the check of devices must find, on the meta device."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.one_device import one_device

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
    "list of values": lambda x: torch.tensor([1.0, 2.0], device=META),
    "list of values, like another tensor": lambda x: x.new_tensor([1.0, 2.0]),
    "list as an index": lambda x: x[[0, 1, 2]],
    "list as a second index": lambda x: x[:, [0, 1]],
    "list as an index to write to": lambda x: x.__setitem__([0, 1], 0.0),
}
READ_BACK: dict[str, Callable[[Tensor], object]] = {
    "tensor through a mask": lambda x: x.__setitem__(x > 0, torch.empty(3, device=META)),
    "0-d tensor through a mask": lambda x: x.__setitem__(x > 0, torch.empty((), device=META)),
    "rows through a mask": lambda x: x.__setitem__((slice(None), x[0] > 0), torch.empty(4, 2, device=META)),
    "index_put": lambda x: x.index_put((x > 0,), torch.empty(3, device=META)),
    "cholesky": torch.linalg.cholesky,
    "solve": lambda x: torch.linalg.solve(x, x),
    "inv": torch.linalg.inv,
    "eigh": torch.linalg.eigh,
    "svd": torch.linalg.svd,
    "matrix_exp": torch.linalg.matrix_exp,
}


@pytest.mark.parametrize("case", MIXED)
def test_an_operator_that_mixes_devices_is_seen(case: str) -> None:
    with one_device(), pytest.raises(RuntimeError, match="meets tensors of two devices: cpu, meta"):
        MIXED[case](torch.empty(4, 4, device=META))


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("case", WAITING)
def test_a_copy_that_waits_is_seen(case: str, inference: bool) -> None:
    waits = pytest.raises(RuntimeError, match=r"to meta makes? the CPU wait")
    with torch.inference_mode(inference), one_device(), waits:
        WAITING[case](torch.empty(4, 4, device=META))


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("case", READ_BACK)
def test_what_a_gpu_reads_back_is_seen(case: str, inference: bool) -> None:
    waits = pytest.raises(RuntimeError, match="makes the CPU wait for meta")
    with torch.inference_mode(inference), one_device(), waits:
        READ_BACK[case](torch.empty(4, 4, device=META))


def test_a_backward_pass_that_mixes_devices_is_seen() -> None:
    class Mixed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            return grad @ torch.ones(4, 4)

    with one_device():
        result = Mixed.apply(torch.empty(4, 4, device=META, requires_grad=True))
        with pytest.raises(RuntimeError, match="two devices: cpu, meta"):
            result.sum().backward()


def test_one_device_numbers_and_copies_that_do_not_wait_are_let_through() -> None:
    x = torch.empty(4, 4, device=META)
    with one_device():
        x += torch.ones(4).to(META, non_blocking=True)
        x.copy_(torch.ones(4), non_blocking=True)
        assert (x * torch.tensor(2.0)).device == META
        x[x > 0] = 0.0
        x[torch.zeros(2, dtype=torch.int64, device=META)] = torch.empty(2, 4, device=META)
        assert torch.ones(4)[[0, 1]].tolist() == [1, 1] and torch.linalg.inv(torch.eye(2)).equal(torch.eye(2))
        assert (torch.ones(4) @ torch.ones(4)).item() == 4
