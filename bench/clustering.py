"""Clusters of synthetic embeddings: k-means to points, agglomeration of the points. One JSON line a figure.

Seconds are CPU time: run it with one thread. --quick: 10,000 utterances instead of 100,000.

k-means        10 utterances of each speaker, dimension 192; 15 iterations or fewer, each of which is one product of all
               utterances and all points
agglomeration  average linkage of the points, and the clusters of utterances at a threshold; how well they agree with
               the speakers, and the most memory that the process has held
"""

import resource
import time

import numpy as np

from bench.common import parse_quick, report
from sv.clustering.agglomeration import MOST_UTTS, agglomerate, k_means
from sv.clustering.agreement import measure_agreement

UTTS, QUICK_UTTS = 100_000, 10_000
DIM, EACH, SPREAD, THRESHOLD = 192, 10, 0.8, 0.5


def main() -> None:
    """Measure each part once: the whole takes minutes."""
    utts = QUICK_UTTS if parse_quick(__doc__) else UTTS
    rng = np.random.default_rng(0)
    speaker = rng.permutation(np.repeat(np.arange(utts // EACH), EACH))
    rows = rng.standard_normal((utts // EACH, DIM), np.float32)[speaker]
    rows += SPREAD * rng.standard_normal((utts, DIM), np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    points = MOST_UTTS * utts // UTTS
    start = time.process_time()
    of_point = k_means(unit, points)
    report("clustering", f"k-means, {utts} utterances, {points} points", time.process_time() - start)
    start = time.process_time()
    found = agglomerate(unit, of_point).clusters(THRESHOLD)
    seconds = time.process_time() - start
    agreed = measure_agreement(found, speaker)
    more = {"clusters": float(found.max() + 1), "nmi": agreed.nmi, "b_cubed_recall": agreed.b_cubed_recall}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report("clustering", f"agglomeration, {of_point.max() + 1} points", seconds, peak_gib=peak, **more)


if __name__ == "__main__":
    main()
