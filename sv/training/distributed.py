"""The processes of one training: how they join, exchange values and end.

`sv.training.launcher`, or torchrun, gives each process RANK, WORLD_SIZE, LOCAL_RANK and an address in its environment.
A process without them is a world of one.
"""

import ctypes
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sv.errors import UserError
from sv.jobs.gpus import parse_gpus
from sv.jobs.process import die_with_parent

TIMEOUT = timedelta(minutes=30)  # the first process may read a long list while the others wait
_OTHERS_WAIT_S = 10  # before they report an error, since all processes often fail for one reason
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


class PeersLost(UserError):
    """Other processes of the training are gone; this one can only start again together with them."""

    exit_status = 75  # EX_TEMPFAIL


@dataclass(frozen=True)
class World:
    """The processes of one training.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        device: where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True in the process that writes the files and reports."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any_of(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process."""
        if self.size == 1:
            return list(flags)
        return [count > 0 for count in self.sum(torch.tensor(flags, dtype=torch.float32, device=self.device)).tolist()]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Copy the buffers of rank 0, such as the running statistics of batch norm, to all processes."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def sync_batch_norm(self, module: nn.Module) -> None:
        """Make batch norm take its statistics over the batches of all processes.

        Raises:
            UserError: on CPUs, where torch cannot do this.
        """
        if self.device.type == "cpu":
            raise UserError(
                "sync_bn: torch synchronizes batch norm between GPUs only; leave it out (each process then "
                "normalizes by its own batch), or set freeze_batch_norm=true"
            )
        nn.SyncBatchNorm.convert_sync_batchnorm(module)

    def leave(self) -> None:
        """Wait until all processes have finished, since rank 0 writes more than the others; then leave."""
        if self.size > 1:
            self.barrier()
            dist.destroy_process_group()


def join(*, use_gpu: bool) -> World:
    """Join the other processes that the environment names, if any, by NCCL on GPUs or gloo on CPUs."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if use_gpu:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if size > 1:
        die_with_parent(os.getppid())
        dist.init_process_group("nccl" if use_gpu else "gloo", timeout=TIMEOUT)
    return World(rank, size, device)


@contextmanager
def reported_once(world: World) -> Iterator[None]:
    """Let rank 0 report an error that all processes meet; the others wait before they raise theirs.

    Raises:
        PeersLost: the connection to other processes broke.
    """
    try:
        yield
    except (UserError, OSError):
        if not world.is_main:
            time.sleep(_OTHERS_WAIT_S)
        raise
    except RuntimeError as error:
        if world.size == 1 or not re.search("(?i)gloo|nccl|connection|peer|socket|store", str(error)):
            raise
        if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":  # on one node the failed process usually ends this one
            time.sleep(2 * _OTHERS_WAIT_S)
        raise PeersLost(f"process {world.rank} lost the other training processes ({str(error)[:200]})") from error


def is_started() -> bool:
    """Return whether a launcher has started this process."""
    return "WORLD_SIZE" in os.environ


def wants_gpu(gpus: str) -> bool:
    """Return whether a started process uses a GPU; its launcher has made the GPUs of --gpus visible."""
    return gpus not in ("", "none", "cpu") and torch.cuda.is_available()


def set_threads(num_threads: int, num_procs: int) -> None:
    """Set torch's threads on the CPU; 0 shares the cores among the `num_procs` processes of this machine."""
    if num_threads:
        torch.set_num_threads(num_threads)
    elif num_procs > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // num_procs))


def keep_freed_memory() -> None:
    """Keep freed memory in the process for later use, instead of giving it back to the system (glibc only).

    By default glibc maps new memory for each tensor of over 32 MiB, and the kernel clears its pages one by one. That
    takes a fifth of the time of a `resnet_small` step of 64 crops.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)  # never


def visible_gpus(gpus: str) -> list[str]:
    """Return CUDA_VISIBLE_DEVICES for --gpus, whose numbers count the GPUs visible now.

    Raises:
        UserError: as `sv.jobs.gpus.parse_gpus` raises.
    """
    numbers = parse_gpus(gpus)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    return [names[number] for number in numbers]
