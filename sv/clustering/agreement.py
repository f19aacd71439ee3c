"""Agreement of clusters with true speakers, from the table of how many utterances each pair of them shares."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Measures of two partitions of the same utterances; each is 1 if they are equal.

    Attributes:
        nmi: mutual information over the mean of both entropies.
        ari: adjusted Rand index, 0 for chance (Hubert and Arabie, "Comparing partitions", 1985, equation 5).
        b_cubed_precision: mean over utterances of the share of their cluster that is of their speaker.
        b_cubed_recall: mean over utterances of the share of their speaker that is in their cluster (Bagga and Baldwin,
            "Entity-based cross-document coreferencing using the vector space model", 1998).
        purity: share of utterances whose speaker is the most frequent one of their cluster.
        pair_f1: harmonic mean of precision and recall of the pairs of utterances that are put together.
    """

    nmi: float
    ari: float
    b_cubed_precision: float
    b_cubed_recall: float
    purity: float
    pair_f1: float


def measure_agreement(cluster: Longs, speaker: Longs) -> Agreement:
    """Compare clusters with speakers.

    Args:
        cluster, speaker: (utts,) any numbers; at least one utterance.
    """
    shared, of_cluster, of_speaker = _table(cluster, speaker)
    total = len(cluster)
    rows, columns, counts = shared
    in_cluster, in_speaker = of_cluster[rows], of_speaker[columns]
    information = float((counts * np.log(counts * total / (in_cluster * in_speaker))).sum() / total)
    entropy = (_entropy(of_cluster) + _entropy(of_speaker)) / 2
    both, clusters, speakers, pairs = _pairs(counts), _pairs(of_cluster), _pairs(of_speaker), total * (total - 1) / 2
    chance, most = clusters * speakers / max(pairs, 1), (clusters + speakers) / 2
    purest = np.zeros(len(of_cluster))
    np.maximum.at(purest, rows, counts)
    return Agreement(
        nmi=information / entropy if entropy else 1.0,
        ari=(both - chance) / (most - chance) if most != chance else 1.0,
        b_cubed_precision=float((counts**2 / in_cluster).sum() / total),
        b_cubed_recall=float((counts**2 / in_speaker).sum() / total),
        purity=float(purest.sum() / total),
        pair_f1=both / most if most else 1.0,
    )


def pair_f1(cluster: Longs, speaker: Longs, wrong_weight: float = 1.0) -> float:
    """Return the F1 of pairs of utterances; those of two speakers weigh `wrong_weight` each. It is 1 without pairs."""
    (_, _, counts), of_cluster, of_speaker = _table(cluster, speaker)
    both, clusters, speakers = _pairs(counts), _pairs(of_cluster), _pairs(of_speaker)
    most = (both + wrong_weight * (clusters - both) + speakers) / 2
    return both / most if most else 1.0


def _table(cluster: Longs, speaker: Longs) -> tuple[tuple[Longs, Longs, Doubles], Doubles, Doubles]:
    """Return the pairs that share utterances (row, column, count), and the sizes of clusters and of speakers."""
    rows, of_cluster = np.unique(cluster, return_inverse=True, return_counts=True)[1:]
    columns, of_speaker = np.unique(speaker, return_inverse=True, return_counts=True)[1:]
    codes, counts = np.unique(rows * len(of_speaker) + columns, return_counts=True)
    shared = codes // len(of_speaker), codes % len(of_speaker), counts.astype(np.float64)
    return shared, of_cluster.astype(np.float64), of_speaker.astype(np.float64)


def _pairs(counts: Doubles) -> float:
    return float((counts * (counts - 1)).sum() / 2)


def _entropy(counts: Doubles) -> float:
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())
