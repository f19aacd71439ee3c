"""Softmax: one linear layer over the raw embedding and the cross entropy of its logits.

    loss = -log( e^{z_y} / sum_j e^{z_j} ),    z_j = <x, w_j> + b_j

The plain classifier, without margin, scale or normalization. WeSpeaker puts batch norm and ReLU before it; here the
layer takes the embedding as it is.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from sv.losses.head import speaker_weight
from sv.losses.options import SoftmaxOptions
from sv.losses.softmax_head import SoftmaxHead


class Softmax(SoftmaxHead):
    """Softmax over the speakers; the biases start at 0."""

    row_parameters: ClassVar[tuple[str, ...]] = ("weight", "bias")
    unit_rows: ClassVar[bool] = False

    def __init__(self, embedding_dim: int, num_speakers: int, options: SoftmaxOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.weight = speaker_weight(embedding_dim, num_speakers)
        self.bias = nn.Parameter(torch.zeros(num_speakers))

    def inputs(self, embedding: Tensor) -> Tensor:
        return embedding

    def target(self, product: Tensor, x: Tensor, margin: float) -> Tensor:
        return product

    @torch.no_grad()
    def fit_bias(self, embedding: Tensor, speaker: Tensor, margin: float) -> None:
        nn.init.zeros_(self.get_parameter("bias"))
