"""Angular prototypical loss: the prototypical loss with a cosine of learned scale.

    loss = -log( e^{w cos(x_y, c_y)} / sum_j e^{w cos(x_y, c_j)} )

x_y is one utterance of speaker y, the query, and c_j the mean of speaker j's K - 1 others; each of the K takes its
turn as the query, where the paper draws one. w is learned and kept positive. The paper's bias is left out: added to
all logits, it cancels.

Chung et al., "In defence of metric learning for speaker recognition", Interspeech 2020, arXiv 2003.11982.
"""

from torch import Tensor

from sv.losses.cosine import unit
from sv.losses.metric import ScaledMetricHead, cross_entropy_of_groups, queries_and_prototypes


class AngularPrototypical(ScaledMetricHead):
    """Angular prototypical loss; `scale` is w at the start."""

    def compare(self, groups: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        queries, prototypes = queries_and_prototypes(groups)
        return cross_entropy_of_groups(self.positive_scale() * unit(queries) @ unit(prototypes).mT)  # (K, P, P)
