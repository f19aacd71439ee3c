"""Batches of utterances of equal length."""

import numpy as np
import pytest

from sv.embeddings.extraction import make_batches

FRAMES = np.array([9, 30, 20, 30, 30, 10, 20, 30, 7], dtype=np.int32)


def test_without_a_budget_each_utterance_goes_alone_in_order() -> None:
    batches = make_batches(FRAMES, range(1, 5), 0)
    assert [batch.tolist() for batch in batches] == [[1], [2], [3], [4]]


@pytest.mark.parametrize(("budget", "most"), [(1, 1), (60, 2), (90, 3), (1000, 4)])
def test_batches_hold_each_row_once_with_one_length_within_the_budget(budget: int, most: int) -> None:
    batches = make_batches(FRAMES, range(1, 8), budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1, 8))
    assert all(len(set(FRAMES[batch])) == 1 for batch in batches)
    assert max(map(len, batches)) == most
