"""Cosine scores, AS-norm, EER and minDCF against plain loops and bare numpy. One JSON line a figure; --quick: a minute.

Seconds are CPU time: run it with one thread.

cosine   1,000,000 trials over 50,000 utterances; reference: one trial at a time; floor: gather the rows and dot them
metrics  10,000,000 float32 scores, 1 % targets; reference: np.argsort and cumulative sums, as usual; floor: np.sort
asnorm   5,000 x 5,000 trials, cohort 6,000, top 300; reference: one trial at a time, after all cohort scores were
         sorted at once; floor: the matrix products with the cohort and np.partition, then gather and dot
list     from a trial list on disk to its score file; reference: one line at a time
read     a trial list and a score file, with a number for each id, and a score file without them, as measures need it;
         reference: one line at a time; floor: pyarrow's bare reader on one thread, with ids as codes of a block, if
         it is installed (pip install pyarrow)
"""

import importlib
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common import best_seconds, parse_quick, report
from sv.io import ScoreWriter, Trials, Vectors, iter_scored_trials, read_trials
from sv.metrics.error_rates import sort_scores
from sv.metrics.measures import Entry, columns_of, measure
from sv.scoring.cosine import cosine_scores, pair_dots, unit_vectors
from sv.scoring.norm import ScoreNorm

Floats = NDArray[np.float32]
DIM, QUICK_SCALE = 256, 10
SCORE_COLUMNS = ["enroll", "test", "score", "label"]


def peak_mib(function: Callable[[], object]) -> float:
    """Return the peak memory of a call in MiB, beyond what was allocated before; includes arrays of numpy."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def bench_cosine(num_trials: int, num_utts: int) -> None:
    """Report the time of cosine scores in memory."""
    rng = np.random.default_rng(0)
    vectors = Vectors([str(i) for i in range(num_utts)], rng.standard_normal((num_utts, DIM), dtype=np.float32))
    matrix = vectors.matrix
    enroll, test = rng.integers(0, num_utts, (2, num_trials), dtype=np.int32)
    some = min(num_trials, 20_000)  # of the trials, for the slow reference
    unit = unit_vectors(vectors).matrix

    def ours() -> Floats:
        normalized = unit_vectors(vectors).matrix
        return pair_dots(normalized, normalized, enroll, test)

    def loop() -> list[float]:
        return [cosine(matrix[e], matrix[t]) for e, t in zip(enroll[:some], test[:some], strict=True)]

    def gather_and_dot() -> Floats:
        return np.einsum("ij,ij->i", unit[enroll], unit[test])

    seconds, reference, floor = best_seconds(ours, loop, gather_and_dot, clock=time.process_time)
    case = f"{num_trials} trials, {num_utts} utterances, dim {DIM}"
    more = {"trials_per_second": num_trials / seconds, "peak_mib": peak_mib(ours)}
    report("score", f"cosine {case}", seconds, reference * num_trials / some, floor, **more)


def cosine(x: Floats, y: Floats) -> float:
    """Return the cosine of two vectors."""
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


def bench_metrics(num_scores: int, target_share: float) -> None:
    """Report the time of EER and minDCF."""
    rng = np.random.default_rng(0)
    num_target = int(num_scores * target_share)
    target = rng.standard_normal(num_target, dtype=np.float32) + 3
    nontarget = rng.standard_normal(num_scores - num_target, dtype=np.float32)
    scores = np.concatenate([target, nontarget])
    is_target = np.arange(num_scores) < num_target

    columns = [column for column in columns_of() if column.measure.key in ("eer", "min_dcf")]

    def ours() -> Entry:
        return measure(sort_scores(target, nontarget), columns)

    seconds, reference, argsort, floor = best_seconds(
        ours,
        lambda: argsort_metrics(scores, is_target),
        lambda: np.argsort(scores),
        lambda: np.sort(scores),
        clock=time.process_time,
    )
    case = f"metrics {num_scores} scores, {100 * target_share:g} % targets"
    report("score", case, seconds, reference, floor, argsort_seconds=argsort, peak_mib=peak_mib(ours))


def argsort_metrics(scores: Floats, is_target: NDArray[np.bool_]) -> tuple[float, list[float]]:
    """Return EER in percent and minDCF at 0.01 and 0.05 as toolkits compute them; ties keep the order of the sort."""
    labels = is_target[np.argsort(scores)]
    miss = np.cumsum(labels) / labels.sum()
    accept = 1 - np.cumsum(~labels) / (~labels).sum()
    cross = int(np.argmin(np.abs(miss - accept)))
    costs = [float((p * miss + (1 - p) * accept).min() / min(p, 1 - p)) for p in (0.01, 0.05)]
    return 50 * float(miss[cross] + accept[cross]), costs


def bench_asnorm(num_utts: int, num_cohort: int, top_n: int) -> None:
    """Report the time of AS-norm on all pairs of `num_utts` enroll and as many test utterances, in blocks."""
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((2 * num_utts + num_cohort, DIM), dtype=np.float32)
    ids = [str(i) for i in range(2 * num_utts)]
    unit = unit_vectors(Vectors(ids, matrices[: 2 * num_utts]))
    cohort = unit_vectors(Vectors([str(i) for i in range(num_cohort)], matrices[2 * num_utts :]))
    names = np.array(ids, dtype=object)
    tests = np.arange(num_utts, 2 * num_utts, dtype=np.int32)
    some = min(num_utts, 100)  # enroll utterances, for the slow reference

    def ours() -> float:
        norm = ScoreNorm(unit, cohort, top_n=top_n)
        highest = -np.inf
        for enroll in range(0, num_utts, 2):
            rows = np.repeat(np.arange(enroll, enroll + 2, dtype=np.int32), num_utts)
            block = Trials(Path("list"), 1, names, names, rows, np.tile(tests, 2), None, 0)
            highest = max(highest, float(norm.normalize(block)[0].max()))
        return highest

    def loop() -> float:
        """Sort the cohort scores of all utterances, then score some trials one at a time."""
        top = np.sort(unit.matrix @ cohort.matrix.T, axis=1)[:, ::-1][:, :top_n]
        mean, std = top.mean(axis=1), top.std(axis=1)
        return time_of_trials(lambda e, t: float(unit.matrix[e] @ unit.matrix[t]), mean, std)

    def time_of_trials(dot: Callable[[int, int], float], mean: NDArray[Any], std: NDArray[Any]) -> float:
        start = time.process_time()
        for e in range(some):
            for t in range(num_utts, num_utts + some):
                s = dot(e, t)
                0.5 * ((s - mean[e]) / std[e] + (s - mean[t]) / std[t])
        return time.process_time() - start

    def floor() -> None:
        for start in range(0, 2 * num_utts, 350):
            np.partition(unit.matrix[start : start + 350] @ cohort.matrix.T, num_cohort - top_n, axis=1)
        for enroll in range(0, num_utts, 2):
            pair_dots(unit.matrix, unit.matrix, np.repeat([enroll, enroll + 1], num_utts), np.tile(tests, 2))

    seconds, reference, floor_seconds = best_seconds(ours, loop, floor, least=1, clock=time.process_time)
    trials_seconds = loop() * (num_utts / some) ** 2  # of all trials, one at a time
    case = f"asnorm {num_utts} x {num_utts}, cohort {num_cohort}, top {top_n}, dim {DIM}"
    report("score", case, seconds, reference + trials_seconds, floor_seconds, peak_mib=peak_mib(ours))


def bench_whole(num_trials: int, num_utts: int) -> None:
    """Report the time from a trial list to a score file on disk."""
    rng = np.random.default_rng(0)
    ids = [f"id1{i % 1251:04d}/abcdefghijk/{i:05d}.wav" for i in range(num_utts)]
    vectors = Vectors(ids, rng.standard_normal((num_utts, DIM), dtype=np.float32))
    some = min(num_trials, 20_000)
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "list.kaldi", Path(folder) / "list.score"
        write_list(path, ids, num_trials)

        def ours() -> None:
            unit = unit_vectors(vectors)
            with open(out, "w") as f:
                writer = ScoreWriter(f)
                for block in read_trials(path, ids):
                    writer.write(block, cosine_scores(block, unit))

        def loop() -> None:
            vector_of = dict(zip(ids, vectors.matrix, strict=True))
            with open(path) as lines, open(out, "w") as f:
                for line in islice(lines, some):
                    enroll, test, label = line.split()
                    f.write(f"{enroll} {test} {cosine(vector_of[enroll], vector_of[test]):.5f} {label}\n")

        seconds, reference = best_seconds(ours, loop, clock=time.process_time)
        more = {"trials_per_second": num_trials / seconds, "peak_mib": peak_mib(ours)}
    report("score", f"list to score file, {num_trials} trials", seconds, reference * num_trials / some, **more)


def write_list(path: Path, ids: list[str], num_trials: int) -> None:
    """Write trials of random utterances."""
    pairs = np.random.default_rng(1).integers(0, len(ids), (num_trials, 2)).tolist()
    path.write_text("".join(f"{ids[e]} {ids[t]} {'target' if e % 2 else 'nontarget'}\n" for e, t in pairs))


def bench_reading(num_trials: int, num_utts: int) -> None:
    """Report the time in which a trial list and a score file are read and checked."""
    ids = [f"id1{i % 1251:04d}/abcdefghijk/{i:05d}.wav" for i in range(num_utts)]
    row_of = {name: row for row, name in enumerate(ids)}
    with tempfile.TemporaryDirectory() as folder:
        trials, scores = Path(folder) / "list.kaldi", Path(folder) / "list.score"
        write_list(trials, ids, num_trials)
        with open(scores, "w") as f:
            writer = ScoreWriter(f)
            for block in read_trials(trials, ids):
                writer.write(block, np.random.default_rng(2).normal(size=len(block)))

        def read_list() -> int:
            return sum(map(len, read_trials(trials, ids)))

        def split_list() -> list[tuple[int, int, bool]]:
            with open(trials) as lines:
                words = map(str.split, lines)
                return [(row_of[enroll], row_of[test], label == "target") for enroll, test, label in words]

        def read_scores() -> int:
            return sum(map(len, iter_scored_trials(scores)))

        def split_scores() -> list[tuple[int, int, float, bool]]:
            with open(scores) as lines:
                words = map(str.split, lines)
                return [(row_of[e], row_of[t], float(score), label == "target") for e, t, score, label in words]

        def read_values() -> int:
            return sum(map(len, iter_scored_trials(scores, need_ids=False)))

        def split_values() -> list[tuple[float, bool]]:
            with open(scores) as lines:
                return [(float(score), label == "target") for _, _, score, label in map(str.split, lines)]

        cases = {
            "list": (read_list, split_list, arrow_read(trials, ["enroll", "test", "label"])),
            "scores": (read_scores, split_scores, arrow_read(scores, SCORE_COLUMNS)),
            "scores without ids": (read_values, split_values, arrow_read(scores, SCORE_COLUMNS, ["score", "label"])),
        }
        for case, (ours, reference, floor) in cases.items():
            candidates = [ours, reference, *([floor] if floor else [])]
            seconds, *others = best_seconds(*candidates, clock=time.process_time)
            more = {"lines_per_second": num_trials / seconds, "peak_mib": peak_mib(ours)}
            report("score", f"read {case}, {num_trials} trials", seconds, *others, **more)
        if not floor:
            print("score.py: no floor of the readers: pip install pyarrow", file=sys.stderr)


def arrow_read(path: Path, columns: list[str], wanted: list[str] | None = None) -> Callable[[], int] | None:
    """Return pyarrow's read of a list block by block, or None if pyarrow is not installed.

    Args:
        path: of the list.
        columns: all columns; words get codes, the score is a float64.
        wanted: columns that are read; None: all.
    """
    try:
        arrow, csv = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.csv")
    except ModuleNotFoundError:
        return None
    word = arrow.dictionary(arrow.int32(), arrow.string())
    types = {name: arrow.float64() if name == "score" else word for name in columns}
    options = {
        "read_options": csv.ReadOptions(column_names=columns, use_threads=False),
        "parse_options": csv.ParseOptions(delimiter=" "),
        "convert_options": csv.ConvertOptions(column_types=types, include_columns=wanted or columns),
    }
    return lambda: sum(len(block) for block in csv.open_csv(path, **options))


def main() -> None:
    """Run all cases and print their figures."""
    scale = QUICK_SCALE if parse_quick(__doc__) else 1
    bench_cosine(1_000_000 // scale, 50_000)
    for share in (0.01, 0.5):
        bench_metrics(10_000_000 // scale, share)
    bench_asnorm(5_000 // scale, 6_000, 300)
    bench_whole(1_000_000 // scale, 50_000)
    bench_reading(1_000_000 // scale, 50_000)


if __name__ == "__main__":
    main()
