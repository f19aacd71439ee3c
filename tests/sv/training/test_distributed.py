"""Who is who among several processes; trainings of several are in test_trainer.py."""

import os
import subprocess
import sys

import pytest
import torch

from sv.errors import UserError
from sv.training import distributed
from sv.training.distributed import PeersLost, World, reported_once, set_threads, visible_gpus


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


def test_batch_norm_is_not_synchronized_on_cpus():
    with pytest.raises(UserError, match="sync_bn: torch synchronizes batch norm between GPUs only; leave it out"):
        World(0, 2, torch.device("cpu")).sync_batch_norm(torch.nn.BatchNorm1d(2))


EXACT = """
import os, sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from sv.training.distributed import World
rank, size, path = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), sys.argv[1]
device = torch.device("cuda:0")
dist.init_process_group("gloo")  # NCCL refuses two processes on one GPU
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 3)).double().to(device)
batch = torch.randn(8, 4, dtype=torch.float64).to(device)
World(rank, size, device).sync_batch_norm(net)
loss = DistributedDataParallel(net, broadcast_buffers=False)(batch.chunk(size)[rank]).square().mean()
loss.backward()
if rank == 0:
    grads = {f"grad {name}": p.grad.cpu() for name, p in net.named_parameters()}
    torch.save({**grads, **{key: value.cpu() for key, value in net.state_dict().items()}}, path)
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_synchronized_batch_norm_of_two_processes_is_that_of_one_with_both_batches(tmp_path, worlds):
    """Gradients and running statistics, on one GPU that both use."""
    processes = []
    for size in (1, 2):
        for env in worlds(size):
            command = [sys.executable, "-c", EXACT, str(tmp_path / f"{size}.pt")]
            processes.append(subprocess.Popen(command, env={**os.environ, **env}))
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    one, two = (torch.load(tmp_path / f"{size}.pt", weights_only=True) for size in (1, 2))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize(
    ("rank", "error", "raised", "waited"),
    [
        (0, UserError("bad data"), UserError, []),
        (1, UserError("bad data"), UserError, [10]),
        (1, RuntimeError("Connection closed by peer"), PeersLost, [20]),
        (1, RuntimeError("shapes differ"), RuntimeError, []),
    ],
)
def test_rank_0_reports_first_and_a_broken_connection_is_told(monkeypatch, rank, error, raised, waited):
    slept = []
    monkeypatch.setattr(distributed.time, "sleep", slept.append)
    monkeypatch.delenv("GROUP_WORLD_SIZE", raising=False)
    with pytest.raises(raised), reported_once(World(rank, 2, torch.device("cpu"))):
        raise error
    assert slept == waited


def test_processes_of_one_machine_share_its_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(distributed.os, "cpu_count", lambda: 6)
    for num_threads, num_procs, expected in ((0, 2, 3), (5, 2, 5), (0, 1, 5)):
        set_threads(num_threads, num_procs)
        assert torch.get_num_threads() == expected
