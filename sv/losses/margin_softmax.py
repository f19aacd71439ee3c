"""The base of the softmax losses with a margin: scaled cross entropy of cosines, the true speaker's one moved."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from sv.losses.cosine import cosine_matrix
from sv.losses.head import speaker_weight
from sv.losses.options import MarginSoftmaxOptions
from sv.losses.softmax_head import SoftmaxHead


class MarginSoftmax(SoftmaxHead):
    """Softmax over the scaled cosines, after the margin has moved the true speaker's.

    loss = -log( e^{s moved(cos_y, m)} / (e^{s moved(cos_y, m)} + sum_{j != y} e^{s cos_j}) )

    `losses` is the plain form; the head computes the same in two passes over blocks of speakers (`softmax_head.py`).
    """

    def __init__(self, embedding_dim: int, num_speakers: int, options: MarginSoftmaxOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.scale = options.scale
        self.weight = speaker_weight(embedding_dim, num_speakers)

    def cosines(self, embedding: Tensor) -> Tensor:
        """Return cosines (batch, speakers) of embedding (batch, dim) with all speakers."""
        return cosine_matrix(embedding, self.weight.to(embedding.dtype))

    def moved(self, cosine: Tensor, margin: float) -> Tensor:
        """Return the value that replaces the true speaker's cosine, of any shape."""
        raise NotImplementedError

    def against_others(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        """Return what replaces the cosines (batch, speakers) with the other speakers; here the same cosines."""
        return cosine

    def losses(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        """Return losses (batch,) from the cosines (batch, speakers) with all speakers, in the plain form."""
        index = speaker.unsqueeze(1)  # (batch, 1)
        moved = self.moved(cosine.gather(1, index), margin)
        moved = self.against_others(cosine, speaker, margin).scatter(1, index, moved)
        return cross_entropy(self.scale * moved, speaker, reduction="none")

    def target(self, product: Tensor, x: Tensor, margin: float) -> Tensor:
        return self.scale * self.moved(product, margin)
