"""Settings of a GPU, and the line of the log, on a machine that need not have one."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from steps import train
from sv.config import Config
from sv.errors import UserError
from sv.training.gpu import describe_gpu, set_up_gpu


@pytest.mark.parametrize("tf32", [True, False])
def test_convolutions_are_searched_for_and_rounded_as_the_configuration_says(
    tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not tf32)
    set_up_gpu(Config(tf32=tf32))
    assert torch.backends.cudnn.benchmark and torch.backends.cudnn.allow_tf32 is tf32
    assert not torch.backends.cuda.matmul.allow_tf32, "the products of the head"


def test_the_log_says_name_memory_and_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 << 29)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 << 30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA X")
    assert describe_gpu(torch.device("cuda", 0), 1234.5) == "NVIDIA X: at most 1.5 of 80.0 GiB, 1234 samples/s"


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", ""])
def test_memory_grows_in_segments_unless_the_user_has_set_the_allocator(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(known, "")
        monkeypatch.delenv(known)
    if name:
        monkeypatch.setenv(name, "max_split_size_mb:64")
    monkeypatch.setattr(sys, "argv", ["train.py", str(tmp_path), str(tmp_path / "exp")])
    with pytest.raises(UserError, match="exp"):
        train.main()
    set_now = {key: os.environ[key] for key in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF") if key in os.environ}
    assert set_now == ({name: "max_split_size_mb:64"} if name else {"PYTORCH_ALLOC_CONF": "expandable_segments:True"})
