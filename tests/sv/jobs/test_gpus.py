"""Which GPU a job takes."""

import pytest
import torch

from sv.errors import UserError
from sv.jobs.gpus import choose_device


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
