"""t-SNE: a map of embeddings on which neighbours stay neighbours."""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_PERPLEXITY, _ITERATIONS = 15, 400


def tsne(unit: Doubles, start: Doubles | None) -> Doubles:
    """Return a map (utts, 2) by t-SNE on the cosine (van der Maaten, Hinton, 2008), from a start or principal axes.

    Args:
        unit: (utts, dim), of length 1.
        start: (utts, 2) of another map.
    """
    near = _neighbours(2 - 2 * unit @ unit.T)
    place = np.linalg.svd(unit, full_matrices=False)[0][:, :2] if start is None else start
    place = place / place.std(axis=0) * (1e-2 if start is None else place.std(axis=0))
    step = np.zeros_like(place)
    for iteration in range(_ITERATIONS):
        early = iteration < _ITERATIONS // 4 and start is None
        squares = (place**2).sum(axis=1)
        kernel = 1 / (1 + squares[:, None] + squares - 2 * place @ place.T)
        np.fill_diagonal(kernel, 0)
        force = ((12 if early else 1) * near - kernel / kernel.sum()) * kernel
        gradient = 4 * (force.sum(axis=1)[:, None] * place - force @ place)
        step = (0.5 if early else 0.8) * step - len(unit) / 12 * gradient
        place = place + step
    found: Doubles = place - place.mean(axis=0)
    return found


def _neighbours(squared: Doubles) -> Doubles:
    """Return the symmetric probabilities of neighbours, (utts, utts), each row at the perplexity by bisection."""
    low: Doubles = np.full(len(squared), 1e-3)
    high: Doubles = np.full(len(squared), 1e4)
    np.fill_diagonal(squared, np.inf)
    wanted = np.log(min(_PERPLEXITY, max(2, len(squared) / 4)))
    for _ in range(50):
        middle = np.sqrt(low * high)[:, None]
        weights = np.exp(-middle * (squared - squared.min(axis=1, keepdims=True)))
        share = weights / weights.sum(axis=1, keepdims=True)
        entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(axis=1)
        wide = entropy > wanted
        low, high = np.where(wide, middle[:, 0], low), np.where(wide, high, middle[:, 0])
    both: Doubles = (share + share.T) / (2 * len(share))
    return both
