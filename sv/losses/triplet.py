"""Triplet loss: an utterance must lie nearer to its speaker's others than to those of other speakers, by a margin.

    loss of anchor a = mean over pairs (a, p) of [ m + d(a, p) - d(a, n) ]_+,    d(x, y) = |x - y|^2 = 2 - 2 cos(x, y)

p is another utterance of the speaker of a, n one of another speaker, both at norm 1. `mining` chooses them:

    semihard  every p; n is the nearest that is farther than p, or the farthest if all are nearer
    hardest   p is the farthest, n the nearest

The margin is the same from the first step on: at margin 0, embeddings that are all alike have no loss.

Schroff, Kalenichenko, Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015, arXiv
1503.03832 (semi-hard); Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
arXiv 1703.07737 (batch hard).
"""

import torch
from torch import Tensor

from sv.losses.cosine import unit
from sv.losses.metric import MetricHead
from sv.losses.options import TripletOptions


class Triplet(MetricHead):
    """Triplet loss on cosines."""

    def __init__(self, embedding_dim: int, num_speakers: int, options: TripletOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.mining = options.mining

    def compare(self, groups: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        speakers, size, _ = groups.shape
        utts = unit(groups.flatten(0, 1))
        distance = 2 - 2 * utts @ utts.T  # (batch, batch)
        of_own, of_others = positives_and_negatives(speakers, size, groups.device)
        positive, negative = distance.gather(1, of_own), distance.gather(1, of_others)
        mine = {"semihard": semihard, "hardest": hardest}[self.mining]
        losses = mine(positive, negative, margin).unflatten(0, (speakers, size))
        correct = positive.amin(dim=1) < negative.amin(dim=1)
        return losses, correct.unflatten(0, (speakers, size))


def positives_and_negatives(speakers: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the indices of each anchor's positives (batch, K - 1) and negatives (batch, batch - K), in P x K."""
    batch = speakers * size
    place = torch.arange(batch, device=device).unsqueeze(1)
    first = place - place % size  # of the anchor's speaker
    of_own = first + (place + torch.arange(1, size, device=device)) % size
    of_others = (first + torch.arange(size, batch, device=device)) % batch
    return of_own, of_others


def semihard(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Return losses (batch,) of semi-hard mining.

    Args:
        positive, negative: (batch, K - 1) and (batch, batch - K), each anchor's distances.
    """
    each, others = positive.unsqueeze(2), negative.unsqueeze(1)
    farther = torch.where(others > each, others, torch.inf).amin(dim=2)  # (batch, K - 1)
    negative = torch.where(farther.isinf(), negative.amax(dim=1, keepdim=True), farther)
    return (margin + positive - negative).clamp_min(0).mean(dim=1)


def hardest(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Return losses (batch,) of hardest mining; arguments as `semihard`."""
    return (margin + positive.amax(dim=1) - negative.amin(dim=1)).clamp_min(0)
