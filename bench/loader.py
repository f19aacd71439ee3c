#!/usr/bin/env python3
"""Batches of 2-s crops from arks of 8-s utterances, against reading whole matrices with kaldiio.

Both make batches of 64 random crops of 200 frames, mean subtracted, of utterances in random order. The floor only reads
the bytes of the crops. Files are in the page cache. bench/loader_waves.py then does the same from waveforms, with
augmentation; its floor is the time of arks.
"""

import random
import tempfile
from functools import partial
from pathlib import Path

import kaldiio
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from bench.common import best_seconds, parse_quick, report
from bench.loader_waves import compare_waveforms, exhaust, worker_processes
from sv.data import ArkDataset, ArkReader, FeatsIndex, Loader, UtteranceSampler, read_index
from sv.data.ark_reader import crop_starts
from sv.data.sampling import uniform
from sv.io import ArkWriter, read_scp, write_table

FRAMES, CROP, MELS, BATCH = 800, 200, 80, 64


def main() -> None:
    """Run all cases and print their figures."""
    quick = parse_quick(__doc__)
    utts, budget = (512, 3.0) if quick else (4096, 20.0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        index = read_index(make_dir(Path(folder), utts))
        reader = ArkReader(index, MELS)
        whole = WholeMatrices(Path(folder) / "feats.scp")
        samples = utts // BATCH * BATCH
        floor = best_seconds(partial(bare_reads, index), budget=budget / 4)[0] / samples
        for workers in (0, 1, 2):
            usual = partial(exhaust, DataLoader(whole, BATCH, True, **worker_processes(workers)))
            ours = partial(drain, reader, workers)
            times = [seconds / samples for seconds in best_seconds(ours, usual, budget=budget)]
            case = f"CM2 8 s, crops of 2 s, {workers} workers, against kaldiio in a DataLoader"
            report("loader", case, times[0], times[1], floor, samples_per_second=1 / times[0])
        threads = partial(drain, reader, 1)
        processes = partial(exhaust, DataLoader(Steps(reader), batch_size=None, **worker_processes(1)))
        times = [seconds / samples for seconds in best_seconds(threads, processes, budget=budget)]
        report("loader", "one thread, against the same work in one worker process", times[0], times[1])
    with tempfile.TemporaryDirectory() as folder:
        compare_waveforms(Path(folder), quick=quick)


def make_dir(folder: Path, utts: int) -> Path:
    """Write a data dir of random features; their values do not affect the time."""
    rng = np.random.default_rng(0)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
        for utt in range(utts):
            writer.write(f"utt{utt:06d}", rng.normal(10, 3, (FRAMES, MELS)).astype(np.float32))
    names = [f"utt{utt:06d}" for utt in range(utts)]
    write_table(folder / "utt2num_frames", dict.fromkeys(names, FRAMES))
    write_table(folder / "utt2spk", {name: f"spk{number % 40:02d}" for number, name in enumerate(names)})
    return folder


def drain(reader: ArkReader, workers: int) -> None:
    """Read one epoch with our loader."""
    loader = Loader(dataset_of(reader), sampler_of(reader), num_workers=workers)
    for _ in loader.epoch(1):
        pass
    loader.close()


def dataset_of(reader: ArkReader) -> ArkDataset:
    """Return our dataset of crops."""
    return ArkDataset(reader, num_frms=CROP, seed=0)


def sampler_of(reader: ArkReader) -> UtteranceSampler:
    """Return a sampler of all utterances."""
    return UtteranceSampler(np.arange(len(reader.index)), BATCH, seed=0)


class Steps(Dataset[torch.Tensor]):
    """Our dataset for a DataLoader: item n is the n-th batch."""

    def __init__(self, reader: ArkReader) -> None:
        self.dataset, self.sampler = dataset_of(reader), sampler_of(reader)

    def __len__(self) -> int:
        return self.sampler.steps

    def __getitem__(self, step: int) -> torch.Tensor:
        return self.dataset.batch(self.sampler.step(1, step), 1).features


class WholeMatrices(Dataset[torch.Tensor]):
    """The usual way: load a matrix, crop it, subtract the mean; a DataLoader stacks crops and starts workers."""

    def __init__(self, scp: Path) -> None:
        self.places = list(read_scp(scp).values())

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> torch.Tensor:
        matrix = kaldiio.load_mat(self.places[i])
        start = random.randint(0, len(matrix) - CROP)
        crop = torch.from_numpy(matrix[start : start + CROP])
        return crop - crop.mean(dim=0)


def bare_reads(index: FeatsIndex) -> None:
    """Read only the bytes of the crops of an epoch."""
    rows = np.empty((CROP, MELS), dtype=np.uint16)
    starts = crop_starts(index.num_frames, CROP, uniform(0, 1, np.arange(len(index))))
    order = np.random.default_rng(0).permutation(len(index))
    with open(index.arks[0], "rb", buffering=0) as f:
        for utt in order[: len(order) // BATCH * BATCH].tolist():
            f.seek(int(index.offset[utt]) + 22 + int(starts[utt]) * 2 * MELS)
            f.readinto(rows.data)


if __name__ == "__main__":
    main()
