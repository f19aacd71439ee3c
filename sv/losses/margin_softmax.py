"""The base of the softmax losses with a margin: scaled cross entropy of cosines, the true speaker's one moved."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from sv.losses.cosine import cosine_matrix
from sv.losses.head import Head, HeadOutput, speaker_weight, split_softmax
from sv.losses.options import MarginSoftmaxOptions
from sv.losses.split import HeadPart, entries, take


class MarginSoftmax(Head):
    """Softmax over the scaled cosines, after the margin has moved the true speaker's.

    loss = -log( e^{s moved(cos_y, m)} / (e^{s moved(cos_y, m)} + sum_{j != y} e^{s cos_j}) )
    """

    row_parameters: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, embedding_dim: int, num_speakers: int, options: MarginSoftmaxOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.scale = options.scale
        self.weight = speaker_weight(embedding_dim, num_speakers)

    def cosines(self, embedding: Tensor) -> Tensor:
        """Return cosines (batch, speakers) of embedding (batch, dim) and the speakers whose rows are here."""
        return cosine_matrix(embedding, self.weight.to(embedding.dtype))

    def moved(self, cosine: Tensor, margin: float) -> Tensor:
        """Return the value that replaces the true speaker's cosine, of any shape."""
        raise NotImplementedError

    def against_others(self, cosine: Tensor, row: Tensor, margin: float, part: HeadPart | None) -> Tensor:
        """Return the values that replace the cosines (batch, speakers) with the other speakers; here the same cosines.

        Args:
            row: (batch,) column of the true speaker; out of range where another process has it.
            part: the part of the head whose speakers these are; None: they are all speakers.
        """
        return cosine

    def losses(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        """Return losses (batch,) from the cosines (batch, speakers) with all speakers."""
        index = speaker.unsqueeze(1)  # (batch, 1)
        moved = self.moved(cosine.gather(1, index), margin)
        moved = self.against_others(cosine, speaker, margin, None).scatter(1, index, moved)
        return cross_entropy(self.scale * moved, speaker, reduction="none")

    def compute(self, embedding: Tensor, speaker: Tensor, margin: float) -> HeadOutput:
        cosine = self.cosines(embedding)
        return HeadOutput.of(self.losses(cosine, speaker, margin), cosine.argmax(dim=1) == speaker)

    def compute_split(self, embedding: Tensor, speaker: Tensor, margin: float, part: HeadPart) -> HeadOutput:
        everyone, speakers = part.gather_batch(embedding, speaker)
        cosine, row = self.cosines(everyone), speakers - part.first
        moved = self.against_others(cosine, row, margin, part)
        moved = moved.scatter(1, *entries(moved, row, self.moved(take(cosine, row), margin)))
        return split_softmax(self.scale * moved, cosine, row, part)
