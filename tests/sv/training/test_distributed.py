"""Who is who among several processes; trainings of several are in test_experiment.py."""

import pytest
import torch

from sv.errors import UserError
from sv.training import distributed
from sv.training.distributed import World, visible_gpus


@pytest.mark.parametrize(
    ("text", "there", "numbers"),
    [
        ("0,1", 2, ["0", "1"]),
        ("[0, 1]", 2, ["0", "1"]),
        ("1", 2, ["1"]),
        ("auto", 2, ["0"]),
        ("auto", 0, []),
        ("none", 2, []),
        ("", 2, []),
    ],
)
def test_gpus_are_read_as_wespeaker_writes_them(monkeypatch, text, there, numbers):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: there)
    assert visible_gpus(text) == numbers


@pytest.mark.parametrize(
    ("text", "message"), [("7", "no GPU 7 here, torch sees 2"), ("a", "expected numbers"), ("0,0", "expected numbers")]
)
def test_gpus_that_can_not_be_are_refused(monkeypatch, text, message):
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=message):
        visible_gpus(text)


def test_gpus_are_counted_among_those_that_a_scheduler_lent(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: 2)
    assert [visible_gpus("auto"), visible_gpus("1"), visible_gpus("0,1")] == [["3"], ["GPU-ab"], ["3", "GPU-ab"]]


def test_a_world_of_one_needs_no_communication():
    world = World(0, 1, torch.device("cpu"))
    assert world.any_of(True, False) == [True, False]
    assert world.gather("x") == ["x"]
    assert world.sum(torch.ones(2)).tolist() == [1, 1]
    world.barrier()
    world.leave()
