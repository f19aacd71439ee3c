"""Find labels of a training set that look wrong, by the head's loss or the cosine to the speaker's other utterances.

Both work on embeddings of whole utterances. An utterance with a wrong label tends to keep a high loss while the others
of its class are learned, and to lie far from them.
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
    """Return the loss of each utterance, (utts,); NaN if the head does not know its speaker.

    Args:
        head: a trained head, on the CPU.
        embeddings: (utts, dim).
        speaker: (utts,) the head's class; -1 for a speaker that it does not know.
        margin: margin of the loss.
    """
    losses = np.full(len(embeddings), np.nan, dtype=np.float32)
    known = np.flatnonzero(speaker >= 0)
    for first in range(0, len(known), _BLOCK):
        rows = known[first : first + _BLOCK]
        losses[rows] = head(torch.from_numpy(embeddings[rows]), torch.from_numpy(speaker[rows]), margin).losses.numpy()
    return losses


def class_cosines(embeddings: Floats, speaker: Longs) -> tuple[Floats, Longs]:
    """Compare each utterance with the mean of its speaker's other utterances, and find the nearest other speaker.

    The mean of all embeddings is subtracted first, as before scoring.

    Args:
        embeddings: (utts, dim).
        speaker: (utts,) from 0 to the number of speakers - 1, at least two.

    Returns:
        cosines (utts,), NaN for a speaker's only utterance; and (utts,) the speaker with the nearest mean, other than
        the labelled one.
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
    """Measures of how well a ranking finds wrong labels.

    Attributes:
        wrong: number of wrong labels in the ranking.
        precision: share of wrong labels among the first `wrong` of the ranking; it equals the recall there.
        average_precision: mean over the wrong labels of the precision at their rank.
    """

    wrong: int
    precision: float
    average_precision: float


def measure_detection(is_wrong: NDArray[np.bool_]) -> Detection:
    """Measure a ranking, the most suspicious first: (utts,) whether each label is wrong; at least one must be."""
    wrong = int(is_wrong.sum())
    ranks = np.flatnonzero(is_wrong) + 1
    return Detection(wrong, float(is_wrong[:wrong].mean()), float((np.arange(1, wrong + 1) / ranks).mean()))
