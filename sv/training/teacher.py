"""A teacher's embeddings of the utterances to train on: <teacher>/distillation/<path of the data dir>/xvector.scp."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sv.data import UttIndex, rows_of
from sv.data.sampling import Longs
from sv.errors import UserError
from sv.io import read_vectors


def teacher_scp(teacher: str | Path, data_dir: Path) -> Path:
    """Return where stage 3 (steps/run_system.sh) extracts a teacher's embeddings of a data dir."""
    return Path(teacher) / "distillation" / data_dir.resolve().relative_to("/") / "xvector.scp"


@dataclass(frozen=True)
class TeacherEmbeddings:
    """Embeddings of a teacher.

    Attributes:
        matrix: (utts, dim) float32, in the order of the index; 0 for utterances that are not trained on.
    """

    matrix: NDArray[np.float32]

    @property
    def dim(self) -> int:
        """Dimension of an embedding."""
        return self.matrix.shape[1]

    def fingerprint(self) -> str:
        """Return a hash of all embeddings."""
        return hashlib.sha256(self.matrix.tobytes()).hexdigest()

    def of(self, draws: Longs) -> Tensor:
        """Return the embeddings (batch, dim) of the utterances of a batch, see `rows_of`."""
        return torch.from_numpy(self.matrix[rows_of(draws)])


def read_teacher(teacher: str, index: UttIndex, *, center: bool = True) -> TeacherEmbeddings:
    """Read a teacher's embeddings of all utterances of an index that have a class.

    Args:
        teacher: its experiment folder.
        index: the utterances.
        center: subtract the mean of these embeddings, as cosine scores do.

    Raises:
        UserError: there are no embeddings, or an utterance has none.
    """
    scp = teacher_scp(teacher, index.path)
    remedy = f"extract them: steps/extract_embeddings.sh --feats auto {teacher} {index.path} {scp.parent}"
    if not scp.is_file():
        raise UserError(f"{scp} does not exist: the teacher has no embeddings of {index.path}; {remedy}")
    found = read_vectors(scp)
    row_of = {utt: row for row, utt in enumerate(found.ids)}
    needed = np.flatnonzero(index.speaker >= 0)
    rows = np.array([row_of.get(index.utts[utt], -1) for utt in needed.tolist()])
    if len(missing := needed[rows < 0]):
        raise UserError(
            f"{scp}: {len(missing)} of {len(needed)} utterances to train on are not in it, the first is "
            f"{index.utts[missing[0]]}; {remedy}"
        )
    matrix = np.zeros((len(index), found.matrix.shape[1]), dtype=np.float32)
    matrix[needed] = found.matrix[rows]
    if center:
        matrix[needed] -= matrix[needed].mean(axis=0, dtype=np.float64).astype(np.float32)
    return TeacherEmbeddings(matrix)
