#!/usr/bin/env python3
"""Speed of every encoder in training and in extraction, against ResNet34: the table of docs/models.md.

A sample is 2 s of features. Training is forward and backward pass of a batch of two, extraction the forward pass of
one utterance at a time, as load_encoder prepares it; one thread, fp32, without head and data. Encoder and ResNet34 take
turns, and CPU time is measured, so that other work on the machine affects both alike.

--out FILE keeps a JSON line an encoder: those that it has are not measured again. --quick: the small encoders only.
Usage: bench/encoders.py [--quick] [--out FILE]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.common import best_seconds, report
from sv.models import MODELS, build_model
from sv.models.catalog import FRAMES, describe

REFERENCE, BATCH, QUICK_GFLOPS = "ResNet34", 2, 1.5
HEADER = """\
| `model` | training (samples/s) | of ResNet34's | extraction (samples/s) | of ResNet34's |
| --- | ---: | ---: | ---: | ---: |"""


def training(name: str) -> Callable[[], object]:
    """Return a function that trains an encoder on one batch."""
    model = build_model(name, {}).train()
    feats = torch.randn(BATCH, FRAMES, model.feat_dim)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model(feats).square().sum().backward()

    return step


def extraction(name: str) -> Callable[[], object]:
    """Return a function that embeds one sample."""
    model: Any = build_model(name, {}).eval().for_inference().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    feats = torch.randn(1, FRAMES, model.feat_dim)

    def embed() -> None:
        with torch.inference_mode():
            model(feats)

    return embed


def measure(name: str) -> dict[str, float]:
    """Measure an encoder: samples per second, and its rate over that of ResNet34 in the same turns."""
    found: dict[str, float] = {}
    for what, make, samples in (("training", training, BATCH), ("extraction", extraction, 1)):
        ours, theirs = best_seconds(make(name), make(REFERENCE), budget=1.0, least=2, clock=time.process_time)
        found |= {what: samples / ours, f"{what}_ratio": theirs / ours}
    return found


def row(name: str, found: dict[str, float]) -> str:
    """Return a line of the table."""
    cells = [f"{found['training']:.3g}", f"{found['training_ratio']:.2f}"]
    cells += [f"{found['extraction']:.3g}", f"{found['extraction_ratio']:.2f}"]
    return f"| `{name}` | {' | '.join(cells)} |"


def main() -> None:
    """Measure all encoders and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the small encoders only")
    parser.add_argument("--out", type=Path, help="JSON lines of what is measured, read first and added to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = args.out.read_text().splitlines() if args.out and args.out.exists() else []
    measured = {found.pop("model"): found for found in map(json.loads, lines)}
    most = QUICK_GFLOPS * 1e9 if args.quick else float("inf")
    sizes = ((entry.name, entry.flops) for entry in map(describe, MODELS.names()))
    flops = {name: size for name, size in sizes if size is not None and size < most}  # the others have no size
    for name in sorted(flops, key=flops.__getitem__):
        if name not in measured:
            measured[name] = measure(name)
            report("encoders", name, 1 / measured[name]["training"], **measured[name])
            if args.out:
                with args.out.open("a") as f:
                    f.write(json.dumps({"model": name, **measured[name]}) + "\n")
    print("\n".join([HEADER, *(row(name, measured[name]) for name in flops)]))


if __name__ == "__main__":
    main()
