"""Weighted error rates against trials written out as often as they weigh; the draws of speakers."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv.errors import UserError
from sv.metrics.bootstrap import FewSpeakers, WeightedTrials, draw_weights, replicate
from sv.metrics.cllr import act_dcf, bayes_threshold
from sv.metrics.error_rates import sort_scores
from sv.metrics.measures import columns_of
from sv.metrics.trial_speakers import SpeakerTrials

COLUMNS = [column for column in columns_of(llr=True) if column.measure.interval]


def make_trials(seed: int, speakers: int = 5, trials: int = 60, decimals: int = 1) -> SpeakerTrials:
    """Random pairs of random speakers; rounded scores, so that many are tied."""
    rng = np.random.default_rng(seed)
    enroll, test = rng.integers(0, speakers, (2, trials), dtype=np.int32)
    test[: trials // 3] = enroll[: trials // 3]
    is_target = enroll == test
    return SpeakerTrials((rng.standard_normal(trials) + is_target).round(decimals), is_target, enroll, test)


def write_out(trials: SpeakerTrials, weights: Sequence[int]) -> tuple[list[float], list[float]]:
    """Scores of target and non-target trials, each as often as it weighs."""
    target: list[float] = []
    nontarget: list[float] = []
    for score, same, i, j in zip(trials.scores, trials.is_target, trials.enroll, trials.test, strict=True):
        if same:
            target += [float(score)] * weights[i]
        else:
            nontarget += [float(score)] * (weights[i] * weights[j])
    return target, nontarget


@given(st.integers(0, 200), st.lists(st.integers(0, 3), min_size=5, max_size=5), st.sampled_from([0, 1, 6]))
def test_weights_are_as_good_as_copies(seed: int, weights: list[int], decimals: int) -> None:
    trials = make_trials(seed, decimals=decimals)
    target, nontarget = write_out(trials, weights)
    draw = WeightedTrials(trials).draw(np.array(weights, dtype=np.float64))
    if not target or not nontarget:
        assert draw is None
        return
    assert draw is not None
    copies = sort_scores(target, nontarget)
    for column in COLUMNS:
        assert column.value(draw) == pytest.approx(column.value(copies), abs=1e-9), column.title


def test_weights_of_one_give_the_metrics_themselves() -> None:
    trials = make_trials(3)
    draw = WeightedTrials(trials).draw(np.ones(5))
    assert draw is not None
    for column in COLUMNS:
        assert column.value(draw) == pytest.approx(column.value(trials.sorted_scores()), abs=1e-9)


def test_threshold_of_act_dcf_accepts_a_score_that_is_just_as_high() -> None:
    at = bayes_threshold(0.05)
    same, other = np.array([0, 1, 0, 0], dtype=np.int32), np.array([0, 1, 1, 1], dtype=np.int32)
    trials = SpeakerTrials(np.array([at, at - 1, at, at - 1]), same == other, same, other)
    draw = WeightedTrials(trials).draw(np.array([1.0, 3.0]))
    assert draw is not None and act_dcf(draw, 0.05) == pytest.approx(0.75 + 19 * 0.5)


def test_draws_have_a_value_for_each_column() -> None:
    found = replicate([make_trials(0, trials=200)], COLUMNS, replicates=20)
    assert found.shape[1:] == (1, 6)
    eer, min_dcf, act_dcf = (found[:, 0, row] for row in (0, 1, 3))
    assert (act_dcf >= min_dcf).all() and 0 < eer.mean() < 100


def test_each_draw_has_as_many_speakers_as_there_are() -> None:
    speakers = np.array([1, 4, 6], dtype=np.int32)
    draws = np.array(list(draw_weights(speakers, 2000, seed=0)))
    assert draws.shape == (2000, 7) and (draws.sum(axis=1) == 3).all()
    assert not draws[:, [0, 2, 3, 5]].any()
    assert draws[:, speakers].mean(axis=0) == pytest.approx([1, 1, 1], abs=0.1)
    assert np.array_equal(draws, np.array(list(draw_weights(speakers, 2000, seed=0))))


def test_systems_are_measured_on_the_same_draws() -> None:
    trials = make_trials(0, trials=200)
    columns = [column for column in COLUMNS if not column.measure.needs_llr]
    found = replicate([trials, trials.with_scores(3 * trials.scores + 1)], columns, replicates=50)
    assert found.shape[1:] == (2, 3) and len(found) > 40
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert found[:, 0, 0].std() > 0


@pytest.mark.parametrize(("draws", "usable"), [(4, 4), (4, 2), (5, 3), (4, 1), (5, 2)])
def test_half_of_the_draws_must_have_trials_of_both_kinds(
    draws: int, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = np.array([0, 1, 0], dtype=np.int32), np.array([0, 1, 1], dtype=np.int32)
    trials = SpeakerTrials(np.array([2.0, 1.0, 0.0]), pair[0] == pair[1], *pair)
    both, one_alone = np.array([1.0, 1.0]), np.array([2.0, 0.0])
    weights = [both] * usable + [one_alone] * (draws - usable)
    monkeypatch.setattr("sv.metrics.bootstrap.draw_weights", lambda *_: iter(weights))
    if usable < draws / 2:
        with pytest.raises(FewSpeakers, match="too few speakers have target trials"):
            replicate([trials], COLUMNS, replicates=draws)
    else:
        assert len(replicate([trials], COLUMNS, replicates=draws)) == usable


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_target": np.ones(4, dtype=bool)}, "no nontarget trials"),
        ({"is_target": np.zeros(4, dtype=bool)}, "no target trials"),
        ({"scores": np.array([1, np.nan, 0, 0])}, "are NaN or infinite"),
        ({"enroll": np.zeros(4, np.int32), "test": np.zeros(4, np.int32)}, "all trials are of one speaker"),
    ],
)
def test_trials_that_have_no_interval_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    good = {
        "scores": np.array([3.0, 2.0, 1.0, 0.0]),
        "is_target": np.array([True, True, False, False]),
        "enroll": np.array([0, 1, 0, 1], dtype=np.int32),
        "test": np.array([0, 1, 1, 0], dtype=np.int32),
    }
    with pytest.raises(UserError, match=message):
        replicate([SpeakerTrials(**{**good, **change})], COLUMNS)
