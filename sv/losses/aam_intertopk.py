"""Inter-top-k AAM-softmax: a margin for the true speaker, and a smaller one against the k nearest of the others.

    loss = -log( e^{s phi} / (e^{s phi} + sum_{j in T} e^{s cos(theta_j - m')} + sum_{j not in T, j != y} e^{s cos_j}) )
    T  = the k speakers other than y with the highest cosines
    m' = top_margin m / 0.2, so that both margins grow together (WeSpeaker's)

phi = phi(theta_y) is that of AAM-softmax; cos(theta_j - m') goes on growing where theta_j < m' (`add_angle`).

Zhao, Ma, Liu, Xu, "Multi-query Multi-head Attention Pooling and Inter-topK Penalty for Speaker Verification", 2021,
arXiv 2110.05042.
"""

from typing import ClassVar

import torch
from torch import Tensor

from sv.errors import UserError
from sv.losses.aam_softmax import AamSoftmax
from sv.losses.cosine import add_angle

REFERENCE_MARGIN = 0.2  # the margin at which the configured top_margin is the one used
LARGEST_TOP_MARGIN = 0.2  # with the largest margin, 1.5, still under pi / 2


class AamIntertopk(AamSoftmax):
    """AAM-softmax over the speakers, with the inter-top-k penalty.

    Args: as of `AamSoftmax`, and
        top_margin: m' at a margin of 0.2, radians (WeSpeaker's mp).
        top_k: k; all others if there are no more.
    """

    row_parameters: ClassVar[tuple[str, ...]] = ()  # the nearest of all are not found in a part

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        *,
        scale: float = 32.0,
        easy_margin: bool = False,
        top_margin: float = 0.06,
        top_k: int = 5,
    ) -> None:
        super().__init__(embedding_dim, num_speakers, scale=scale, easy_margin=easy_margin)
        if not 0 <= top_margin <= LARGEST_TOP_MARGIN:
            raise UserError(
                f"top_margin (mp) is {top_margin:g}; it must lie in 0 to {LARGEST_TOP_MARGIN:g}, as 0.06 does"
            )
        if top_k < 1:
            raise UserError(f"top_k is {top_k}; it must be 1 or more, as 5 is")
        self.top_margin, self.top_k = top_margin, top_k

    def losses(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        others = cosine.detach().scatter(1, speaker.unsqueeze(1), -torch.inf)
        top = others.topk(min(self.top_k, cosine.shape[1] - 1), dim=1).indices  # (batch, k)
        harder = add_angle(cosine.gather(1, top), -self.top_margin * margin / REFERENCE_MARGIN)
        return super().losses(cosine.scatter(1, top, harder), speaker, margin)
