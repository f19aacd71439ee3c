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
from torch.nn.functional import pad

from sv.losses.aam_softmax import AamSoftmax
from sv.losses.cosine import add_angle
from sv.losses.options import AamIntertopkOptions
from sv.losses.split import HeadPart, entries

REFERENCE_MARGIN = 0.2  # the margin at which the configured top_margin is used as it is


class AamIntertopk(AamSoftmax):
    """AAM-softmax over the speakers, with the inter-top-k penalty."""

    def __init__(self, embedding_dim: int, num_speakers: int, options: AamIntertopkOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.top_margin, self.top_k = options.top_margin, options.top_k

    def against_others(self, cosine: Tensor, row: Tensor, margin: float, part: HeadPart | None) -> Tensor:
        others = cosine.detach()
        others = others.scatter(1, *entries(others, row, torch.full_like(others[:, 0], -torch.inf)))
        highest, column = others.topk(min(self.top_k, others.shape[1]), dim=1)  # (batch, k) each
        nearest = highest > -torch.inf
        if part is not None:
            nearest &= self._nearest_of_all(highest, part)
        value = cosine.gather(1, column)
        harder = add_angle(value, -self.top_margin * margin / REFERENCE_MARGIN)
        return cosine.scatter(1, column, torch.where(nearest, harder, value))

    def _nearest_of_all(self, highest: Tensor, part: HeadPart) -> Tensor:
        """Tell which of this process's highest (batch, k or fewer) are among the k highest of all processes.

        This takes one exchange more than the other losses need.
        """
        found = pad(highest, (0, self.top_k - highest.shape[1]), value=-torch.inf)  # (batch, k)
        of_all = part.gather(found.unsqueeze(0)).transpose(0, 1).flatten(1)  # (batch, size * k)
        chosen = torch.zeros_like(of_all, dtype=torch.bool).scatter(1, of_all.topk(self.top_k, dim=1).indices, True)
        return chosen.unflatten(1, (part.size, self.top_k))[:, part.rank, : highest.shape[1]]
