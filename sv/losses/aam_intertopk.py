"""Inter-top-k AAM-softmax: a margin for the true speaker, and a smaller one against the k nearest of the others.

    loss = -log( e^{s phi} / (e^{s phi} + sum_{j in T} e^{s cos(theta_j - m')} + sum_{j not in T, j != y} e^{s cos_j}) )
    T  = the k speakers other than y with the highest cosines
    m' = top_margin m / 0.2, so that both margins grow together (WeSpeaker's)

phi = phi(theta_y) is that of AAM-softmax; cos(theta_j - m') goes on growing where theta_j < m' (`add_angle`).

Zhao, Ma, Liu, Xu, "Multi-query Multi-head Attention Pooling and Inter-topK Penalty for Speaker Verification", 2021,
arXiv 2110.05042.
"""

import torch
from torch import Tensor

from sv.losses.aam_softmax import AamSoftmax
from sv.losses.cosine import add_angle
from sv.losses.options import AamIntertopkOptions

REFERENCE_MARGIN = 0.2  # the margin at which the configured top_margin is used as it is


class AamIntertopk(AamSoftmax):
    """AAM-softmax over the speakers, with the inter-top-k penalty."""

    def __init__(self, embedding_dim: int, num_speakers: int, options: AamIntertopkOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.top_margin, self.top_k = options.top_margin, options.top_k

    def against_others(self, cosine: Tensor, speaker: Tensor, margin: float) -> Tensor:
        others = cosine.detach().scatter(1, speaker.unsqueeze(1), -torch.inf)
        column = others.topk(min(self.top_k, others.shape[1] - 1), dim=1).indices  # (batch, k)
        return cosine.scatter(1, column, self._harder(cosine.gather(1, column), margin))

    def nearest(self, product: Tensor, margin: float) -> Tensor:
        return self.scale * self._harder(product, margin)

    def _harder(self, cosine: Tensor, margin: float) -> Tensor:
        return add_angle(cosine, -self.top_margin * margin / REFERENCE_MARGIN)
