"""Sub-center AAM-softmax: K weight vectors a speaker, of which the nearest to an utterance counts.

    cos_j = max_k <x, w_jk>,    1 <= k <= K,    and AAM-softmax of these cosines

A speaker's clean utterances gather at one of the K, mislabelled and odd ones at the others.

Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web Faces", ECCV 2020.
"""

from torch import Tensor, nn

from sv.errors import UserError
from sv.losses.aam_softmax import AamSoftmax
from sv.losses.cosine import cosine_matrix
from sv.losses.head import speaker_weight


def subcenter_weight(embedding_dim: int, num_speakers: int, num_subcenters: int) -> nn.Parameter:
    """(speakers, subcenters, dim), drawn as all of them together are drawn in a head of so many speakers."""
    if num_subcenters < 1:
        raise UserError(f"num_subcenters (K) is {num_subcenters}; it must be 1 or more, as 3 is")
    rows = speaker_weight(embedding_dim, num_speakers * num_subcenters).detach()
    return nn.Parameter(rows.unflatten(0, (num_speakers, num_subcenters)))


def subcenter_cosines(embedding: Tensor, weight: Tensor) -> Tensor:
    """Cosines (batch, speakers) of embedding (batch, dim) with the nearest of weight (speakers, subcenters, dim)."""
    cosine = cosine_matrix(embedding, weight.flatten(0, 1))  # (batch, speakers * subcenters)
    return cosine.unflatten(1, weight.shape[:2]).amax(dim=2)


class AamSubcenter(AamSoftmax):
    """AAM-softmax over the speakers, each with several weight vectors.

    Args: as of `AamSoftmax`, and
        num_subcenters: K.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        *,
        scale: float = 32.0,
        easy_margin: bool = False,
        num_subcenters: int = 3,
    ) -> None:
        super().__init__(embedding_dim, num_speakers, scale=scale, easy_margin=easy_margin)
        self.weight = subcenter_weight(embedding_dim, num_speakers, num_subcenters)

    def cosines(self, embedding: Tensor) -> Tensor:
        return subcenter_cosines(embedding, self.weight.to(embedding.dtype))
