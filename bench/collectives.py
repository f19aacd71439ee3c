#!/usr/bin/env python3
"""Cost of a step of a head in several processes: split over them (--set split_head=true), or whole in each (DDP).

Measures loss and gradients of the head alone, without optimizer, with gloo on the CPU and one thread a process. Counts:

rounds        the longest chain of collectives in which each starts after the one before was waited for
calls         all collectives
sent_mib      what a process sends, from the sizes of the tensors in these calls and the shares of ring algorithms:
              (n - 1) / n of what is gathered or scattered, twice that of an all-reduce
weight_reads  numbers read from matrices of W's shape (W, its unit rows, its gradient), in units of this process's W;
              operations on the rows of a batch alone are left out
logit_reads   the same for matrices (utterances of all processes that are worked on here, speakers here)

`seconds` is the shortest step, from barrier to barrier; `ratio` is the time of DDP over that of the split head.
Usage: bench/collectives.py [--quick]
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from bench.common import parse_quick, report
from sv.losses import build_head
from sv.losses.blocks import block_rows
from sv.losses.head import Head

SPEAKERS = 17_982
HEADS: dict[str, dict[str, str]] = {
    "sphereface2": {"margin_type": "C"},
    "softmax": {},
    "sphere": {},
    "aam": {},
    "aam_subcenter": {},
    "aam_intertopk": {},
}
TURNS, QUICK_TURNS = 12, 4
SHARES: dict[str, Callable[[Tensor, int], float]] = {  # bytes that a process sends in a collective
    "all_gather_into_tensor": lambda given, size: given.nbytes * (size - 1),
    "reduce_scatter_tensor": lambda given, size: given.nbytes * (size - 1) / size,
    "all_reduce": lambda given, size: 2 * given.nbytes * (size - 1) / size,
}
FEW_ROWS = {"aten::index", "aten::gather", "aten::scatter", "aten::scatter_", "aten::empty_like", "aten::new_empty"}


@dataclass
class Calls:
    """Counts collectives as they are started and waited for.

    Attributes:
        rounds, calls, sent: see the top of this file; sent in bytes.
        complete: round of the latest collective that was waited for.
    """

    rounds: int = 0
    calls: int = 0
    sent: float = 0.0
    complete: int = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the collectives of torch.distributed within this context."""
        with ExitStack() as stack:
            for name in SHARES:
                watched = partial(self._call, name, getattr(dist, name))
                stack.enter_context(mock.patch.object(dist, name, watched))
            yield

    def _call(
        self, name: str, collective: Callable[..., Any], *args: Any, async_op: bool = False, **options: Any
    ) -> Any:
        given = args[0] if name == "all_reduce" else args[1]
        self.calls += 1
        self.sent += SHARES[name](given, dist.get_world_size())
        pending = Pending(collective(*args, async_op=True, **options), self, self.complete + 1)
        self.rounds = max(self.rounds, pending.round)
        return pending if async_op else pending.wait()


@dataclass
class Pending:
    """A collective in progress, which records that it was waited for."""

    work: dist.Work
    calls: Calls
    round: int

    def wait(self) -> None:
        """Wait for the collective."""
        self.work.wait()
        self.calls.complete = max(self.calls.complete, self.round)


@dataclass
class Reads(TorchDispatchMode):
    """Counts the numbers that operations read from matrices of two shapes; views read nothing.

    Args:
        batch: utterances that this process works on.
        dim: of the embeddings.
    """

    batch: int
    dim: int
    weight: int = 0
    logits: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_view = any(out.alias_info is not None and not out.alias_info.is_write for out in func._schema.returns)
        if not is_view and func._schema.name not in FEW_ROWS:
            for tensor in (arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)):
                if tensor is not kwargs.get("out"):
                    self._note(tensor)
        return func(*args, **kwargs)

    def _note(self, tensor: Tensor) -> None:
        shape = set(tensor.shape)
        if tensor.dim() != 2 or len(shape) != 2 or 1 in shape:
            return
        if self.dim in shape and self.batch not in shape:
            self.weight += tensor.numel()
        elif self.batch in shape and self.dim not in shape:
            self.logits += tensor.numel()


@dataclass
class Case:
    """A head, split or whole, and a batch of this process."""

    name: str
    batch: int
    dim: int
    is_split: bool

    def prepare(self) -> Callable[..., None]:
        """Return a function that makes one step."""
        torch.manual_seed(0)
        head = build_head(self.name, self.dim, SPEAKERS, HEADS[self.name])
        if self.is_split:
            head.split(dist.get_rank(), dist.get_world_size())
        self.rows = SPEAKERS if head.part is None else head.part.last - head.part.first
        torch.manual_seed(1 + dist.get_rank())
        embedding = torch.randn(self.batch, self.dim, requires_grad=True)
        speaker = torch.randint(SPEAKERS, (self.batch,))
        module = head if self.is_split else with_hook(DistributedDataParallel(head, broadcast_buffers=False))
        return partial(step, module, head, embedding, speaker)

    def count(self, run: Callable[..., None]) -> dict[str, float]:
        """Count the collectives and reads of a step."""
        calls = Calls()
        reads = Reads(self.batch * (dist.get_world_size() if self.is_split else 1), self.dim)
        block = block_rows(reads.batch, torch.empty(0))
        assert len({reads.batch, self.dim, block}) == 3, "matrices are distinguished by their shapes"
        with calls.watching(), reads:
            run()
        return {
            "rounds": calls.rounds,
            "calls": calls.calls,
            "sent_mib": calls.sent / 2**20,
            "weight_reads": reads.weight / (self.rows * self.dim),
            "logit_reads": reads.logits / (self.rows * reads.batch),
        }


def with_hook(ddp: DistributedDataParallel) -> DistributedDataParallel:
    """Let DDP reduce its buckets by torch.distributed's function, where they can be counted."""

    def reduce(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
        work = dist.all_reduce(bucket.buffer(), async_op=True)
        future = getattr(work, "work", work).get_future()
        return future.then(lambda done: done.value()[0].div_(dist.get_world_size()))

    ddp.register_comm_hook(None, reduce)
    return ddp


def step(module: torch.nn.Module, head: Head, embedding: Tensor, speaker: Tensor) -> None:
    """Compute the loss and all gradients."""
    module.zero_grad(set_to_none=True)
    embedding.grad = None
    module(embedding, speaker, head.margins.default).loss.backward()


def shortest(turns: int, *steps: Callable[..., None]) -> list[float]:
    """Return the shortest time of each step in seconds; steps take turns, and one more turn, the first, warms up."""
    best = [float("inf")] * len(steps)
    for turn in range(turns + 1):
        for index, run in enumerate(steps):
            dist.barrier()
            begin = time.perf_counter()
            run()
            dist.barrier()
            best[index] = min(best[index], time.perf_counter() - begin if turn else float("inf"))
    return best


def measure(name: str, batch: int, dim: int, turns: int) -> None:
    """Measure a head in both forms."""
    split, whole = Case(name, batch, dim, is_split=True), Case(name, batch, dim, is_split=False)
    steps = [split.prepare(), whole.prepare()]
    split_seconds, whole_seconds = shortest(turns, *steps)
    counted = [case.count(run) for case, run in zip((split, whole), steps, strict=True)]
    if dist.get_rank() == 0:
        where = f"w{dist.get_world_size()} b{batch} d{dim} c{SPEAKERS}"
        report("collectives", f"{name} split {where}", split_seconds, whole_seconds, **counted[0])
        report("collectives", f"{name} DDP {where}", whole_seconds, **counted[1])


def work(rank: int, size: int, meeting: Path, sizes: list[tuple[int, int]], turns: int) -> None:
    """Measure all heads and sizes in one process."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    for batch, dim in sizes:
        for name in HEADS:
            measure(name, batch, dim, turns)
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    """Run all cases and print their figures."""
    quick = parse_quick(__doc__)
    turns = QUICK_TURNS if quick else TURNS
    sizes = [(32, 256)] if quick else [(batch, dim) for batch in (32, 160) for dim in (192, 256)]
    for size in (2, 4):
        with tempfile.TemporaryDirectory() as folder:
            spawn(work, (size, Path(folder) / "meeting", sizes, turns), nprocs=size)


if __name__ == "__main__":
    main()
