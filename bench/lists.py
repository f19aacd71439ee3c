#!/usr/bin/env python3
"""Data lists of up to ten million utterances: time and memory to check, split, index and sample them.

The lists are made up, with 200 utterances a speaker. All entries of feats.scp are one real matrix, since nothing here
reads features. Each measurement starts a process: `seconds` is the CPU time of it and its children, `mib` the peak
memory of the largest of them, `us` microseconds an utterance.

Usage: bench/lists.py [--quick]
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.common import parse_quick, report
from sv.config import DataloaderArgs
from sv.data import read_index
from sv.data.sampling import build_sampler
from sv.io import ArkWriter

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000, 10_000_000), (10_000, 100_000)
FRAMES, UTTS_PER_SPEAKER, BATCH, JOBS = 800, 200, 256, 32


def main() -> None:
    """Run all cases and print their figures."""
    for utts in QUICK_SIZES if parse_quick(__doc__) else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            data = make_dir(Path(folder) / "data", utts)
            commands: dict[str, list[object]] = {
                "validate_data_dir.sh": ["tools/validate_data_dir.sh", data],
                f"split_data.sh in {JOBS}": ["tools/split_data.sh", data, JOBS],
                "fix_data_dir.sh": ["tools/fix_data_dir.sh", data],
                f"wav.scp, as the middle one of {JOBS} feature jobs": python(
                    f"from sv.io import DataDir; DataDir({str(data)!r}).part({JOBS // 2}, {JOBS}).utts"
                ),
                "imports alone": python("import bench.lists"),
                "index": python(f"import bench.lists; bench.lists.read_index({str(data)!r})"),
                "index, an epoch by utterance": python(
                    f"import bench.lists; bench.lists.epoch({str(data)!r}, 'utterance')"
                ),
                "index, an epoch by speaker": python(
                    f"import bench.lists; bench.lists.epoch({str(data)!r}, 'speaker')"
                ),
            }
            for name, command in commands.items():
                seconds, mib = measure(command)
                report("lists", f"{utts} utterances, {name}", seconds, mib=mib, us=1e6 * seconds / utts)


def python(code: str) -> list[object]:
    """Return the command that runs Python code."""
    return [sys.executable, "-c", code]


def make_dir(data: Path, utts: int) -> Path:
    """Write a data dir as stage 2 leaves it, with made-up utterances."""
    data.mkdir()
    with ArkWriter(data / "feats.ark", data / "one.scp", compress=True) as writer:
        writer.write("utt", np.zeros((FRAMES, 80), np.float32))
    location = (data / "one.scp").read_text().split()[1]
    for name, line in {
        "wav.scp": lambda utt, spk: f"{utt} /corpora/voices/{utt}\n",
        "utt2spk": lambda utt, spk: f"{utt} {spk}\n",
        "feats.scp": lambda utt, spk: f"{utt} {location}\n",
        "utt2num_frames": lambda utt, spk: f"{utt} {FRAMES}\n",
    }.items():
        with open(data / name, "w") as f:
            f.writelines(line(utt, spk) for utt, spk in ids(utts))
    with open(data / "spk2utt", "w") as f:
        names = ids(utts)
        for first in range(0, utts, UTTS_PER_SPEAKER):
            rows = [next(names) for _ in range(min(UTTS_PER_SPEAKER, utts - first))]
            f.write(f"{rows[0][1]} {' '.join(utt for utt, _ in rows)}\n")
    return data


def ids(utts: int) -> Iterator[tuple[str, str]]:
    """Iterate over utterances and their speakers, in order; ids are as long as VoxCeleb's."""
    for number in range(utts):
        spk = f"id{number // UTTS_PER_SPEAKER:07d}"
        yield f"{spk}/{number % UTTS_PER_SPEAKER:011d}/{number % 1000:05d}.wav", spk


def epoch(data: str, sampler_name: str) -> None:
    """Draw all batches of one epoch."""
    index = read_index(data)
    sampler = build_sampler(
        DataloaderArgs.model_validate({"sampler": sampler_name}), index, np.arange(len(index)), BATCH, seed=0
    )
    for step in range(sampler.steps):
        sampler.step(1, step)


_CHILD = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def measure(command: Sequence[object]) -> tuple[float, float]:
    """Return the CPU seconds of a command, and the peak MiB of the largest of its processes.

    A small process starts it, because the peak of a process includes what its parent held when it forked.
    """
    words = [sys.executable, "-c", _CHILD, *map(str, command)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return float(said[0]), float(said[1])


if __name__ == "__main__":
    main()
