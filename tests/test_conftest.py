"""Actions of conftest.py before each test."""

import pytest
import torch


@pytest.fixture(scope="module", params=["of the first test", "of the second"])
def threads() -> int:
    return torch.get_num_threads()


def test_fixtures_of_modules_begin_with_one_thread(threads: int) -> None:
    torch.set_num_threads(4)
    assert threads == 1
