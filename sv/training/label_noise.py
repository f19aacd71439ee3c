"""Which labels of a training set look wrong: by the head's loss, and by the cosine to the mean of the speaker's others.

Both take embeddings of whole utterances. An utterance whose label is wrong tends to keep a high loss while the right
ones of its class are learned, and to lie far from them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sv.losses.head import Head

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

_BLOCK = 1024  # utterances


@torch.no_grad()
def head_losses(head: Head, embeddings: Floats, speaker: Longs, margin: float) -> Floats:
    """The loss of each utterance, (utts,); NaN where the head does not know the speaker.

    Args:
        embeddings: (utts, dim).
        speaker: (utts,) the head's class; -1 for a speaker that it does not know.
        margin: of the loss.
    """
    losses = np.full(len(embeddings), np.nan, dtype=np.float32)
    known = np.flatnonzero(speaker >= 0)
    for first in range(0, len(known), _BLOCK):
        rows = known[first : first + _BLOCK]
        losses[rows] = head(torch.from_numpy(embeddings[rows]), torch.from_numpy(speaker[rows]), margin).losses.numpy()
    return losses


def class_cosines(embeddings: Floats, speaker: Longs) -> tuple[Floats, Longs]:
    """Cosine of each utterance to the mean of its speaker's other utterances, and the nearest other speaker.

    The mean of all embeddings is subtracted first, as it is before scoring.

    Args:
        embeddings: (utts, dim).
        speaker: (utts,) from 0 to the number of speakers - 1, at least two.

    Returns:
        cosines (utts,), NaN for a speaker's only utterance; the speaker, other than the labelled one, whose mean is
        nearest (utts,).
    """
    unit = _unit(embeddings - embeddings.mean(axis=0))
    sums = np.zeros((int(speaker.max()) + 1, unit.shape[1]), dtype=np.float32)
    np.add.at(sums, speaker, unit)
    alone = np.bincount(speaker)[speaker] == 1
    cosines = np.einsum("ij,ij->i", unit, _unit(sums[speaker] - unit))
    cosines[alone] = np.nan
    means, nearest = _unit(sums), np.empty(len(unit), dtype=np.int64)
    for first in range(0, len(unit), _BLOCK):
        block = slice(first, first + _BLOCK)
        scores = unit[block] @ means.T  # (block, speakers)
        scores[np.arange(len(scores)), speaker[block]] = -np.inf
        nearest[block] = scores.argmax(axis=1)
    return cosines, nearest


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


@dataclass(frozen=True)
class Detection:
    """How well a ranking finds wrong labels.

    Attributes:
        wrong: how many there are among those ranked.
        precision: share of wrong ones among the first `wrong` of the ranking, which is also the share of all wrong ones
            found there, the recall.
        average_precision: mean over the wrong ones of the precision at their rank.
    """

    wrong: int
    precision: float
    average_precision: float


def measure_detection(is_wrong: NDArray[np.bool_]) -> Detection:
    """Of a ranking, the most suspicious first: whether each label is wrong; one at least is."""
    wrong = int(is_wrong.sum())
    ranks = np.flatnonzero(is_wrong) + 1
    return Detection(wrong, float(is_wrong[:wrong].mean()), float((np.arange(1, wrong + 1) / ranks).mean()))
