"""Parts of a trial list: by what a data dir tells, by a trial2cond, and what is missing."""

from pathlib import Path

import pytest

from sv.errors import UserError
from sv.io import DataDir, ScoredTrials, read_scored_trials, write_table
from sv.scoring.breakdown import Conditions, PartCounter, read_trial2cond

TRIALS = """\
a/v/1 a/v/2 0.9 target
a/v/1 a/w/1 0.4 target
a/v/1 b/x/1 0.5 nontarget
a/w/1 c/y/1 0.1 nontarget
"""


@pytest.fixture
def scores(tmp_path: Path) -> ScoredTrials:
    (tmp_path / "O.score").write_text(TRIALS)
    utts = ["a/v/1", "a/v/2", "a/w/1", "b/x/1", "c/y/1"]
    write_table(tmp_path / "utt2spk", {utt: utt[0] for utt in utts})
    write_table(tmp_path / "utt2dur", dict(zip(utts, (2.0, 3.0, 9.0, 7.0, 8.0), strict=True)))
    write_table(tmp_path / "spk2gender", {"a": "f", "b": "m", "c": "f"})
    write_table(tmp_path / "spk2age", {"a": 9, "b": 10, "c": 40})
    return read_scored_trials(tmp_path / "O.score")


def test_conditions_of_both_sides(scores: ScoredTrials, tmp_path: Path) -> None:
    found = {by: words.tolist() for by, words in Conditions(DataDir(tmp_path)).of(scores).items()}
    assert found["duration of the shorter"] == ["0 to 3 s", "0 to 3 s", "0 to 3 s", "6 s and over"]
    assert found["sex"] == ["f / f", "f / f", "f / m", "f / f"]
    assert found["age"][2:] == ["0 to 10 / 10 to 18", "0 to 10 / 18 and over"]
    assert found["video"] == ["same video", "other video", "other video", "other video"]


def test_each_part_is_measured_alone(scores: ScoredTrials, tmp_path: Path) -> None:
    counter = PartCounter()
    for block in (scores.part(0, 3), scores.part(3)):
        counter.add(block, Conditions(DataDir(tmp_path)).of(block))
    parts = {(part.by, part.name): part for part in counter.parts()}
    other = parts["video", "other video"]  # target 0.4 against 0.5 and 0.1
    assert (other.num_target, other.num_nontarget) == (1, 2) and other.eer == 50.0
    same = parts["video", "same video"]
    assert same.eer is None and same.min_dcf == {} and same.num_target == 1


def test_trial2cond_names_its_columns_and_must_hold_all_trials(scores: ScoredTrials, tmp_path: Path) -> None:
    path = tmp_path / "trial2cond"
    rows = [" ".join(line.split()[:2]) for line in TRIALS.splitlines()]
    path.write_text("enroll test noise\n" + "".join(f"{row} n{i % 2}\n" for i, row in enumerate(rows)))
    assert read_trial2cond(path, scores)["noise"].tolist() == ["n0", "n1", "n0", "n1"]
    path.write_text("".join(f"{row} x\n" for row in rows[:3]))
    with pytest.raises(UserError, match=r"O\.score:4: the trial of a/w/1 and c/y/1 is not in"):
        read_trial2cond(path, scores)
    path.write_text(f"{rows[0]} x\n{rows[1]}\n")
    with pytest.raises(UserError, match="trial2cond:2: expected 'enroll test condition"):
        read_trial2cond(path, scores)


def test_speaker_without_sex_is_named(scores: ScoredTrials, tmp_path: Path) -> None:
    write_table(tmp_path / "spk2gender", {"a": "f", "b": "m"})
    told = r"spk2gender says nothing of speaker c, whose utterance c/y/1 is in .*O\.score; add a line for the speaker"
    with pytest.raises(UserError, match=told + ", or remove spk2gender"):
        Conditions(DataDir(tmp_path)).of(scores)


def test_utterance_without_speaker_is_named(scores: ScoredTrials, tmp_path: Path) -> None:
    write_table(tmp_path / "utt2spk", {utt: utt[0] for utt in scores.ids if utt != "b/x/1"})
    with pytest.raises(UserError, match=r"utt2spk says nothing of utterance b/x/1, which is in .*O\.score; add it"):
        Conditions(DataDir(tmp_path)).of(scores)
