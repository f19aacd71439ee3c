#!/usr/bin/env python3
"""Steps on long trial lists: CPU seconds and peak memory of each at two lengths, and what a further trial costs.

The trials are of 50,000 utterances of 1,250 speakers, 1 % of them targets, the same million again and again. Two
systems have random embeddings around their speakers' means; 90,000 trials are for calibration; the cohort are the means
of the speakers. Each step is a process of its own, from files to files. `reference` is the plain form of
bench/plain_lists.py, which takes up to 10 GiB for 10 million trials. Lists are made in another process, since a process
that is started counts the memory of the one that starts it. --checkout measures the steps of an earlier version.
Usage: bench/long_lists.py [--quick] [--trials N] [--plain true|false] [--checkout DIR]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bench.common import report
from bench.plain_lists import FORMS, HELDOUT, NAME
from sv.io import ArkWriter, write_table

UTTS, SPEAKERS, DIM, CALIBRATION, MOST = 50_000, 1_250, 256, 90_000, 1_000_000
ROOT = Path(__file__).resolve().parent.parent
Figures = dict[str, tuple[float, float]]


def make_lists(folder: Path, num_trials: int, num_utts: int = UTTS) -> None:
    """Write trial lists, the speakers, and the embeddings of two systems."""
    rng = np.random.default_rng(0)
    utts = [f"id1{n % SPEAKERS:04d}/abcdefghijk/{n:05d}.wav" for n in range(num_utts)]
    data = folder / "data"
    data.mkdir()
    write_table(data / "utt2spk", {utt: utt[:7] for utt in utts})
    (data / NAME).write_text("")
    for path, count in ((data / NAME, min(num_trials, MOST)), (data / HELDOUT, min(num_trials, CALIBRATION))):
        enroll, test = rng.integers(num_utts, size=(2, count))
        same = np.arange(count) % 100 == 0
        test[same] = (enroll[same] + SPEAKERS * rng.integers(1, num_utts // SPEAKERS, same.sum())) % num_utts
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
        vectors = (means[np.arange(num_utts) % SPEAKERS] + rng.normal(size=(num_utts, DIM))).astype(np.float32)
        with ArkWriter(folder / name / "xvector.ark", folder / name / "xvector.scp") as writer:
            for utt, vector in zip(utts, vectors, strict=True):
                writer.write(utt, vector)
        scp = folder / name / "xvector.scp"
        scp.write_text(scp.read_text().replace(" ./", f" {folder / name}/"))  # as earlier versions need it


def run(script: Path, *words: object) -> tuple[float, float]:
    """Run a script of this or another checkout; return its CPU seconds and its peak memory in MiB."""
    environment = {**os.environ, "PYTHONPATH": str(script.parent.parent)}
    command = [sys.executable, str(script), *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{script} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def steps_of(folder: Path, checkout: Path = ROOT) -> Figures:
    """Run each step in a folder of `make_lists`; return its CPU seconds and peak MiB.

    Args:
        folder: of the lists; results are written there.
        checkout: whose steps are run.
    """
    data, a, b, found = folder / "data", folder / "a", folder / "b", Figures()

    def step(name: str, *words: object) -> tuple[float, float]:
        return run(checkout / "steps" / f"{name}.py", *words)

    for exp in (b, a):
        for trials in (HELDOUT, NAME):
            scores = exp / "scores" / f"{trials}.score"
            found["cosine scores"] = step("score_trials", data / trials, exp / "xvector.scp", scores)
    embeddings = a / "xvector.scp"
    step("train_plda", embeddings, data, a / "plda")
    step("compute_spk_means", embeddings, data, a / "spk_xvector.scp")
    options: dict[str, list[object]] = {
        "PLDA": ["plda", "--plda-dir", a / "plda"],
        "AS-norm": ["asnorm", "--cohort", a / "spk_xvector.scp"],
    }
    for title, words in options.items():
        found[f"{title} scores"] = step(
            "score_trials", data / NAME, embeddings, a / f"{title}.score", "--backend", *words
        )
    metrics: list[object] = [a, "result", data, NAME, "--llr", "true"]
    found["metrics"] = step("compute_metrics", *metrics)
    found["metrics, intervals"] = step("compute_metrics", *metrics, "--test-data", data)
    step("compute_metrics", b, "result", data, NAME, "--test-data", data)
    found["calibrate"] = step("calibrate", a, HELDOUT, NAME)
    heldout, test = ([exp / "scores" / f"{trials}.score" for exp in (a, b)] for trials in (HELDOUT, NAME))
    found["fuse, two systems"] = step("fuse", folder / "fused.score", "--heldout", *heldout, "--scores", *test)
    found["compare, two systems"] = step("compare", "--test-data", data, a, b)
    return found


def plain_of(folder: Path) -> Figures:
    """Run each plain form in a folder in which the steps were run; return its CPU seconds and peak MiB."""
    return {step: run(ROOT / "bench" / "plain_lists.py", step, folder) for step in FORMS}


def main() -> None:
    """Run all steps at both lengths and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 and 100,000 trials of 5,000 utterances")
    parser.add_argument(
        "--trials",
        type=int,
        default=10_000_000,
        help="number of trials of the longer list; the other list has a million",
    )
    parser.add_argument("--plain", choices=["true", "false"], default="true", help="also run the plain forms")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="folder of the version whose steps are run")
    args = parser.parse_args()
    lengths, utts = ((20_000, 100_000), 5_000) if args.quick else ((MOST, args.trials), UTTS)
    figures, plain = list[Figures](), Figures()
    for count in lengths:
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(make_lists, Path(folder), count, utts).result()
            figures.append(steps_of(Path(folder), args.checkout.resolve()))
            if args.plain == "true" and count == lengths[1]:
                plain = plain_of(Path(folder))
    for step, (seconds, mib) in figures[1].items():
        few, few_mib = figures[0][step]
        reference, reference_mib = plain.get(step, (None, 0.0))
        more = {
            "us_per_trial": 1e6 * (seconds - few) / (lengths[1] - lengths[0]),
            "peak_mib": mib,
            "reference_peak_mib": reference_mib,
            "seconds_short": few,
            "peak_mib_short": few_mib,
        }
        report("long_lists", f"{step}, {lengths[1]} trials ({lengths[0]})", seconds, reference, **more)


if __name__ == "__main__":
    main()
