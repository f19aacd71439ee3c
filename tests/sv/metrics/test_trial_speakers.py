"""Speakers of trials, and samples of trials."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import read_scored_trials
from sv.metrics.trial_speakers import Speakers, SpeakerTrials, TrialSample, read_speakers, with_models


def test_model_named_as_a_speaker_is_that_speaker(tmp_path: Path) -> None:
    (tmp_path / "x.score").write_text("a a1 0.5 target\nb a1 0.1 nontarget\n")
    trials = Speakers({"a1": "a", "b1": "b"}, "utt2spk").trials(read_scored_trials(tmp_path / "x.score"))
    assert trials.enroll.tolist() == [0, 1] and trials.test.tolist() == [0, 0] and trials.speakers.tolist() == [0, 1]


def test_numbers_of_speakers_do_not_depend_on_the_order_of_utt2spk() -> None:
    utt2spk = {"u1": "b", "u2": "é", "u3": "B", "u4": "a"}
    for table in (utt2spk, dict(reversed(utt2spk.items()))):
        assert Speakers(table, "utt2spk").names == ["B", "a", "b", "é"]  # as LC_ALL=C sort


def test_unknown_speaker_and_wrong_label_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.score").write_text("a1 b1 0.5 target\n")
    scores = read_scored_trials(tmp_path / "x.score")
    with pytest.raises(UserError, match=r"x\.score: the speaker of b1 is not in utt2spk; give the test set's utt2spk"):
        Speakers({"a1": "a"}, "utt2spk").trials(scores)
    with pytest.raises(UserError, match=r"x\.score:1: a1 and b1 is labelled target, but utt2spk says otherwise"):
        Speakers({"a1": "a", "b1": "b"}, "utt2spk").trials(scores)


def test_models_have_the_speaker_of_their_utterances(tmp_path: Path) -> None:
    utt2spk, enroll_map = tmp_path / "utt2spk", tmp_path / "map"
    utt2spk.write_text("a1 a\na2 a\nb1 b\n")
    enroll_map.write_text("m a1 a2\na1 a2\n")
    (tmp_path / "x.score").write_text("m a1 0.5 target\nm b1 0.1 nontarget\n")
    trials = read_speakers(utt2spk, enroll_map).trials(read_scored_trials(tmp_path / "x.score"))
    assert trials.enroll.tolist() == [0, 0] and trials.test.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("m a1 c1", "map: utterance c1 of model m is not in utt2spk; add it"),
        ("m a1 b1", "map: by utt2spk, model m has speakers a, b; mend one"),
        ("b1 a1 a2", "map: by utt2spk, model b1 has speakers a, b; mend one"),
    ],
)
def test_a_model_of_no_speaker_or_of_two_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "map").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        with_models({"a1": "a", "a2": "a", "b1": "b"}, Path("utt2spk"), tmp_path / "map")


def test_sample_has_every_trial_with_the_same_chance() -> None:
    trials = 400
    often = np.zeros(trials)
    for seed in range(200):
        sample = TrialSample(most=100, seed=seed)
        for start in range(0, trials, 50):
            rows = np.arange(start, start + 50)
            numbers = rows.astype(np.int32)
            sample.add(SpeakerTrials(rows.astype(float), rows % 40 == 0, numbers, numbers + 1))
        (kept,) = sample.trials(Path("x.score"))
        assert kept.is_target.sum() == 10 and (~kept.is_target).sum() <= 100
        assert (kept.enroll == kept.scores).all() and (kept.test == kept.scores + 1).all()
        often[kept.enroll] += 1
    nontarget = np.arange(trials) % 40 != 0
    assert often[~nontarget].tolist() == [200] * 10
    halves = often[nontarget][:195].mean(), often[nontarget][195:].mean()
    assert halves[0] == pytest.approx(halves[1], rel=0.05)
