"""AM-softmax (CosFace): softmax over the speakers, with an additive margin on the cosine of the true one.

    loss = -log( e^{s (cos_y - m)} / (e^{s (cos_y - m)} + sum_{j != y} e^{s cos_j}) )

Wang et al., "Additive Margin Softmax for Face Verification", 2018, arXiv 1801.05599.
"""

from torch import Tensor

from sv.losses.margin_softmax import MarginSoftmax


class AmSoftmax(MarginSoftmax):
    """AM-softmax over the speakers; the true speaker's cosine must win by the margin."""

    def moved(self, cosine: Tensor, margin: float) -> Tensor:
        return cosine - margin
