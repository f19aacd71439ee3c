"""Counted scores are as good as the scores one by one."""

import numpy as np
import pytest

from sv.metrics.error_rates import sort_scores
from sv.metrics.score_counts import ScoreCounter
from sv.scoring.thresholds import threshold_at


def test_counts_do_not_grow_with_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.metrics.score_counts._CHUNK", 100)
    counter = ScoreCounter()
    for _ in range(1000):
        counter.add(np.array([0.1, 0.3, 0.2]))
    ranked = counter.ranked()
    assert ranked.values.tolist() == [0.1, 0.2, 0.3]
    assert ranked.before(np.arange(4)).tolist() == [0, 1000, 2000, 3000]
    assert [ranked.at(rank) for rank in (0, 999, 1000, 2999)] == [0.1, 0.1, 0.2, 0.3]


def test_threshold_of_counted_scores_is_that_of_sorted_ones() -> None:
    scores = [3.0, 1.0, 3.0, 2.0, 3.0]
    counter = ScoreCounter()
    counter.add(np.array(scores))
    counted, alone = counter.ranked(), sort_scores([1.0], scores)
    both = type(alone)(alone.target, counted)
    for rate in (0.0, 0.2, 0.6, 0.8, 1.0):
        assert threshold_at(both, rate) == threshold_at(alone, rate)
