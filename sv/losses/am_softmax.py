"""AM-softmax (CosFace): softmax over the speakers, with an additive margin on the cosine of the true one.

    loss = -log( e^{s (cos_y - m)} / (e^{s (cos_y - m)} + sum_{j != y} e^{s cos_j}) )

Wang et al., "Additive Margin Softmax for Face Verification", 2018, arXiv 1801.05599.
"""

from torch import Tensor
from torch.nn.functional import cross_entropy

from sv.losses.head import CosineHead, check_scale


def am_softmax(cosine: Tensor, speaker: Tensor, *, scale: float, margin: float) -> Tensor:
    """Losses (batch,) of a batch.

    Args:
        cosine: (batch, speakers) float32, each embedding with each speaker's weight vector.
        speaker: (batch,) int64, index of the true speaker.
        scale: s, the norm given to every embedding.
        margin: m, what the true speaker's cosine must win by.
    """
    index = speaker.unsqueeze(1)  # (batch, 1)
    moved = cosine.scatter(1, index, cosine.gather(1, index) - margin)  # (batch, speakers)
    return cross_entropy(scale * moved, speaker, reduction="none")


class AmSoftmax(CosineHead):
    """AM-softmax over the speakers."""

    default_margin = 0.2
    margin_range = (0.0, 1.0)

    def __init__(self, embedding_dim: int, num_speakers: int, *, scale: float = 32.0) -> None:
        super().__init__(embedding_dim, num_speakers)
        self.scale = check_scale(scale)

    def losses(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        return am_softmax(cosine, speaker, scale=self.scale, margin=margin)
