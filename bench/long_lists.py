#!/usr/bin/env python3
"""Steps on long trial lists: CPU seconds and peak memory of each at two lengths, and what a further trial costs.

The trials are of 50,000 utterances of 1,250 speakers, 1 % of them targets, the same million again and again. Two
systems have random embeddings around their speakers' means; 90,000 trials are for calibration. Each step is a process
of its own, from files to files. Lists are made in another process, since a process that is started counts the memory of
the one that starts it. Usage: bench/long_lists.py [--quick]
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bench.common import parse_quick, report
from sv.io import ArkWriter, write_table

UTTS, SPEAKERS, DIM, CALIBRATION, MOST = 50_000, 1_250, 256, 90_000, 1_000_000
NAME = "long.kaldi"


def make_lists(folder: Path, num_trials: int) -> None:
    """Write trial lists, the speakers, and the embeddings of two systems."""
    rng = np.random.default_rng(0)
    utts = [f"id1{n % SPEAKERS:04d}/abcdefghijk/{n:05d}.wav" for n in range(UTTS)]
    data = folder / "data"
    data.mkdir()
    write_table(data / "utt2spk", {utt: utt[:7] for utt in utts})
    (data / NAME).write_text("")
    for path, count in ((data / NAME, min(num_trials, MOST)), (data / "heldout.kaldi", min(num_trials, CALIBRATION))):
        enroll, test = rng.integers(UTTS, size=(2, count))
        same = np.arange(count) % 100 == 0
        test[same] = (enroll[same] + SPEAKERS * rng.integers(1, UTTS // SPEAKERS, same.sum())) % UTTS
        pairs = zip(enroll.tolist(), test.tolist(), (enroll % SPEAKERS == test % SPEAKERS).tolist(), strict=True)
        path.write_text("".join(f"{utts[e]} {utts[t]} {'target' if s else 'nontarget'}\n" for e, t, s in pairs))
    part = (data / NAME).read_bytes()
    with open(data / NAME, "ab") as f:
        for _ in range(num_trials // MOST - 1):
            f.write(part)
    for name in "ab":
        (folder / name / "scores").mkdir(parents=True)
        (folder / name / "config.yaml").write_text("model: resnet_small\n")
        means = rng.normal(0, 0.4, (SPEAKERS, DIM))
        vectors = (means[np.arange(UTTS) % SPEAKERS] + rng.normal(size=(UTTS, DIM))).astype(np.float32)
        with ArkWriter(folder / name / "xvector.ark", folder / name / "xvector.scp") as writer:
            for utt, vector in zip(utts, vectors, strict=True):
                writer.write(utt, vector)


def run(*words: object) -> tuple[float, float]:
    """Run a step; return its CPU seconds and its peak memory in MiB."""
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words[0]} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def steps_of(folder: Path) -> dict[str, tuple[float, float]]:
    """Run each step in a folder of `make_lists`; return its CPU seconds and peak MiB."""
    data, a, b, found = folder / "data", folder / "a", folder / "b", dict[str, tuple[float, float]]()
    for exp in (b, a):
        for trials in ("heldout.kaldi", NAME):
            scores = exp / "scores" / f"{trials}.score"
            found["cosine scores"] = run("steps/score_trials.py", data / trials, exp / "xvector.scp", scores)
    metrics: list[object] = ["steps/compute_metrics.py", a, "result", data, NAME]
    found["metrics"] = run(*metrics)
    found["metrics, intervals"] = run(*metrics, "--test-data", data)
    run("steps/compute_metrics.py", b, "result", data, NAME, "--test-data", data)
    found["calibrate"] = run("steps/calibrate.py", a, "heldout.kaldi", NAME)
    heldout, test = ([exp / "scores" / f"{trials}.score" for exp in (a, b)] for trials in ("heldout.kaldi", NAME))
    found["fuse, two systems"] = run("steps/fuse.py", folder / "fused.score", "--heldout", *heldout, "--scores", *test)
    found["compare, two systems"] = run("steps/compare.py", "--test-data", data, a, b)
    return found


def main() -> None:
    """Run all steps at both lengths and print their figures."""
    short, long = (20_000, 100_000) if parse_quick(__doc__) else (1_000_000, 10_000_000)
    figures = []
    for count in (short, long):
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(make_lists, Path(folder), count).result()
            figures.append(steps_of(Path(folder)))
    for step, (seconds, mib) in figures[1].items():
        few, few_mib = figures[0][step]
        per_trial = 1e6 * (seconds - few) / (long - short)
        more = {"us_per_trial": per_trial, "peak_mib": mib, "seconds_short": few, "peak_mib_short": few_mib}
        report("long_lists", f"{step}, {long} trials ({short})", seconds, **more)


if __name__ == "__main__":
    main()
