#!/usr/bin/env python3
"""Steps on long trial lists in the plain form: all lines are read into memory, and trials are scored one at a time.

The references of bench/long_lists.py, which starts each as a process. Measures are EER, minDCF and Cllr, the comparison
has no test.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.plda import plain_ratio
from bench.score import argsort_metrics
from sv.io import read_vectors
from sv.scoring.calibration import fit
from sv.scoring.plda_files import read_backend

NAME, HELDOUT, TOP = "long.kaldi", "heldout.kaldi", 300
Doubles = NDArray[np.float64]
Lines = list[list[str]]


def read(path: Path) -> Lines:
    """Return the words of each line."""
    with open(path) as f:
        return [line.split() for line in f]


def score(folder: Path, score_of: Callable[[str, str], float]) -> None:
    """Score the trial list."""
    trials = read(folder / "data" / NAME)
    scores = [score_of(enroll, test) for enroll, test, _ in trials]
    write(folder, trials, scores)


def write(folder: Path, trials: Lines, scores: list[float]) -> None:
    """Write a score file; of `trials`, the first two words and the last one of a line are taken."""
    with open(folder / "plain.score", "w") as f:
        for words, value in zip(trials, scores, strict=True):
            f.write(f"{words[0]} {words[1]} {value:.5f} {words[-1]}\n")


def unit_rows(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read embeddings, and bring each to length 1."""
    vectors = read_vectors(path)
    return {name: row / np.linalg.norm(row) for name, row in zip(vectors.ids, vectors.matrix, strict=True)}


def cosine(folder: Path) -> None:
    """Score by the cosine."""
    unit = unit_rows(folder / "a" / "xvector.scp")
    score(folder, lambda enroll, test: float(unit[enroll] @ unit[test]))


def plda(folder: Path) -> None:
    """Score by PLDA."""
    vectors, backend = read_vectors(folder / "a" / "xvector.scp"), read_backend(folder / "a" / "plda")
    latent = backend.plda.latent(backend.projection.apply(vectors))
    rows = dict(zip(vectors.ids, latent, strict=True))
    score(folder, lambda enroll, test: plain_ratio(backend.plda.psi, rows[enroll], rows[test]))


def asnorm(folder: Path) -> None:
    """Score by the cosine, normalized by the cohort; all scores with the cohort are held."""
    unit = unit_rows(folder / "a" / "xvector.scp")
    cohort = np.stack(list(unit_rows(folder / "a" / "spk_xvector.scp").values()))
    top = np.sort(np.stack(list(unit.values())) @ cohort.T, axis=1)[:, -TOP:]
    mean, std = (dict(zip(unit, values, strict=True)) for values in (top.mean(axis=1), top.std(axis=1)))

    def normalized(enroll: str, test: str) -> float:
        plain = unit[enroll] @ unit[test]
        return float(0.5 * ((plain - mean[enroll]) / std[enroll] + (plain - mean[test]) / std[test]))

    score(folder, normalized)


def columns(lines: Lines) -> tuple[Doubles, NDArray[np.bool_]]:
    """Return scores and labels."""
    return np.array([float(words[2]) for words in lines]), np.array([words[3] == "target" for words in lines])


def metrics(folder: Path, systems: str) -> None:
    """Measure the score files of the systems."""
    read_all = [read(folder / system / "scores" / f"{NAME}.score") for system in systems]
    for lines in read_all:
        scores, is_target = columns(lines)
        costs = np.logaddexp(0, np.where(is_target, -scores, scores)) / np.log(2)
        print(
            argsort_metrics(scores.astype(np.float32), is_target),
            (costs[is_target].mean() + costs[~is_target].mean()) / 2,
        )


def calibrate(folder: Path, systems: str) -> None:
    """Train a calibration or a fusion on the held-out trials, and apply it to the test trials."""
    heldout, test = (
        [read(folder / system / "scores" / f"{name}.score") for system in systems] for name in (HELDOUT, NAME)
    )
    scored = [columns(lines) for lines in heldout]
    found = fit(np.column_stack([scores for scores, _ in scored]), scored[0][1], list(systems))
    values = [
        sum(weight * float(words[2]) for weight, words in zip(found.weights, lines, strict=True)) + found.offset
        for lines in zip(*test, strict=True)
    ]
    write(folder, test[0], values)


FORMS: dict[str, Callable[[Path], None]] = {
    "cosine scores": cosine,
    "PLDA scores": plda,
    "AS-norm scores": asnorm,
    "metrics": partial(metrics, systems="a"),
    "calibrate": partial(calibrate, systems="a"),
    "fuse, two systems": partial(calibrate, systems="ab"),
    "compare, two systems": partial(metrics, systems="ab"),
}


def main() -> None:
    """Run one form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=FORMS, help="which step")
    parser.add_argument("folder", type=Path, help="of bench/long_lists.py's make_lists, in which the steps were run")
    args = parser.parse_args()
    FORMS[args.form](args.folder)


if __name__ == "__main__":
    main()
