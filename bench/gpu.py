#!/usr/bin/env python3
"""Measure training on a GPU in minutes, and print Markdown rows for bench/README.md; bench/gpu.sh is the usual call.

ceiling      TFLOP/s of a square matrix product in fp32, TF32 and bf16: the floor of all else
heads        loss and all gradients: ms, TFLOP/s of the products (three; four of a softmax) and their share of the fp32
             ceiling, peak memory; at 1 and 10 million speakers memory above all
steps        training steps of encoder, head and optimizer on random features: samples a second
launches     kernels (on a CPU: operators) of a step of SphereFace2's head at 17,982 speakers
extraction   utterances a second, one by one and batches of equal length

--parts chooses. A part that fails, or for which the time (--seconds) is over, leaves a line that says so, and the exit
status is 1 if one failed. --quick: small sizes, which show on a CPU that all of it runs.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.extract import gpu_rates
from bench.head import DIM, LOSSES
from sv.config import parse_config
from sv.errors import UserError
from sv.losses import build_head
from sv.losses.softmax_head import SoftmaxHead
from sv.system import resolve
from sv.training.compiling import compile_encoder
from sv.training.network import build_network
from sv.training.optimizer import build_optimizer

GIB = 2**30
HEAD_LOSSES = ("sphereface2-C", "sphereface2-A", "softmax", "aam")
STEPS: dict[str, dict[str, bool]] = {
    "fp32": {},
    "TF32": {"tf32": True},
    "TF32, channels_last": {"tf32": True, "channels_last": True},
    "bf16": {"tf32": True, "bf16": True},
    "bf16, channels_last": {"tf32": True, "bf16": True, "channels_last": True},
    "bf16, channels_last, compile": {"tf32": True, "bf16": True, "channels_last": True, "compiled": True},
}


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run.

    Attributes:
        matrix: rows and columns of the ceiling's matrices.
        speakers: of the heads.
        many: speakers of the heads that are measured for memory.
        batches: of the heads.
        models: encoder -> options.
        batch, frames: of the steps.
        utts: to extract embeddings of.
        turn: seconds for one figure.
    """

    matrix: int
    speakers: tuple[int, ...]
    many: tuple[int, ...]
    batches: tuple[int, ...]
    models: Mapping[str, Mapping[str, Any]]
    batch: int
    frames: int
    utts: int
    turn: float


WHOLE = Sizes(
    8192, (17_982, 100_000), (1_000_000, 10_000_000), (128, 512),
    {"ResNet34": {}, "ECAPA_TDNN_GLOB_c512": {}}, 128, 200, 400, 1.0,
)  # fmt: skip
QUICK = Sizes(
    64, (300,), (2_000,), (8,),
    {"resnet_small": {"m_channels": 2, "embed_dim": 8}, "ECAPA_TDNN_c512": {"embed_dim": 8}}, 2, 20, 4, 0.0,
)  # fmt: skip


class Machine:
    """The device, its clock and its memory.

    Attributes:
        device: the first GPU, else the CPU.
        name: what tables call it.
    """

    def __init__(self) -> None:
        on_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if on_gpu else "cpu")
        self.name = torch.cuda.get_device_name() if on_gpu else "CPU"

    def wait(self) -> None:
        """Wait until all work on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], budget: float) -> float:
        """Return the mean time of a call, after three that warm up."""
        for _ in range(3 if budget else 1):
            run()
        self.wait()
        start, calls = time.perf_counter(), 0
        while True:
            run()
            calls += 1
            if calls % 5 == 0 or not budget:
                self.wait()
                if time.perf_counter() - start >= budget:
                    return (time.perf_counter() - start) / calls

    def peak_gib(self, run: Callable[[], object]) -> float:
        """Return the most memory that tensors hold in a call; 0 on a CPU."""
        if self.device.type != "cuda":
            run()
            return 0.0
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() / GIB

    def free_gib(self) -> float:
        """Return the free memory of the GPU; on a CPU enough for all sizes."""
        if self.device.type != "cuda":
            return float("inf")
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info()[0] / GIB


@contextmanager
def tf32(allowed: bool, *, products: bool = False) -> Iterator[None]:
    """Let convolutions round their factors to TF32, or not; matrix products as well, which training never does."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = allowed and products, allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def ceilings(machine: Machine, sizes: Sizes) -> dict[str, float]:
    """Return TFLOP/s of a large matrix product by precision."""
    found = {}
    for name, dtype, rounded in (
        ("fp32", torch.float32, False),
        ("TF32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
    ):
        a, b = (torch.randn(sizes.matrix, sizes.matrix, device=machine.device, dtype=dtype) for _ in range(2))
        with tf32(rounded, products=True):
            found[name] = 2 * sizes.matrix**3 / machine.seconds(partial(torch.mm, a, b), sizes.turn) / 1e12
    return found


def measure_ceiling(machine: Machine, sizes: Sizes) -> Iterator[str]:
    """Yield the rows of the ceiling."""
    yield "| matrix product | TFLOP/s |\n| --- | ---: |"
    for name, rate in ceilings(machine, sizes).items():
        yield f"| {name} | {rate:.1f} |"


def head_step(machine: Machine, loss: str, batch: int, speakers: int) -> tuple[Callable[[], None], float]:
    """Return a step of a head, and the FLOPs of its products."""
    torch.manual_seed(0)
    name, options = LOSSES[loss]
    with machine.device:
        head = build_head(name, DIM, speakers, options)
        embedding, speaker = torch.randn(batch, DIM, requires_grad=True), torch.randint(speakers, (batch,))

    def step() -> None:
        head.zero_grad(set_to_none=True)
        head(embedding, speaker, head.margins.default).loss.backward()

    return step, 2.0 * batch * DIM * speakers * (4 if isinstance(head, SoftmaxHead) else 3)


def measure_heads(machine: Machine, sizes: Sizes) -> Iterator[str]:
    """Yield the rows of the heads."""
    ceiling = ceilings(machine, sizes)["fp32"]
    yield "| loss | batch | speakers | ms a step | TFLOP/s | of the fp32 ceiling | GiB |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for speakers in sizes.speakers:
        for batch in sizes.batches:
            for loss in HEAD_LOSSES:
                yield head_row(machine, sizes, (loss, batch, speakers), ceiling)
    for speakers in sizes.many:
        for loss in ("sphereface2-C", "aam"):
            yield head_row(machine, sizes, (loss, sizes.batches[-1], speakers), ceiling)


def head_row(machine: Machine, sizes: Sizes, case: tuple[str, int, int], ceiling: float) -> str:
    """Measure a loss with a batch and speakers; weights, gradient and as much again must fit the memory."""
    loss, batch, speakers = case
    needed, free = 3 * 4 * DIM * speakers / GIB, machine.free_gib()
    if needed > free:
        return f"| {loss} | {batch} | {speakers:,} | needs {needed:.0f} of {free:.0f} GiB | | | |"
    step, flops = head_step(machine, loss, batch, speakers)
    seconds, peak = machine.seconds(step, sizes.turn), machine.peak_gib(step)
    rate = flops / seconds / 1e12
    figures = f"{1e3 * seconds:.2f} | {rate:.2f} | {rate / ceiling:.2f} | {peak:.2f}"
    return f"| {loss} | {batch} | {speakers:,} | {figures} |"


def training_step(
    machine: Machine,
    sizes: Sizes,
    model: str,
    *,
    bf16: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
) -> Callable[[], None]:
    """Return a step of encoder, SphereFace2's head and optimizer."""
    torch.manual_seed(0)
    keys = {"model": model, "model_args": dict(sizes.models[model]), "num_speakers": sizes.speakers[0]}
    config = resolve(parse_config(keys, "bench"), "bench")
    net = build_network(config)
    if channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.to(machine.device).train()
    if compiled:
        compile_encoder(net, machine.device)
    optimizer, margin = build_optimizer(net, config), net.head.margins.default
    features = torch.randn(sizes.batch, sizes.frames, 80, device=machine.device)
    speaker = torch.randint(sizes.speakers[0], (sizes.batch,), device=machine.device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(machine.device.type, torch.bfloat16, enabled=bf16):
            loss: Tensor = net(features, speaker, margin, None)[0]
        loss.backward()
        optimizer.step()

    return step


def measure_steps(machine: Machine, sizes: Sizes) -> Iterator[str]:
    """Yield the rows of training steps; each mode is compared with plain fp32 of the same encoder."""
    yield f"| step, batch {sizes.batch} of {sizes.frames} frames | samples/s | of fp32 | GiB |"
    yield "| --- | ---: | ---: | ---: |"
    torch.backends.cudnn.benchmark = True
    for model in sizes.models:
        plain = 0.0
        for name, options in STEPS.items():
            modes = dict(options)
            if not sizes.turn and modes.get("compiled"):
                continue  # a minute on a CPU
            with tf32(modes.pop("tf32", False)):
                step = training_step(machine, sizes, model, **modes)
                rate = sizes.batch / machine.seconds(step, sizes.turn)
                peak = machine.peak_gib(step)
            plain = plain or rate
            yield f"| {model}, {name} | {rate:.0f} | {rate / plain:.2f} | {peak:.2f} |"


def measure_launches(machine: Machine, sizes: Sizes) -> Iterator[str]:
    """Yield how many kernels a step of a head launches; on a CPU how many operators it calls."""
    on_gpu = machine.device.type == "cuda"
    yield f"| head, batch {sizes.batches[0]}, {sizes.speakers[0]:,} speakers | {'kernels' if on_gpu else 'operators'} |"
    yield "| --- | ---: |"
    for loss in HEAD_LOSSES:
        step, _ = head_step(machine, loss, sizes.batches[0], sizes.speakers[0])
        yield f"| {loss} | {count_launches(step, on_gpu=on_gpu)} |"


def count_launches(step: Callable[[], object], *, on_gpu: bool = False) -> int:
    """Return the kernels that a step launches on a GPU, or the operators that it calls on a CPU, each once."""
    kinds = torch.profiler.ProfilerActivity
    step()
    with torch.profiler.profile(activities=[kinds.CUDA if on_gpu else kinds.CPU]) as profile:
        step()
    events = profile.events() or []
    if on_gpu:
        return sum(event.device_type.name == "CUDA" for event in events)
    operators = [event for event in events if event.name.startswith("aten::")]
    return sum(event.cpu_parent is None or not event.cpu_parent.name.startswith("aten::") for event in operators)


def measure_extraction(machine: Machine, sizes: Sizes) -> Iterator[str]:
    """Yield the rows of extraction."""
    yield "| extraction | utterances/s, one by one | batches of equal length | as fast |\n| --- | ---: | ---: | ---: |"
    for model, options in sizes.models.items():
        rates = gpu_rates(str(machine.device), model, options, sizes.utts)
        yield f"| {model} | {rates[0]:.1f} | {rates[1]:.1f} | {rates[1] / rates[0]:.2f} |"


PARTS: dict[str, Callable[[Machine, Sizes], Iterator[str]]] = {
    "ceiling": measure_ceiling,
    "heads": measure_heads,
    "steps": measure_steps,
    "launches": measure_launches,
    "extraction": measure_extraction,
}


def run_part(name: str, machine: Machine, sizes: Sizes, end: float) -> bool:
    """Print the rows of a part; return whether it did not fail."""
    print(f"\n### {name}: {machine.name}, torch {torch.__version__}\n", flush=True)
    try:
        for row in PARTS[name](machine, sizes):
            print(row, flush=True)
            if time.monotonic() > end:
                print("\nThe time was over here.", flush=True)
                break
    except (UserError, RuntimeError, MemoryError) as error:
        print(f"\nFailed: {str(error).strip().splitlines()[0][:300]}", flush=True)
        return False
    return True


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, in this order")
    parser.add_argument("--seconds", type=float, default=400.0, help="seconds for all parts; no part starts after that")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    args = parser.parse_args()
    machine, sizes, end = Machine(), QUICK if args.quick else WHOLE, time.monotonic() + args.seconds
    good = True
    for name in args.parts.split(","):
        if time.monotonic() > end:
            print(f"\n### {name}\n\nNot measured: the time was over.", flush=True)
            continue
        good &= run_part(name, machine, sizes, end)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
