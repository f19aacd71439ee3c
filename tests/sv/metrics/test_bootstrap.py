"""Weighted error rates against trials written out as often as they weigh; the draws of speakers."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv.errors import UserError
from sv.metrics.bootstrap import FewSpeakers, SpeakerTrials, WeightedTrials, draw_weights, replicate
from sv.metrics.cllr import bayes_threshold
from sv.metrics.error_rates import sort_scores
from sv.metrics.measures import measure


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
    expected = measure(sort_scores(target, nontarget), llr=True)
    rates = draw.rates()
    assert rates.eer() == pytest.approx(expected.eer, abs=1e-9)
    for p, value in expected.min_dcf.items():
        assert rates.min_dcf(p, 1.0, 1.0) == pytest.approx(value, abs=1e-12)
        assert draw.act_dcf(p, 1.0, 1.0) == pytest.approx(expected.act_dcf[p], abs=1e-12)
    assert draw.cllr() == pytest.approx(expected.cllr, abs=1e-12)


def test_weights_of_one_give_the_metrics_themselves() -> None:
    trials = make_trials(3)
    draw = WeightedTrials(trials).draw(np.ones(5))
    assert draw is not None
    expected = measure(sort_scores(trials.scores[trials.is_target], trials.scores[~trials.is_target]), llr=True)
    assert draw.rates().eer() == pytest.approx(expected.eer, abs=1e-9)
    assert draw.cllr() == pytest.approx(expected.cllr, abs=1e-12)


def test_threshold_of_act_dcf_accepts_a_score_that_is_just_as_high() -> None:
    at = bayes_threshold(0.05)
    same, other = np.array([0, 1, 0, 0], dtype=np.int32), np.array([0, 1, 1, 1], dtype=np.int32)
    trials = SpeakerTrials(np.array([at, at - 1, at, at - 1]), same == other, same, other)
    draw = WeightedTrials(trials).draw(np.array([1.0, 3.0]))
    assert draw is not None and draw.act_dcf(0.05, 1.0, 1.0) == pytest.approx(0.75 + 19 * 0.5)


def test_draws_of_llrs_have_act_dcf_and_cllr_behind_min_dcf() -> None:
    trials = make_trials(0, trials=200)
    plain, more = (replicate([trials], (0.05,), llr=llr, replicates=20) for llr in (False, True))
    assert plain.shape[2] == 2 and more.shape[2] == 4
    np.testing.assert_array_equal(plain, more[:, :, :2])
    assert (more[:, 0, 2] >= more[:, 0, 1]).all()


def test_each_draw_has_as_many_speakers_as_there_are() -> None:
    speakers = np.array([1, 4, 6], dtype=np.int32)
    draws = np.array(list(draw_weights(speakers, 2000, seed=0)))
    assert draws.shape == (2000, 7) and (draws.sum(axis=1) == 3).all()
    assert not draws[:, [0, 2, 3, 5]].any()
    assert draws[:, speakers].mean(axis=0) == pytest.approx([1, 1, 1], abs=0.1)
    assert np.array_equal(draws, np.array(list(draw_weights(speakers, 2000, seed=0))))


def test_systems_are_measured_on_the_same_draws() -> None:
    trials = make_trials(0, trials=200)
    found = replicate([trials, trials.with_scores(3 * trials.scores + 1)], replicates=50)
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
            replicate([trials], replicates=draws)
    else:
        assert len(replicate([trials], replicates=draws)) == usable


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
        replicate([SpeakerTrials(**{**good, **change})])
