"""The state of the random generators as tensors and plain values, so that a checkpoint holds no pickled object."""

import random
from typing import Any

import numpy as np
import torch


def get_state() -> dict[str, Any]:
    """State of torch (CPU and the current GPU), numpy and Python."""
    _, words, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002  whatever uses it
    version, numbers, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        "numpy": [torch.from_numpy(np.asarray(words, dtype=np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": [version, torch.tensor(numbers), next_gauss],
    }


def set_state(state: dict[str, Any]) -> None:
    """Put back what `get_state` gave."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    words, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, numbers, next_gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), next_gauss))


def seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)
