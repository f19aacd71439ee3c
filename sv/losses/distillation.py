"""Knowledge distillation: the loss against a teacher's embeddings of the same utterances, which a head adds to its own.

    w (1 - cos(P e, t))

e (dim) is the embedding, t (teacher_dim) the teacher's of the whole clean utterance, w a weight, and P a linear map if
the dimensions differ, else nothing. No label is needed, and P serves training alone. So P must not do work that the
embedding then lacks: its rows or columns, whichever are fewer, are orthonormal. With a teacher of more dimensions, the
cosines of P e are then those of e. Cosine as the distance to a teacher: Wang et al., "Knowledge Distillation for Small
Foot-print Deep Speaker Embedding", ICASSP 2019.
"""

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torch.nn.utils.parametrizations import orthogonal


class Distillation(nn.Module):
    """Compare embeddings with those of a teacher.

    Args:
        embedding_dim: dimension of the encoder.
        teacher_dim: dimension of the teacher.
        weight: w.
    """

    def __init__(self, embedding_dim: int, teacher_dim: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.project: nn.Module = nn.Identity()
        if embedding_dim != teacher_dim:  # torch's default map, householder, falls to 0 under momentum
            linear = nn.Linear(embedding_dim, teacher_dim, bias=False)
            self.project = orthogonal(linear, orthogonal_map="matrix_exp")

    def forward(self, embedding: Tensor, target: Tensor) -> Tensor:
        """Return losses (batch,) of embeddings (batch, dim) and the teacher's (batch, teacher_dim)."""
        return self.weight * (1 - cosine_similarity(self.project(embedding), target, dim=1))
