"""AAM-softmax (ArcFace): softmax over the speakers, with an additive margin on the angle of the true one.

    loss = -log( e^{s phi(theta_y)} / (e^{s phi(theta_y)} + sum_{j != y} e^{s cos_j}) )
    phi(theta) = cos(theta + m),                for theta + m <= pi
                 cos(theta) - (1 - cos(m)),     beyond: meets it at -1 and falls on (WeSpeaker's)

`easy_margin`: phi(theta) = cos(theta) for theta > pi / 2, so that only utterances on the right side get a margin.

Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2018, arXiv 1801.07698.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sv.losses.cosine import add_angle
from sv.losses.head import CosineHead, check_scale


def aam_softmax(cosine: Tensor, speaker: Tensor, *, scale: float, margin: float, easy_margin: bool = False) -> Tensor:
    """Losses (batch,) of a batch.

    Args:
        cosine: (batch, speakers) float32, each embedding with each speaker's weight vector.
        speaker: (batch,) int64, index of the true speaker.
        scale: s, the norm given to every embedding.
        margin: m, radians.
        easy_margin: no margin where the true speaker's cosine is negative.
    """
    index = speaker.unsqueeze(1)  # (batch, 1)
    target = cosine.gather(1, index)
    moved = add_angle(target, margin)
    if easy_margin:
        moved = torch.where(target > 0, moved, target)
    return cross_entropy(scale * cosine.scatter(1, index, moved), speaker, reduction="none")


class AamSoftmax(CosineHead):
    """AAM-softmax over the speakers."""

    default_margin = 0.2
    finetune_margin = 0.5
    margin_range = (0.0, 1.5)

    def __init__(
        self, embedding_dim: int, num_speakers: int, *, scale: float = 32.0, easy_margin: bool = False
    ) -> None:
        super().__init__(embedding_dim, num_speakers)
        self.scale = check_scale(scale)
        self.easy_margin = easy_margin

    def losses(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        return aam_softmax(cosine, speaker, scale=self.scale, margin=margin, easy_margin=self.easy_margin)
