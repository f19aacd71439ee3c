"""A block of weight vectors against a batch of embeddings: their products, and the gradients back through these.

Heads go over the speakers block by block, so that no (batch, speakers) matrix is held. With embeddings x_i, a factor s
and n_j = 1 / |w_j| (1 if the weight vectors keep their norms):

    z = s x W^T n,    G = d loss / d z,    d_j = sum_i G_ij z_ij
    dx += (G s n) W                        dW = (G s n)^T x - n^2 d W    (without the last term if norms are kept)

These are three matrix products; the work between them is on (batch, block) matrices, which fit the caches.
"""

import torch
from torch import Tensor

from sv.losses.cosine import NORM_FLOOR

_BLOCK_BYTES = {"cpu": 1 << 20, "cuda": 1 << 23}  # of a (batch, block) matrix, so that a few of them fit a cache


def block_rows(batch: int, weight: Tensor) -> int:
    """Return the number of rows taken together, so that a (batch, block) matrix fits a cache."""
    return max(64, _BLOCK_BYTES.get(weight.device.type, 1 << 20) // (batch * weight.element_size()))


class Block:
    """Some rows of W against a batch.

    Args:
        embedding: (batch, dim).
        weight: (rows, dim), of any norm.
        scale: s.
        unit_rows: divide each row by its norm; a row without direction becomes 0, as in `cosine.unit`.

    Attributes:
        products: (batch, rows) z.
    """

    def __init__(self, embedding: Tensor, weight: Tensor, *, scale: float = 1.0, unit_rows: bool = True) -> None:
        self._embedding, self._weight, self._scale = embedding, weight, scale
        self._inverse: Tensor | None = None
        if unit_rows:
            norm = torch.linalg.vector_norm(weight, dim=1)
            self._inverse = (norm > NORM_FLOOR) / norm.clamp_min(NORM_FLOOR)
        self.products = self._scaled(embedding @ weight.T)

    def _scaled(self, matrix: Tensor) -> Tensor:
        """Multiply (batch, rows) by s n, in place."""
        if self._inverse is not None:
            return matrix.mul_(self._inverse if self._scale == 1 else self._inverse * self._scale)
        return matrix if self._scale == 1 else matrix.mul_(self._scale)

    def add_gradients(self, grad: Tensor, embedding_grad: Tensor, weight_grad: Tensor) -> None:
        """Pass a gradient on to embeddings and weights.

        Args:
            grad: (batch, rows) G; it is overwritten.
            embedding_grad: (batch, dim), to which the gradient is added.
            weight_grad: (rows, dim), which is set.
        """
        if self._inverse is not None:
            along = (grad * self.products).sum(dim=0).mul_(self._inverse.square())  # (rows,)
            torch.mul(self._weight, along.neg_().unsqueeze(1), out=weight_grad)
        else:
            weight_grad.zero_()
        grad = self._scaled(grad)
        embedding_grad.addmm_(grad, self._weight)
        weight_grad.addmm_(grad.T, self._embedding)
