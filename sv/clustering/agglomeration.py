"""Clusters of embeddings by average linkage on the cosine, with a threshold taken from labelled speakers.

Agglomeration repeatedly merges the two clusters whose utterances have the highest mean cosine, until no pair of
clusters reaches the threshold. It finds the number of speakers by itself. Its memory grows with the square of the
utterances; above `MOST_UTTS` spherical k-means makes as many small clusters first. These are then merged like single
utterances: the mean over two clusters counts each of them once, however many utterances it has.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv.clustering.agreement import pair_f1
from sv.clustering.whitening import unit_rows
from sv.errors import UserError, log

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]

MOST_UTTS = 20_000  # 1.6 GB of distances
_ITERATIONS = 15  # of k-means
_CANDIDATES = 300  # thresholds that are tried
_BLOCK_BYTES = 1 << 28  # of a block of cosines
_ROWS = 256  # of cosines at a time


@dataclass(frozen=True)
class Merges:
    """The merges of an agglomeration.

    Attributes:
        linkage: (points - 1, 4), scipy's; the third column is 1 - mean cosine.
        of_point: (utts,) the point that each utterance belongs to.
    """

    linkage: Doubles
    of_point: Longs

    def clusters(self, threshold: float) -> Longs:
        """Return the cluster of each utterance, (utts,) from 0, where no two clusters reach the threshold."""
        from scipy.cluster.hierarchy import fcluster

        labels = fcluster(self.linkage, 1 - threshold, criterion="distance") if len(self.linkage) else np.array([1])
        return labels.astype(np.int64)[self.of_point] - 1

    def thresholds(self) -> Doubles:
        """Return thresholds that give different clusters, ascending: between merges, at most a few hundred of many."""
        edges = np.array([-1, *np.unique(1 - self.linkage[:, 2]), 1])
        found = (edges[1:] + edges[:-1]) / 2
        return found[np.unique(np.linspace(0, len(found) - 1, _CANDIDATES).round().astype(int))]


def merge(embeddings: Floats, most: int = MOST_UTTS) -> Merges:
    """Agglomerate embeddings.

    Args:
        embeddings: (utts, dim), already without their mean; of any length.
        most: above this number of utterances, k-means makes as many points first.

    Raises:
        UserError: an embedding of 0.
    """
    unit = unit_rows(embeddings)
    if len(unit) <= most:
        return agglomerate(unit, np.arange(len(unit)))
    of_point = k_means(unit, most)
    log.info("%d utterances, first grouped into %d points by k-means", len(unit), of_point.max() + 1)
    return agglomerate(unit, of_point)


def agglomerate(unit: Floats, of_point: Longs) -> Merges:
    """Agglomerate points, which are utterances or small clusters of them.

    Args:
        unit: (utts, dim) of length 1.
        of_point: (utts,) the point of each utterance, from 0 without a gap.
    """
    from scipy.cluster.hierarchy import linkage

    points = group_sums(unit, of_point) / np.bincount(of_point).astype(np.float32)[:, None]
    found = linkage(_distances(points), method="average") if len(points) > 1 else np.empty((0, 4))
    return Merges(found, of_point)


def _distances(points: Floats) -> Doubles:
    """Return 1 - mean cosine of the utterances of each two points, (pairs,) in scipy's order.

    Args:
        points: (points, dim) means of utterances of length 1. Scaled to length 1 themselves, they would be nearer to
            one another than their utterances are, and a threshold of utterances would put too many together.
    """
    doubles, total = points.astype(np.float64), len(points)
    found, filled = np.empty(total * (total - 1) // 2), 0
    for first in range(0, total, _ROWS):
        cosines = doubles[first : first + _ROWS] @ doubles[first:].T
        for row in range(len(cosines)):
            others = 1 - cosines[row, row + 1 :]
            found[filled : filled + len(others)] = others
            filled += len(others)
    return found.clip(0, out=found)  # of equal ones, rounding can leave less


def best_threshold(embeddings: Floats, speaker: Longs, num_speakers: float = 0.0) -> tuple[float, float]:
    """Return the threshold at which agglomeration finds labelled speakers best, by F1 of pairs, and this F1.

    With more speakers, more clusters of two speakers are close enough to merge, and more pairs of utterances are wrong:
    pairs of one speaker grow with the number of speakers, pairs of two with its square. So wrong pairs are weighted by
    the ratio of the numbers of other speakers.

    Args:
        embeddings: (utts, dim), as `merge` takes them.
        speaker: (utts,) of at least two speakers, one of them with two utterances.
        num_speakers: expected among the utterances that the threshold is for; of fewer than are labelled, it makes no
            difference.

    Raises:
        UserError: there are no two utterances of a speaker, or no two speakers.
    """
    sizes = np.unique(speaker, return_counts=True)[1]
    if len(sizes) < 2 or sizes.max() < 2:
        raise UserError("a threshold needs two labelled speakers or more, with two utterances or more")
    weight = max(1.0, (num_speakers - 1) / (len(sizes) - 1))
    merges = merge(embeddings)
    thresholds = merges.thresholds().tolist()
    scores = [pair_f1(merges.clusters(threshold), speaker, weight) for threshold in thresholds]
    row = int(np.argmax(scores))
    return thresholds[row], scores[row]


def k_means(unit: Floats, count: int) -> Longs:
    """Return the cluster of each utterance by spherical k-means, (utts,) from 0; empty clusters are left out.

    faiss does it if it is installed, else numpy.

    Args:
        unit: (utts, dim) of length 1.
        count: clusters to begin with: evenly spaced utterances.
    """
    centers = unit[np.linspace(0, len(unit) - 1, count).round().astype(int)].copy()
    try:
        import faiss  # type: ignore[import-not-found]
    except ImportError:
        return np.unique(_k_means(unit, centers), return_inverse=True)[1]
    dim, most = unit.shape[1], len(unit)
    sizes = {"min_points_per_centroid": 1, "max_points_per_centroid": most}
    found = faiss.Kmeans(dim, count, niter=_ITERATIONS, spherical=True, **sizes)
    found.train(np.ascontiguousarray(unit), init_centroids=centers)
    return np.unique(found.index.search(unit, 1)[1][:, 0], return_inverse=True)[1]


def _k_means(unit: Floats, centers: Floats) -> Longs:
    """Return the nearest center of each row after the iterations, (utts,); the centers move."""
    nearest: Longs = np.zeros(len(unit), np.int64)
    for _ in range(_ITERATIONS):
        before, nearest = nearest, _nearest(unit, centers)
        if np.array_equal(before, nearest):
            break
        sums = group_sums(unit, nearest, len(centers))
        used = np.linalg.norm(sums, axis=1) > 0
        centers[used] = unit_rows(sums[used])
    return nearest


def _nearest(unit: Floats, centers: Floats) -> Longs:
    """Return the center with the highest cosine for each row, (rows,)."""
    block = max(1, _BLOCK_BYTES // (4 * len(centers)))
    return np.concatenate(
        [(unit[first : first + block] @ centers.T).argmax(axis=1) for first in range(0, len(unit), block)]
    )


def group_sums(rows: Floats, group: Longs, count: int = 0) -> Floats:
    """Return the sum of the rows of each group, (groups, dim)."""
    order = np.argsort(group, kind="stable")
    found = np.zeros((count or int(group.max()) + 1, rows.shape[1]), np.float32)
    names, firsts = np.unique(group[order], return_index=True)
    found[names] = np.add.reduceat(rows[order], firsts, axis=0)
    return found
