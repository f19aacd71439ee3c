"""GE2E, generalized end-to-end loss, its softmax form: each utterance against the centroids of all speakers.

    loss = -log( e^{w cos(e_yi, c_y^(-i))} / (e^{w cos(e_yi, c_y^(-i))} + sum_{j != y} e^{w cos(e_yi, c_j)}) )

e are the embeddings at norm 1, c_j is the mean of speaker j's K utterances, and c_y^(-i) that of the true speaker's
others. w is learned and kept positive. The paper's bias is left out: added to all logits, it cancels.

Wan, Wang, Papir, Lopez Moreno, "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018, arXiv 1710.10467.
"""

import torch
from torch import Tensor

from sv.losses.cosine import unit
from sv.losses.metric import ScaledMetricHead, cross_entropy_of_groups


class Ge2e(ScaledMetricHead):
    """GE2E softmax; `scale` is w at the start."""

    def compare(self, groups: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        utts = unit(groups).transpose(0, 1)  # (K, P, dim)
        total = utts.sum(dim=0)  # (P, dim)
        cosine = utts @ unit(total).mT  # (K, P, P): the mean has the direction of the sum
        own = (utts * unit(total - utts)).sum(dim=2)  # (K, P)
        is_own = torch.eye(len(total), dtype=torch.bool, device=groups.device)
        return cross_entropy_of_groups(self.positive_scale() * torch.where(is_own, own.unsqueeze(2), cosine))
