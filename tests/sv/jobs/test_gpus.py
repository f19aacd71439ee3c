"""Choose the GPU of a job, and copy data to it."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from sv.errors import UserError
from sv.jobs.gpus import choose_device, send
from sv.losses.label_confidence import Confidence
from tests.one_device import one_device


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("none", 1) == choose_device("auto", 3) == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", 3) == "cuda:0"
    assert [choose_device("[0,1]", job) for job in (1, 2, 3)] == ["cuda:0", "cuda:1", "cuda:0"]
    with pytest.raises(UserError, match="no GPU 2 here, torch sees 2"):
        choose_device("0,2", 2)
    with pytest.raises(UserError, match="expected numbers, as in 0,1; or auto, or none"):
        choose_device("all", 1)


def test_what_goes_to_a_gpu_is_pinned_first_and_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[Tensor] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    with FakeTensorMode(), one_device():
        weight, ignored = torch.ones(3), torch.ones(3, 2)
        assert send(weight, cpu).device == cpu and not pinned
        there = send(weight, gpu)
        assert there.device == send(there, gpu).device == gpu and len(pinned) == 1
        confidence = Confidence(weight, ignored, torch.ones(4, device=gpu)).to(gpu)
        assert [part.device for part in confidence if part is not None] == 3 * [gpu]
    assert len(pinned) == 3
