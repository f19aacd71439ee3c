"""PLDA against one speaker and one trial at a time. One JSON line a figure; --quick: a minute.

Seconds are CPU time: run it with one thread.

train    10 iterations of EM on 20,000 utterances of 1,000 speakers, dimension 256; reference: Kaldi's formulas, one
         speaker at a time, with a matrix inverted for each number of utterances
score    1,000,000 trials over 50,000 utterances; reference: one trial at a time; floor: the matrix product that
         diagonalizes the space, then gather the rows and dot them
"""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.common import best_seconds, parse_quick, report
from sv.io import Trials
from sv.scoring.cosine import pair_dots
from sv.scoring.plda import Plda, PldaScorer, train_plda
from sv.scoring.speakers import class_stats

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
DIM = 256
NUM_ITERS, QUICK_SCALE = 10, 10


def draw(num_speakers: int, num_utts: int) -> tuple[Floats, NDArray[np.intp]]:
    """Draw embeddings (utts, DIM) and the speaker of each; speakers have 20 utterances on average."""
    rng = np.random.default_rng(0)
    speaker = np.repeat(
        np.arange(num_speakers), rng.multinomial(num_utts - 2 * num_speakers, [1 / num_speakers] * num_speakers) + 2
    )
    matrix = rng.standard_normal((num_speakers, DIM))[speaker] + 2 * rng.standard_normal((num_utts, DIM))
    return matrix.astype(np.float32), speaker


def plain_training(matrix: Floats, speaker: NDArray[np.intp], num_iters: int) -> tuple[Doubles, Doubles]:
    """Train by EM with Kaldi's formulas, one speaker at a time; return W and B, (DIM, DIM) each."""
    groups = [matrix[speaker == number].astype(np.float64) for number in range(speaker.max() + 1)]
    groups.sort(key=len)
    means = [group.mean(axis=0) for group in groups]
    scatter = np.zeros((DIM, DIM))
    for group, mean in zip(groups, means, strict=True):
        scatter += (group - mean).T @ (group - mean)
    center = np.mean(means, axis=0)
    within, between = np.eye(DIM), np.eye(DIM)
    for _ in range(num_iters):
        inverse_within, inverse_between = np.linalg.inv(within), np.linalg.inv(between)
        within_sum, between_sum, count = scatter.copy(), np.zeros((DIM, DIM)), 0
        for group, mean in zip(groups, means, strict=True):
            n = len(group)
            if n != count:
                count, mixed = n, np.linalg.inv(inverse_between + n * inverse_within)
            expected = mixed @ (n * inverse_within @ (mean - center))
            left = mean - center - expected
            between_sum += mixed + np.outer(expected, expected)
            within_sum += n * (mixed + np.outer(left, left))
        within, between = within_sum / len(matrix), between_sum / len(groups)
    return within, between


def bench_training(num_speakers: int, num_utts: int) -> Plda:
    """Report the time of training; return the model."""
    matrix, speaker = draw(num_speakers, num_utts)
    models: list[Plda] = []

    def ours() -> None:
        models[:] = [train_plda(class_stats(matrix, speaker), num_iters=NUM_ITERS)]

    def plain() -> tuple[Doubles, Doubles]:
        return plain_training(matrix, speaker, NUM_ITERS)

    within, between = plain()
    seconds, reference = best_seconds(ours, plain, least=1, clock=time.process_time)
    difference = max(np.abs(models[0].within - within).max(), np.abs(models[0].between - between).max())
    case = f"train {num_utts} utterances, {num_speakers} speakers, dim {DIM}, {NUM_ITERS} iterations"
    report("plda", case, seconds, reference, largest_difference=float(difference))
    return models[0]


def plain_ratio(psi: Doubles, enroll: Floats, test: Floats) -> float:
    """Return the log-likelihood ratio of one trial by Kaldi's formula, with one enroll utterance."""
    variance, alone = 1 + psi / (psi + 1), 1 + psi
    same = np.log(variance) + (test - psi / (psi + 1) * enroll) ** 2 / variance
    return float(-0.5 * (same - np.log(alone) - test**2 / alone).sum())


def bench_scoring(plda: Plda, num_trials: int, num_utts: int) -> None:
    """Report the time of scoring."""
    rng = np.random.default_rng(0)
    projected = rng.standard_normal((num_utts, DIM), dtype=np.float32)
    enroll, test = rng.integers(0, num_utts, (2, num_trials), dtype=np.int32)
    ids = np.array([str(i) for i in range(num_utts)], dtype=object)
    latent, transform = plda.latent(projected), plda.transform.astype(np.float32)
    some = min(num_trials, 20_000)

    def ours() -> Floats:
        scorer = PldaScorer(plda, plda.latent(projected))
        return scorer(Trials(Path("list"), 1, ids, ids, enroll, test, None, 0))

    def loop() -> list[float]:
        pairs = zip(enroll[:some], test[:some], strict=True)
        return [plain_ratio(plda.psi, latent[e], latent[t]) for e, t in pairs]

    def product_gather_and_dot() -> Floats:
        rotated = projected @ transform.T
        return pair_dots(rotated, rotated, enroll, test)

    seconds, reference, floor = best_seconds(ours, loop, product_gather_and_dot, clock=time.process_time)
    difference = float(np.abs(ours()[:some] - np.array(loop())).max())
    case = f"score {num_trials} trials, {num_utts} utterances, dim {DIM}"
    more = {"trials_per_second": num_trials / seconds, "largest_difference": difference}
    report("plda", case, seconds, reference * num_trials / some, floor, **more)


def main() -> None:
    """Run all cases and print their figures."""
    scale = QUICK_SCALE if parse_quick(__doc__) else 1
    plda = bench_training(1000 // scale, 20_000 // scale)
    bench_scoring(plda, 1_000_000 // scale, 50_000)


if __name__ == "__main__":
    main()
