"""Projection of embeddings before PLDA: centering, LDA, whitening, length normalization.

    y = T (x - mean)        then scaled to length sqrt(dim), as Kaldi's ivector-normalize-length does

LDA finds directions in which the within-class covariance is 1 and the between-class covariance is diagonal and largest
(Kaldi's ivector-compute-lda, without its mixture of covariances). It leaves out directions in which embeddings do not
vary, such as a unit after a ReLU that is always 0. Whitening makes the total covariance 1, after LDA or alone. Both go
into the one matrix T.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, log
from sv.io import Vectors
from sv.scoring.speakers import ClassStats, Doubles, Floats

_ROWS = 8192
_LEAST_EIGENVALUE = 1e-9  # of the largest; below, a direction varies only by rounding


@dataclass(frozen=True)
class Projection:
    """Map from embeddings to the space of PLDA.

    Attributes:
        mean: (dim,) float32, subtracted first.
        matrix: (projected, dim) float32, or (projected, dim + 1) with an offset in the last column.
        length_norm: bring each vector to length sqrt(projected).
    """

    mean: Floats
    matrix: Floats
    length_norm: bool

    def apply(self, vectors: Vectors, *, source: str | Path = "xvector.scp") -> Floats:
        """Project embeddings; (utterances, projected) float32.

        Raises:
            UserError: embeddings of another dimension; one that is not finite, or is zero, as it is or projected.
        """
        dim, (out_dim, columns) = len(self.mean), self.matrix.shape
        if vectors.matrix.shape[1] != dim:
            raise UserError(
                f"{source}: embeddings have dimension {vectors.matrix.shape[1]}, the PLDA was trained on {dim}; "
                "train it on embeddings of the same model (steps/train_plda.py)"
            )
        projected = np.empty((len(vectors.ids), out_dim), dtype=np.float32)
        for start in range(0, len(projected), _ROWS):
            rows = (vectors.matrix[start : start + _ROWS] - self.mean) @ self.matrix[:, :dim].T
            if columns > dim:
                rows += self.matrix[:, dim]
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            whole = (vectors.matrix[start : start + _ROWS] != 0).any(axis=1)
            usable = np.isfinite(length[:, 0]) & (length[:, 0] > 0) & whole
            if not usable.all():
                bad = int(np.argmin(usable))
                what = "zero" if not whole[bad] else "zero after projection" if length[bad, 0] == 0 else "not finite"
                raise UserError(f"{source}: the embedding of {vectors.ids[start + bad]} is {what}; extract it again")
            projected[start : start + _ROWS] = rows * (np.sqrt(out_dim) / length) if self.length_norm else rows
        return projected


def make_projection(
    stats: ClassStats, mean: Doubles, *, lda_dim: int = 0, whiten: bool = False, length_norm: bool = True
) -> Projection:
    """Make the projection from the statistics of the training embeddings.

    Args:
        stats: statistics of the embeddings before projection.
        mean: (dim,) over all utterances.
        lda_dim: dimensions that LDA keeps; 0: no LDA.
        whiten: make the total covariance 1.
        length_norm: see `Projection`.

    Raises:
        UserError: too many LDA dimensions for the speakers (the largest valid number is named); a covariance that
            would have to be inverted is singular.
    """
    within = stats.scatter / stats.num_utts
    offsets = stats.means - mean
    between = (offsets * stats.counts[:, None]).T @ offsets / stats.num_utts
    matrix = np.eye(stats.dim)
    if lda_dim:
        matrix = _lda(stats, within, between, lda_dim)
    if whiten:
        matrix = _whitening(matrix @ (within + between) @ matrix.T) @ matrix
    return Projection(mean.astype(np.float32), matrix.astype(np.float32), length_norm)


def check_lda_dim(lda_dim: int, *, num_speakers: int, dim: int) -> None:
    """Raise UserError if LDA cannot keep `lda_dim` of `dim` dimensions; the message names the largest number."""
    most = min(dim, num_speakers - 1)
    if not 1 <= lda_dim <= most:
        raise UserError(
            f"lda_dim is {lda_dim}; {num_speakers} speakers and embeddings of dimension {dim} give at most {most} "
            "(0: no LDA)"
        )


def _lda(stats: ClassStats, within: Doubles, between: Doubles, lda_dim: int) -> Doubles:
    from scipy.linalg import eigh  # here and below: scoring does without scipy

    values, vectors = eigh(within + between)
    varies = values > _LEAST_EIGENVALUE * values[-1]
    basis = np.eye(stats.dim) if varies.all() else vectors[:, varies]  # (dim, directions)
    check_lda_dim(lda_dim, num_speakers=len(stats.counts), dim=basis.shape[1])
    if not varies.all():
        log.warning("the embeddings vary in %d of %d directions; LDA leaves the others out", varies.sum(), stats.dim)
    check_within(ClassStats(stats.counts, stats.means @ basis, basis.T @ stats.scatter @ basis))
    kept = (basis.shape[1] - lda_dim, basis.shape[1] - 1)
    _, directions = eigh(basis.T @ between @ basis, basis.T @ within @ basis, subset_by_index=kept)
    return (basis @ directions).T[::-1]


def _whitening(total: Doubles) -> Doubles:
    """Return W with W total W^T = 1, its rows along the eigenvectors of largest variance first."""
    from scipy.linalg import eigh

    values, vectors = eigh(total)
    if values[0] <= _LEAST_EIGENVALUE * values[-1]:
        varying = int((values > _LEAST_EIGENVALUE * values[-1]).sum())
        raise UserError(
            f"the embeddings vary in {varying} of {len(values)} directions only and cannot be whitened; "
            "give more training utterances, or use LDA"
        )
    return (vectors / np.sqrt(values)).T[::-1]


def check_within(stats: ClassStats) -> None:
    """Refuse training data from which the variation within speakers cannot be estimated.

    Raises:
        UserError: speakers of one utterance only; a singular within-class covariance.
    """
    from scipy.linalg import eigvalsh

    free = stats.num_utts - len(stats.counts)
    if free == 0:
        raise UserError(f"each of the {len(stats.counts)} speakers has one utterance; PLDA needs speakers with several")
    values: NDArray[np.float64] = eigvalsh(stats.scatter)
    varying = int((values > _LEAST_EIGENVALUE * values[-1]).sum()) if values[-1] > 0 else 0
    if varying < stats.dim:
        raise UserError(
            f"the within-class covariance is singular: {stats.num_utts} utterances of {len(stats.counts)} speakers "
            f"vary in {varying} of {stats.dim} directions; give more utterances a speaker, or smaller embeddings"
        )
