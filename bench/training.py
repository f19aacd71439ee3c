#!/usr/bin/env python3
"""Speed of training and the time that it waits for data, for machines with a GPU: `python3 bench/training.py`.

Each row is a training as steps/train.sh runs it, of two epochs: the first warms up (and compiles), the second is
measured. They read arks: plain fp32, channels_last, bf16, both; then waveforms with aug_prob 0.6, with both; at last,
compiled, arks with fp32 and with all three. `ratio` is their samples per second over those of plain fp32. `wait` is
the share of time that training waited for a batch; it should be below 5 %.

On a GPU the encoder is ResNet34, with crops of 2 s in batches of 128. On the CPU it is a tiny resnet_small, which only
shows that all rows run: the ratios do not apply to a GPU. With SV_CORPORA, speech is real. --quick: few steps, and
nothing is compiled.
"""

import argparse
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.loader_waves import Corpus
from sv.config import parse_config
from sv.io import read_table, write_table
from sv.system import resolve
from sv.training.distributed import World, join
from sv.training.run import train

PLAIN: Mapping[str, Any] = {"precision": "fp32", "channels_last": False}


@dataclass(frozen=True)
class Row:
    """A training of the table: its name and its keys of the configuration."""

    name: str
    keys: Mapping[str, Any]


def rows(*, compiled: bool) -> Iterator[Row]:
    """Iterate over the rows of the table, plain fp32 first."""
    fast = {"precision": "bf16", "channels_last": True}
    yield Row("arks, fp32", PLAIN)
    yield Row("arks, fp32, channels_last", {**PLAIN, "channels_last": True})
    yield Row("arks, bf16", {**PLAIN, "precision": "bf16"})
    yield Row("arks, bf16, channels_last", fast)
    yield Row("online, bf16, channels_last", {**fast, "train_feats": "online"})
    if compiled:
        yield Row("arks, fp32, compile", {**PLAIN, "compile": True})
        yield Row("arks, bf16, channels_last, compile", {**fast, "compile": True})


def main() -> None:
    """Run all cases and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps, nothing compiled")
    parser.add_argument("--num-workers", type=int, default=4, help="number of threads that read ahead")
    args = parser.parse_args()
    logging.getLogger().setLevel(logging.WARNING)
    world = join(use_gpu=torch.cuda.is_available())
    on_gpu = world.device.type == "cuda"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, times = (256, 10) if on_gpu and not args.quick else (16, 4)  # 20 steps an epoch
        corpus = Corpus(folder, files)
        repeat(folder, times)
        system = system_of(corpus, on_gpu=on_gpu, num_workers=args.num_workers)
        device, plain = torch.cuda.get_device_name(world.device) if on_gpu else "CPU", 0.0
        print(f"| {device} | samples/s | ratio to plain fp32 | wait |\n| --- | ---: | ---: | ---: |", flush=True)
        for row in rows(compiled=not args.quick):
            found = measure(system, row, folder, world)
            rate, wait = found["samples_per_second"], found["data_wait"]
            plain = plain or rate
            print(f"| {row.name} | {rate:.0f} | {rate / plain:.2f} | {100 * wait:.1f} % |", flush=True)


def repeat(folder: Path, times: int) -> None:
    """List each utterance of a data dir `times` times, under different ids, for longer epochs of the same files."""
    for table in ("wav.scp", "utt2spk", "utt2num_frames", "feats.scp"):
        found = read_table(folder / table)
        write_table(folder / table, {f"{utt}-{n:03d}": value for utt, value in found.items() for n in range(times)})


def system_of(corpus: Corpus, *, on_gpu: bool, num_workers: int) -> Mapping[str, Any]:
    """Return the keys of the configuration that all rows share."""
    encoder = {"model": "ResNet34", "model_args": {"embed_dim": 256}}
    tiny = {"model": "resnet_small", "model_args": {"m_channels": 2, "embed_dim": 8}}
    return {
        **(encoder if on_gpu else tiny),
        "num_epochs": 2,
        "dataset_args": {"num_frms": 200 if on_gpu else 20, "aug_prob": 0.6},
        "dataloader_args": {"batch_size": 128 if on_gpu else 8, "num_workers": num_workers},
        "heldout_speakers": 0,
        "noise_data": str(corpus.noises),
        "reverb_data": str(corpus.rirs),
        "tensorboard": False,
    }


def measure(system: Mapping[str, Any], row: Row, folder: Path, world: World) -> dict[str, float]:
    """Train; return the record of the second epoch, with samples per second and share of waiting."""
    config = resolve(parse_config({**system, **row.keys}, "bench"), "bench")
    with tempfile.TemporaryDirectory() as exp_dir:
        train(config, folder, Path(exp_dir), world)
        lines = (Path(exp_dir) / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "epoch"][-1]


if __name__ == "__main__":
    main()
