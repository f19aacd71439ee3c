"""An exported model that does not run, or gives other embeddings, is refused."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sv.errors import UserError
from sv.export.parity import check_parity


def test_embeddings_that_differ_are_not_written() -> None:
    x = torch.randn(1, 20, 8, generator=torch.Generator().manual_seed(0))
    check_parity(lambda x: x.mean(1).numpy(), lambda x: x.mean(1), [x])
    told = "does not give the embeddings of the trained one: the cosine is .* at a length of 20; nothing was written"
    other = torch.ones(1, 8)
    for wrong in (x.mean(1) + 0.1 * other, x.mean(1) * torch.nan):
        with pytest.raises(UserError, match=told):
            check_parity(lambda _, wrong=wrong: wrong.numpy(), lambda x: x.mean(1), [x])  # type: ignore[misc]
    with pytest.raises(UserError, match=r"^the exported model does not run at a length of 20 \(no such axis\)$"):
        check_parity(fails, lambda x: x.mean(1), [x])


def fails(_: torch.Tensor) -> NDArray[np.float32]:
    raise RuntimeError("no such axis\nand more")
