"""Whitening of embeddings before they are clustered, with shrinkage; their mean is subtracted.

A network trained on few speakers puts most of the variance of its embeddings into few directions, in which many
unknown speakers look alike. Whitening gives all directions equal weight:

    x -> W (x - mean),    W = ((1 - a) C + a tr(C) / dim I)^(-1/2),    C the covariance

The shrinkage a keeps directions of little variance from growing without end; a = 1 changes no cosine (the target is
that of Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004). Whitening harms
if there are fewer speakers than dimensions: it then shrinks the differences between them. Labelled speakers decide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError

Floats = NDArray[np.float32]

SHRINKAGES = (1.0, 0.3, 0.1)  # the values to try


@dataclass(frozen=True)
class Whitening:
    """A whitening transform: a mean to subtract from embeddings, and a matrix to multiply them by.

    Attributes:
        mean: (dim,).
        matrix: (dim, dim), symmetric.
        shrinkage: a; 1: not whitened.
    """

    mean: Floats
    matrix: Floats
    shrinkage: float

    def apply(self, rows: Floats) -> Floats:
        """Whiten embeddings (utts, dim) and scale them to length 1; raise UserError if one is 0."""
        return unit_rows(((rows - self.mean) @ self.matrix).astype(np.float32, copy=False))


def fit_whitening(embeddings: Floats, shrinkage: float) -> Whitening:
    """Estimate mean and matrix from embeddings (utts, dim), of which at least two differ."""
    mean = embeddings.mean(axis=0)
    dim = len(mean)
    if shrinkage == 1:
        return Whitening(mean, np.eye(dim, dtype=np.float32), shrinkage)
    centered = embeddings - mean
    covariance = (centered.T @ centered).astype(np.float64) / len(embeddings)
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / dim * np.eye(dim)
    variances, axes = np.linalg.eigh(shrunk)
    return Whitening(mean, ((axes / np.sqrt(variances)) @ axes.T).astype(np.float32), shrinkage)


def unit_rows(rows: Floats) -> Floats:
    """Return the rows scaled to length 1; raise UserError if one is 0."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not norms.all():
        raise UserError("an embedding is 0 after the mean was subtracted; are all embeddings alike?")
    found: Floats = rows / norms
    return found
