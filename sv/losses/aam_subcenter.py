"""Sub-center AAM-softmax: each speaker has K weight vectors, and the one nearest to the utterance counts.

    cos_j = max_k <x, w_jk>,    1 <= k <= K,    and AAM-softmax of these cosines

A speaker's clean utterances gather at one of the K, mislabelled and odd ones at the others.

Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web Faces", ECCV 2020.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from sv.losses.aam_softmax import AamSoftmax
from sv.losses.cosine import cosine_matrix
from sv.losses.head import speaker_weight
from sv.losses.options import AamSubcenterOptions


def subcenter_weight(embedding_dim: int, num_speakers: int, num_subcenters: int) -> nn.Parameter:
    """Draw a weight (speakers, subcenters, dim), like a head of speakers * subcenters speakers."""
    rows = speaker_weight(embedding_dim, num_speakers * num_subcenters).detach()
    return nn.Parameter(rows.unflatten(0, (num_speakers, num_subcenters)))


def group_rows(state: Mapping[str, Tensor], num_subcenters: int) -> dict[str, Tensor]:
    """Return a head's tensors; WeSpeaker's weight (speakers * subcenters, dim) becomes (speakers, subcenters, dim).

    In it, the rows of a speaker follow one another. A weight of another shape is left as it is.
    """
    weight = state.get("weight")
    if not isinstance(weight, Tensor) or weight.dim() != 2 or len(weight) % num_subcenters:
        return dict(state)
    return {**state, "weight": weight.unflatten(0, (-1, num_subcenters))}


def subcenter_cosines(embedding: Tensor, weight: Tensor) -> Tensor:
    """Return cosines (batch, speakers) of embedding (batch, dim) and the nearest weight (speakers, subcenters, dim)."""
    cosine = cosine_matrix(embedding, weight.flatten(0, 1))  # (batch, speakers * subcenters)
    return cosine.unflatten(1, weight.shape[:2]).amax(dim=2)


class AamSubcenter(AamSoftmax):
    """AAM-softmax over the speakers, each with several weight vectors."""

    def __init__(self, embedding_dim: int, num_speakers: int, options: AamSubcenterOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.weight = subcenter_weight(embedding_dim, num_speakers, options.num_subcenters)

    def cosines(self, embedding: Tensor) -> Tensor:
        return subcenter_cosines(embedding, self.weight.to(embedding.dtype))
