"""The mini recipe, killed ten times on its way, ends as if nothing had been. Many more kills: tests/faults/kills.py."""

import pytest

from tests.faults.kills import run_both

pytestmark = pytest.mark.recipe


def test_ten_kills_change_nothing(tmp_path):
    counts, compared, different = run_both(tmp_path, lambda stage: 2 if stage == 3 else 1, seed=1)
    assert sum(counts.values()) == 10
    assert counts["ended before"] <= 3
    assert compared > 50
    assert different == []
