"""Ranks of the processes of one training, and what they exchange.

`sv.training.launcher`, or torchrun, gives each process RANK, WORLD_SIZE, LOCAL_RANK and an address in its environment.
A process without them is a world of one.
"""

import os
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
        return self.rank == 0

    def barrier(self) -> None:
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
    """Join the other processes named in the environment, if any, by NCCL on GPUs or gloo on CPUs."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if use_gpu:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # crops have one size
    if size > 1:
        die_with_parent(os.getppid())
        dist.init_process_group("nccl" if use_gpu else "gloo", timeout=TIMEOUT)
    return World(rank, size, device)


def is_started() -> bool:
    """Return whether a launcher has started this process."""
    return "WORLD_SIZE" in os.environ


def visible_gpus(gpus: str) -> list[str]:
    """Return CUDA_VISIBLE_DEVICES for --gpus, whose numbers count the GPUs visible now.

    Raises:
        UserError: as `sv.jobs.gpus.parse_gpus`.
    """
    numbers = parse_gpus(gpus)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    return [names[number] for number in numbers]
