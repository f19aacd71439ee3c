"""Links from clusters to labelled speakers, and pairs of classes that may be one person, by the cosine of means.

Both thresholds come from held-out labelled speakers, whom the model was not trained on. Fragments of their utterances,
as large as the clusters, stand for clusters.
"""

from dataclasses import dataclass

import numpy as np

from sv.clustering.agglomeration import Floats, Longs, group_sums
from sv.clustering.whitening import unit_rows
from sv.errors import UserError
from sv.metrics.error_rates import eer, eer_threshold, sort_scores

_PAIRS = 3000  # of fragments, of all held-out speakers; more would be no more accurate, since the speakers are few
_BLOCK = 1024  # rows of cosines at a time


@dataclass(frozen=True)
class Heldout:
    """Utterances of held-out speakers.

    Attributes:
        unit: (utts, dim) of length 1.
        speaker: (utts,) from 0.
    """

    unit: Floats
    speaker: Longs

    def fragments(self, sizes: Longs, seed: int) -> tuple[Floats, Floats, Longs]:
        """Draw pairs of fragments of a speaker that share no utterance.

        Args:
            sizes: (clusters,) utterances of the clusters, from which the sizes of the fragments are drawn. A speaker's
                fragment has at most half of their utterances.
            seed: seed of the draws.

        Returns:
            means of both, (pairs, dim) each, of length 1, and (pairs,) the speaker.

        Raises:
            UserError: fewer than two speakers have two utterances.
        """
        rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
        rows_of = [rows for name in np.unique(self.speaker) if len(rows := np.flatnonzero(self.speaker == name)) > 1]
        if len(rows_of) < 2:
            raise UserError("links need two held-out speakers or more, with two utterances or more")
        first, second, speaker = [], [], []
        draws = max(2, _PAIRS // len(rows_of))
        for number, rows in enumerate(rows_of):
            for size in np.minimum(sizes[rng.integers(len(sizes), size=draws)], len(rows) // 2):
                drawn = self.unit[rng.permutation(rows)[: 2 * size]]
                first.append(drawn[:size].mean(axis=0))
                second.append(drawn[size:].mean(axis=0))
                speaker.append(number)
        return unit_rows(np.array(first)), unit_rows(np.array(second)), np.array(speaker)


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the cosine of two means, and how often they err on held-out speakers.

    Attributes:
        link: a cluster above it belongs to the labelled speaker.
        false_links: share of fragments above it, with the nearest labelled speaker, who is somebody else.
        found_links: share of fragments above it, with another fragment of their speaker.
        same: two classes above it may be one person: fragments of one speaker are missed as often as those of two are
            taken for one.
        same_eer: percent of both errors there.
    """

    link: float
    false_links: float
    found_links: float
    same: float
    same_eer: float


def measure_thresholds(
    heldout: Heldout, classes: Floats, sizes: Longs, *, most_false: float = 0.01, seed: int = 0
) -> Thresholds:
    """Measure both thresholds.

    Args:
        heldout: held-out speakers, none of whom is one of the classes.
        classes: (classes, dim) means of the labelled speakers, of length 1.
        sizes: (clusters,) utterances of the clusters.
        most_false: largest share of false links.
        seed: seed of the fragments.

    Raises:
        UserError: see `Heldout.fragments`.
    """
    one, other, speaker = heldout.fragments(sizes, seed)
    wrong = np.concatenate([nearest(part, classes)[1] for part in (one, other)])
    link = float(np.quantile(wrong, 1 - most_false, method="higher"))
    cosines = one @ other.T  # (pairs, pairs)
    same = np.diagonal(cosines)
    scores = sort_scores(same, cosines[speaker[:, None] != speaker])
    return Thresholds(
        link, float((wrong > link).mean()), float((same > link).mean()), eer_threshold(scores), eer(scores)
    )


def nearest(means: Floats, classes: Floats) -> tuple[Longs, Floats]:
    """Return the class with the highest cosine for each mean, (means,), and this cosine; both sides of length 1."""
    found, cosines = np.empty(len(means), np.int64), np.empty(len(means), np.float32)
    for first in range(0, len(means), _BLOCK):
        block = slice(first, first + _BLOCK)
        scores = means[block] @ classes.T
        found[block], cosines[block] = scores.argmax(axis=1), scores.max(axis=1)
    return found, cosines


def close_pairs(means: Floats, num_labelled: int, threshold: float) -> Longs:
    """Return the pairs of classes whose means are nearer than a threshold, (pairs, 2), the lower number first.

    Two labelled speakers are never a pair: they are known to differ.

    Args:
        means: (classes, dim) of length 1, the labelled speakers first.
        num_labelled: number of labelled speakers.
        threshold: cosine.
    """
    pairs: list[Longs] = [np.empty((0, 2), np.int64)]
    for first in range(0, len(means), _BLOCK):
        rows, columns = np.nonzero(means[first : first + _BLOCK] @ means.T > threshold)
        rows += first
        kept = (columns > rows) & (columns >= num_labelled)
        pairs.append(np.stack([rows[kept], columns[kept]], axis=1))
    return np.concatenate(pairs)


def unit_means(unit: Floats, group: Longs) -> Floats:
    """Return the mean direction of each group, (groups, dim) of length 1; groups count from 0 without a gap."""
    return unit_rows(group_sums(unit, group))
