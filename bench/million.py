#!/usr/bin/env python3
"""A training of a million synthetic speakers, whose head is split over four processes of this machine (gloo).

Each step is that of a training: resnet_small on random features, DistributedDataParallel around it, SphereFace2-C with
its vectors shared out, SGD. Reported, of the slowest and largest process:

seconds        median step; floor: the three bare products of the vectors of a process with the batch of all processes,
               in all processes at once
built_mib      memory when network and optimizer are built
trained_mib    the same after the last step; predicted_mib: built, and gradient and momentum of the vectors
               (docs/scaling.md)
peak_mib       the most memory so far: the whole head is drawn once before a process keeps its part

Usage: bench/million.py [--speakers N] [--procs N] [--steps N] [--batch N]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from bench.common import report
from bench.head import products
from bench.loader_waves import peak_mib
from sv.config import parse_config
from sv.system import resolve
from sv.training.network import build_network
from sv.training.optimizer import build_optimizer, set_learning_rate

DIM, FRAMES, MIB = 256, 200, 2**20


def held_mib() -> float:
    """Return the memory that this process holds now."""
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * 4096 / MIB


def largest(*values: float) -> list[float]:
    """Return the largest of each value over all processes."""
    found = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return found.tolist()


def work(rank: int, args: argparse.Namespace, meeting: Path) -> None:
    """Train in one process."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=args.procs)
    keys = {"model": "resnet_small", "model_args": {"embed_dim": DIM}, "num_speakers": args.speakers}
    config = resolve(parse_config(keys, "bench"), "bench")
    torch.manual_seed(0)
    net = build_network(config)
    net.head.split(rank, args.procs)
    net.wrap_backbone(lambda encoder: DistributedDataParallel(encoder, broadcast_buffers=False))
    optimizer = build_optimizer(net, config)
    set_learning_rate(optimizer, 0.1)
    built, vectors = held_mib(), net.head.get_parameter("weight")
    torch.manual_seed(1 + rank)
    seconds = []
    for _ in range(args.steps):
        features = torch.randn(args.batch, FRAMES, 80)
        speaker = torch.randint(args.speakers, (args.batch,))
        dist.barrier()
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        net(features, speaker, net.head.margins.default)[0].backward()
        optimizer.step()
        dist.barrier()
        seconds.append(time.perf_counter() - start)
    trained, peak = held_mib(), peak_mib()
    optimizer.zero_grad(set_to_none=True)
    floor = products(torch.randn(args.batch * args.procs, DIM), vectors.detach(), 1)
    bare = []
    for _ in range(4):
        dist.barrier()
        start = time.perf_counter()
        floor()
        dist.barrier()
        bare.append(time.perf_counter() - start)
    found = largest(statistics.median(seconds), min(bare), built, trained, peak)
    if rank == 0:
        case = f"{args.speakers} speakers, {args.procs} processes, batch {args.batch} each, {args.steps} steps"
        sizes = dict(zip(("built_mib", "trained_mib", "peak_mib"), found[2:], strict=True))
        predicted = found[2] + 2 * vectors.nbytes / MIB
        report("million", case, found[0], None, found[1], **sizes, predicted_mib=predicted)
    del net, optimizer  # before the group: torch hangs if DistributedDataParallel is the last to hold it
    dist.destroy_process_group()


def main() -> None:
    """Train in all processes, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=1_000_000, help="number of synthetic speakers")
    parser.add_argument("--procs", type=int, default=4, help="number of processes, which share the vectors")
    parser.add_argument("--steps", type=int, default=20, help="number of steps")
    parser.add_argument("--batch", type=int, default=8, help="number of crops of 2 s per process and step")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spawn(work, (args, Path(folder) / "meeting"), nprocs=args.procs)


if __name__ == "__main__":
    main()
