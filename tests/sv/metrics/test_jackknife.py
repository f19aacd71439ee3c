"""Trials without a speaker against the same trials picked by hand; how many speakers they are worth."""

from dataclasses import replace

import numpy as np
import pytest

from sv.errors import UserError
from sv.metrics.error_rates import sort_scores
from sv.metrics.jackknife import MIN_SPEAKERS, FewSpeakers, deviations, effective_speakers, leave_out
from sv.metrics.measures import columns_of
from sv.metrics.trial_speakers import SpeakerTrials

COLUMNS = [column for column in columns_of(llr=True) if column.measure.interval]


def make_trials(seed: int = 0, speakers: int = 6, utts: int = 4, decimals: int = 1) -> SpeakerTrials:
    """All pairs of utterances, with random scores; rounded, so that many are tied."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers, dtype=np.int32), utts)
    first, second = np.triu_indices(len(speaker), 1)
    same = speaker[first] == speaker[second]
    return SpeakerTrials((rng.standard_normal(len(same)) + same).round(decimals), same, speaker[first], speaker[second])


def some_of(trials: SpeakerTrials, kept: np.ndarray) -> SpeakerTrials:
    return SpeakerTrials(trials.scores[kept], trials.is_target[kept], trials.enroll[kept], trials.test[kept])


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_a_speaker_is_left_out_with_all_trials_of_either_side(decimals: int) -> None:
    trials = make_trials(decimals=decimals)
    found = leave_out([trials], COLUMNS)
    assert found.shape == (6, 1, len(COLUMNS))
    expected = []
    for speaker in range(6):
        rows = [row for row in range(len(trials.scores)) if speaker not in (trials.enroll[row], trials.test[row])]
        target, nontarget = ([trials.scores[r] for r in rows if trials.is_target[r] == kind] for kind in (True, False))
        expected.append([column.value(sort_scores(target, nontarget)) for column in COLUMNS])
    np.testing.assert_allclose(np.sort(found[:, 0], axis=0), np.sort(expected, axis=0), rtol=1e-12)


def test_many_speakers_are_left_out_in_groups_each_speaker_once() -> None:
    speaker = np.arange(1000, dtype=np.int32)
    trials = SpeakerTrials(
        np.concatenate([np.ones(1000), np.zeros(1000)]),
        np.arange(2000) < 1000,
        np.concatenate([speaker, speaker]),
        np.concatenate([speaker, np.roll(speaker, 1)]),
    )
    count = replace(COLUMNS[0].measure, value=lambda scores: float(scores.target.total))
    found = leave_out([trials], [replace(COLUMNS[0], measure=count)])
    assert found.ravel().tolist() == [990] * 100


def test_systems_are_measured_without_the_same_speakers() -> None:
    trials = make_trials()
    columns = [column for column in COLUMNS if not column.measure.needs_llr]
    found = leave_out([trials, replace(trials, scores=3 * trials.scores + 1)], columns)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert found[:, 0, 0].std() > 0


def test_deviation_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(0).normal(size=(12, 1))
    without = (x.sum() - x) / 11
    assert deviations(without) == pytest.approx([x.std(ddof=1) / np.sqrt(12)], rel=1e-12)


def test_speakers_of_target_trials_count() -> None:
    trials = make_trials(speakers=20)
    assert effective_speakers(trials) == 20
    assert effective_speakers(some_of(trials, ~trials.is_target | (trials.enroll < 7))) == 7


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_fewer_than_five_speakers_with_targets_have_no_interval(number: int) -> None:
    assert MIN_SPEAKERS == 5
    trials = make_trials(speakers=20)
    few = some_of(trials, ~trials.is_target | (trials.enroll < number))
    with pytest.raises(FewSpeakers, match=f"^target trials are of {number} speakers?; intervals need 5 or more$"):
        effective_speakers(few)


def test_a_speaker_with_most_target_trials_outweighs_the_number_of_speakers() -> None:
    trials = make_trials(speakers=20, utts=8)  # 28 target trials each
    rank = np.cumsum(trials.is_target) % 28
    uneven = some_of(trials, ~trials.is_target | (trials.enroll == 0) | (rank == 1))
    with pytest.raises(
        FewSpeakers, match=r"^target trials .* 20 speakers, so unevenly that they are worth 2\.7; inter"
    ):
        effective_speakers(uneven)  # (28 + 19)^2 / (28^2 + 19)
    nearly = some_of(trials, ~trials.is_target | ((trials.enroll < 5) & ((trials.enroll > 0) | (rank < 24))))
    with pytest.raises(FewSpeakers, match=r"of 5 speakers, so unevenly that they are worth 4\.9; intervals need 5 or"):
        effective_speakers(nearly)  # (4 * 28 + 24)^2 / (4 * 28^2 + 24^2) = 4.98
    half = some_of(trials, ~trials.is_target | (trials.enroll < 10) | (rank < 14))
    assert effective_speakers(half) == pytest.approx((10 * 28 + 10 * 14) ** 2 / (10 * 28**2 + 10 * 14**2))


def test_non_target_trials_that_all_have_one_speaker_are_too_few() -> None:
    trials = make_trials(speakers=20)
    star = some_of(trials, trials.is_target | (trials.enroll == 0))
    with pytest.raises(FewSpeakers, match=r"^non-target trials .* 20 speakers, so unevenly that they are worth 3\.8"):
        effective_speakers(star)


def test_more_speakers_than_groups_are_worth_the_groups() -> None:
    assert effective_speakers(make_trials(speakers=130, utts=2)) == 100


def test_trials_of_which_nothing_is_left_are_refused() -> None:
    pair = np.array([0, 1, 0], dtype=np.int32), np.array([0, 1, 1], dtype=np.int32)
    trials = SpeakerTrials(np.array([2.0, 1.0, 0.0]), pair[0] == pair[1], *pair)
    with pytest.raises(FewSpeakers, match="too few speakers have trials to leave any of them out"):
        leave_out([trials], COLUMNS)
    with pytest.raises(UserError, match="p_target"):
        columns_of((2.0,))
