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

from sv.errors import UserError
from sv.losses.aam_softmax import AamSoftmax
from sv.losses.cosine import add_angle
from sv.losses.split import HeadPart, entries

REFERENCE_MARGIN = 0.2  # the margin at which the configured top_margin is the one used
LARGEST_TOP_MARGIN = 0.2  # with the largest margin, 1.5, still under pi / 2


class AamIntertopk(AamSoftmax):
    """AAM-softmax over the speakers, with the inter-top-k penalty.

    Args: as of `AamSoftmax`, and
        top_margin: m' at a margin of 0.2, radians (WeSpeaker's mp).
        top_k: k; all others if there are no more.
    """

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
        """Which of the highest (batch, k or fewer) of this process are among the k highest of all processes.

        One round more than the other losses need.
        """
        found = pad(highest, (0, self.top_k - highest.shape[1]), value=-torch.inf)  # (batch, k)
        of_all = part.gather(found.unsqueeze(0)).transpose(0, 1).flatten(1)  # (batch, size * k)
        chosen = torch.zeros_like(of_all, dtype=torch.bool).scatter(1, of_all.topk(self.top_k, dim=1).indices, True)
        return chosen.unflatten(1, (part.size, self.top_k))[:, part.rank, : highest.shape[1]]
