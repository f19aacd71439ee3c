"""Prototypical loss: an utterance must lie nearest to the mean of its speaker's other utterances.

    loss = -log( e^{-d(x_y, c_y)} / sum_j e^{-d(x_y, c_j)} ),    d(x, c) = |x - c|^2

x_y is one utterance of speaker y, the query, and c_j the mean of speaker j's K - 1 others. Each of the K utterances
takes its turn as the query, where the paper draws one: the same in expectation.

Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, arXiv 1703.05175; for speakers:
Chung et al., "In defence of metric learning for speaker recognition", Interspeech 2020, arXiv 2003.11982.
"""

from torch import Tensor

from sv.losses.metric import MetricHead, cross_entropy_of_groups, queries_and_prototypes


class Prototypical(MetricHead):
    """Prototypical loss on embeddings without normalization."""

    def compare(self, groups: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        queries, prototypes = queries_and_prototypes(groups)
        # -|x - c|^2 less -|x|^2, which is the same for all c
        scores = 2 * queries @ prototypes.mT - prototypes.square().sum(dim=2).unsqueeze(1)  # (K, P, P)
        return cross_entropy_of_groups(scores)
