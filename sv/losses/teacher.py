"""Learn a teacher's embeddings alone (`sv/losses/distillation.py`), without labels."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sv.losses.head import Head, HeadOutput
from sv.losses.label_confidence import Confidence


class Teacher(Head):
    """Distillation alone, no other loss; an embedding is right if its own teacher's is the nearest of the batch."""

    def compute(self, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None) -> HeadOutput:
        nothing = embedding.new_zeros(len(embedding))
        return HeadOutput(nothing.mean(), nothing, nothing.bool())

    def check_speakers(self, speaker: Tensor) -> None:
        """Accept any numbers: labels are not read."""

    def distill(self, output: HeadOutput, embedding: Tensor, target: Tensor) -> HeadOutput:
        assert self.distillation is not None, "a resolved configuration with this loss has a teacher"
        cosine = normalize(self.distillation.project(embedding.detach())) @ normalize(target).T  # (batch, batch)
        correct = cosine.argmax(dim=1) == torch.arange(len(cosine), device=cosine.device)
        return super().distill(output, embedding, target)._replace(correct=correct)
