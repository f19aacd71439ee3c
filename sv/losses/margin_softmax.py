"""What the softmax losses with a margin share: a scaled cross entropy over cosines, that of the true speaker moved."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from sv.losses.cosine import cosine_matrix
from sv.losses.head import CosineHead, HeadOutput, check_scale, split_softmax
from sv.losses.shard import Shard, entries, take


class MarginSoftmax(CosineHead):
    """Softmax over the scaled cosines, after the margin has moved the true speaker's.

        loss = -log( e^{s moved(cos_y, m)} / (e^{s moved(cos_y, m)} + sum_{j != y} e^{s cos_j}) )

    Args:
        scale: s, the norm given to every embedding.
    """

    row_parameters: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, embedding_dim: int, num_speakers: int, *, scale: float) -> None:
        super().__init__(embedding_dim, num_speakers)
        self.scale = check_scale(scale)

    def moved(self, cosine: Tensor, margin: float) -> Tensor:
        """What the true speaker's cosine counts as; any shape."""
        raise NotImplementedError

    def losses(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        index = speaker.unsqueeze(1)  # (batch, 1)
        moved = cosine.scatter(1, index, self.moved(cosine.gather(1, index), margin))  # (batch, speakers)
        return cross_entropy(self.scale * moved, speaker, reduction="none")

    def compute_split(self, embedding: Tensor, speaker: Tensor, margin: float, shard: Shard) -> HeadOutput:
        everyone, speakers = shard.gather_batch(embedding, speaker)
        row = speakers - shard.first
        cosine = cosine_matrix(everyone, self.weight.to(embedding.dtype))
        moved = cosine.scatter(1, *entries(cosine, row, self.moved(take(cosine, row), margin)))
        return split_softmax(self.scale * moved, cosine, row, shard)
