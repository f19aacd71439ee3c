"""The loss against a teacher's embeddings of the same utterances, which a head adds to its own.

    w (1 - cos(P e, t))

e (dim) is the embedding, t (teacher_dim) the teacher's of the whole clean utterance, w a weight, and P a linear map if
the dimensions differ, else nothing. P serves training alone. No label is needed. Cosine as the distance to the
teacher: Wang et al., "Knowledge Distillation for Small Foot-print Deep Speaker Embedding", ICASSP 2019.
"""

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity


class Lesson(nn.Module):
    """What an encoder learns from a teacher.

    Args:
        embedding_dim: of the encoder.
        teacher_dim: of the teacher.
        weight: w.
    """

    def __init__(self, embedding_dim: int, teacher_dim: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        same = embedding_dim == teacher_dim
        self.project = nn.Identity() if same else nn.Linear(embedding_dim, teacher_dim, bias=False)

    def forward(self, embedding: Tensor, target: Tensor) -> Tensor:
        """Return losses (batch,) of embeddings (batch, dim) and the teacher's (batch, teacher_dim)."""
        return self.weight * (1 - cosine_similarity(self.project(embedding), target, dim=1))
