"""AAM-softmax (ArcFace): softmax over the speakers, with an additive margin on the angle of the true one.

    loss = -log( e^{s phi(theta_y)} / (e^{s phi(theta_y)} + sum_{j != y} e^{s cos_j}) )
    phi(theta) = cos(theta + m),                for theta + m <= pi
                 cos(theta) - (1 - cos(m)),     beyond: meets it at -1 and falls on (WeSpeaker's)

`easy_margin`: phi(theta) = cos(theta) for theta > pi / 2, so that only utterances on the right side get a margin.

Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2018, arXiv 1801.07698.
"""

import torch
from torch import Tensor

from sv.losses.cosine import add_angle
from sv.losses.margin_softmax import MarginSoftmax
from sv.losses.options import AamOptions


class AamSoftmax(MarginSoftmax):
    """AAM-softmax over the speakers; the margin is in radians."""

    def __init__(self, embedding_dim: int, num_speakers: int, options: AamOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.easy_margin = options.easy_margin

    def moved(self, cosine: Tensor, margin: float) -> Tensor:
        moved = add_angle(cosine, margin)
        return torch.where(cosine > 0, moved, cosine) if self.easy_margin else moved
