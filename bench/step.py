#!/usr/bin/env python3
"""Measure the parts of a training step on a CPU, and the gain of channels_last, bf16 and torch.compile.

parts    the CPU time of one step of encoder, SphereFace2-C and SGD by kind of work, and its number of operators
modes    the time of the same step in channels_last (2-d encoders), under bf16, and compiled (not with --quick); `ratio`
         is that of plain fp32 over it, in the same turns; `compile_seconds` is the CPU time of the first step, which
         compiles

One thread, CPU time; batch 64 for resnet_small, 16 for ResNet34 and ECAPA, crops of 2 s, 300 speakers.
Usage: bench/step.py [--quick]
"""

import os
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

import torch

from bench.common import best_seconds, parse_quick, report
from bench.gpu import Machine, Sizes, count_launches, training_step

BATCH = {"resnet_small": 64, "ResNet34": 16, "ECAPA_TDNN_c512": 16}
SPEAKERS, FRAMES = 300, 200
MODES: dict[str, dict[str, bool]] = {
    "fp32": {},
    "channels_last": {"channels_last": True},
    "bf16": {"bf16": True},
    "bf16, channels_last": {"bf16": True, "channels_last": True},
    "channels_last, compiled": {"channels_last": True, "compiled": True},
    "bf16, channels_last, compiled": {"bf16": True, "channels_last": True, "compiled": True},
}
KINDS = {
    "convolutions": ("convolution", "mkldnn"),
    "batch norm": ("batch_norm",),
    "products": ("::mm", "addmm", "linear", "bmm", "baddbmm"),
    "ReLU and its gradient": ("relu", "threshold"),
    "optimizer": ("fused_sgd", "foreach"),
    "copies": ("copy_", "clone", "::to", "contiguous"),
}


def step_of(model: str, **modes: bool) -> Callable[[], None]:
    """Return a step of a model."""
    sizes = Sizes(1, (SPEAKERS,), (), (), {model: {}}, BATCH[model], FRAMES, 1, 1.0)
    return training_step(Machine(), sizes, model, **modes)


def parts(step: Callable[[], None]) -> dict[str, float]:
    """Return the share of each kind of work in the CPU time of a step."""
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    found = dict.fromkeys([*KINDS, "rest"], 0.0)
    for event in profile.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), "rest")
        found[kind] += event.self_cpu_time_total
    total = sum(found.values())
    return {kind: seconds / total for kind, seconds in found.items()}


def seconds_of(step: Callable[[], None]) -> float:
    """Return the CPU seconds of one call, with those of the compilers that it starts and waits for."""
    start = os.times()
    step()
    end = os.times()
    return sum(end[:4]) - sum(start[:4])


def main() -> None:
    """Print all figures."""
    quick = parse_quick(__doc__)
    torch.set_num_threads(1)
    with TemporaryDirectory() as cache:
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}  # anew, and counted
        measure(quick)


def measure(quick: bool) -> None:
    """Measure all models."""
    for model in BATCH:
        steps = {name: step_of(model, **modes) for name, modes in MODES.items() if not (quick and "compiled" in modes)}
        shares = {f"share: {kind}": share for kind, share in parts(steps["fp32"]).items()}
        first = {name: seconds_of(step) for name, step in steps.items() if "compiled" in name}
        times = best_seconds(*steps.values(), budget=2.0 if quick else 30.0, clock=time.process_time)
        report("step", f"{model}, fp32", times[0], operators=count_launches(steps["fp32"]), **shares)
        for name, seconds in zip(list(steps)[1:], times[1:], strict=True):
            more = {"compile_seconds": first[name]} if name in first else {}
            report("step", f"{model}, {name}", seconds, times[0], **more)


if __name__ == "__main__":
    main()
