"""Softmax: one linear layer over the raw embedding and the cross entropy of its logits.

    loss = -log( e^{z_y} / sum_j e^{z_j} ),    z_j = <x, w_j> + b_j

The plain classifier, without margin, scale or normalization. WeSpeaker puts batch norm and ReLU before it; here the
layer takes the embedding as it is.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from sv.losses.head import Head, HeadOutput, speaker_weight, split_softmax
from sv.losses.options import SoftmaxOptions
from sv.losses.split import HeadPart


class Softmax(Head):
    """Softmax over the speakers; the biases start at 0."""

    row_parameters: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __init__(self, embedding_dim: int, num_speakers: int, options: SoftmaxOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.weight = speaker_weight(embedding_dim, num_speakers)
        self.bias = nn.Parameter(torch.zeros(num_speakers))

    def compute(self, embedding: Tensor, speaker: Tensor, margin: float) -> HeadOutput:
        logits = self._logits(embedding)
        return HeadOutput.of(cross_entropy(logits, speaker, reduction="none"), logits.argmax(dim=1) == speaker)

    def compute_split(self, embedding: Tensor, speaker: Tensor, margin: float, part: HeadPart) -> HeadOutput:
        everyone, speakers = part.gather_batch(embedding, speaker)
        logits = self._logits(everyone)
        return split_softmax(logits, logits, speakers - part.first, part)

    def fit_bias(self, embedding: Tensor, speaker: Tensor, margin: float) -> None:
        nn.init.zeros_(self.bias)

    def _logits(self, embedding: Tensor) -> Tensor:
        return linear(embedding, self.weight.to(embedding.dtype), self.bias.to(embedding.dtype))  # (batch, speakers)
