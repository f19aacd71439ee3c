"""Check that an exported model gives the embeddings of the trained one."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sv.errors import UserError

LOWEST_COSINE = 1 - 1e-4

Run = Callable[[Tensor], NDArray[np.float32]]


def check_parity(
    exported: Run,
    trained: Callable[[Tensor], Tensor],
    inputs: Iterable[Tensor],
    lowest_cosine: float = LOWEST_COSINE,
) -> None:
    """Compare embeddings of both.

    Args:
        exported, trained: input (batch, ...) to embeddings (batch, dim).
        inputs: for both; a random one of each length will do.
        lowest_cosine: lowest cosine between an embedding of one and that of the other.

    Raises:
        UserError: the exported model does not run; the cosine of two embeddings is below
            `lowest_cosine`.
    """
    for x in inputs:
        try:
            found = exported(x)
        except Exception as error:  # onnxruntime has a class for each reason
            reason = str(error).strip().split("\n")[0][:200]
            raise UserError(f"the exported model does not run at a length of {x.shape[1]} ({reason})") from error
        cosine = float(cosines(trained(x).numpy(), found).min())
        if not cosine >= lowest_cosine:
            raise UserError(
                f"the exported model does not give the embeddings of the trained one: the cosine is {cosine:.6f} at a "
                f"length of {x.shape[1]}; nothing was written"
            )


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each row of a matrix with the same row of another."""
    unit_a, unit_b = (x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    product: NDArray[np.float64] = (unit_a * unit_b).sum(axis=1)
    return product
