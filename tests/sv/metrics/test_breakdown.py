"""Parts of a trial list: by what a data dir tells, by a trial2cond, and what is missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import DataDir, ScoredTrials, read_scored_trials, write_table
from sv.metrics.breakdown import Conditions, PartCounter, Trial2Cond, conditions_of
from sv.metrics.measures import columns_of

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


def test_a_model_has_the_duration_of_all_its_utterances(scores: ScoredTrials, tmp_path: Path) -> None:
    (tmp_path / "map").write_text("m a/v/1 a/v/2\n")
    (tmp_path / "M.score").write_text("m a/w/1 0.9 target\nm b/x/1 0.1 nontarget\n")
    found = Conditions(DataDir(tmp_path), tmp_path / "map").of(read_scored_trials(tmp_path / "M.score"))
    assert found["duration of the shorter"].tolist() == ["3 to 6 s", "3 to 6 s"]  # 2 + 3 s
    assert found["sex"].tolist() == ["f / f", "f / m"] and "video" not in found
    told = "no line for utterance m, which is in .*; add it, or give --enroll-map if it is an enroll model$"
    with pytest.raises(UserError, match=told):
        Conditions(DataDir(tmp_path)).of(read_scored_trials(tmp_path / "M.score"))
    write_table(tmp_path / "utt2dur", {"a/v/1": 2.0})
    with pytest.raises(UserError, match="utt2dur has no line for a/v/2, which is of model m; add it"):
        Conditions(DataDir(tmp_path), tmp_path / "map")


def test_a_model_named_as_an_utterance_has_its_own_values_on_the_enroll_side_only(
    scores: ScoredTrials, tmp_path: Path
) -> None:
    (tmp_path / "map").write_text("a/v/1 a/v/1 a/v/2\n")  # 2 s, and as a model 2 + 3 s
    write_table(tmp_path / "utt2genre", dict.fromkeys(scores.ids, "talk") | {"a/v/1": "vlog"})
    (tmp_path / "M.score").write_text("a/v/1 a/w/1 0.9 target\na/w/1 a/v/1 0.9 target\n")
    found = Conditions(DataDir(tmp_path), tmp_path / "map").of(read_scored_trials(tmp_path / "M.score"))
    assert found["duration of the shorter"].tolist() == ["3 to 6 s", "0 to 3 s"]
    assert found["genre"].tolist() == ["same genre", "other genre"]


def test_genres_are_those_of_the_test_and_whether_the_enroll_side_has_them(
    scores: ScoredTrials, tmp_path: Path
) -> None:
    (tmp_path / "map").write_text("m a/v/1 a/v/2\n")
    write_table(tmp_path / "utt2genre", {"a/v/1": "vlog", "a/v/2": "drama+talk", "a/w/1": "talk", "b/x/1": "log"})
    (tmp_path / "M.score").write_text("m a/w/1 0.9 target\nm b/x/1 0.1 nontarget\nb/x/1 b/x/1 0.5 target\n")
    found = Conditions(DataDir(tmp_path), tmp_path / "map").of(read_scored_trials(tmp_path / "M.score"))
    assert found["genre of the test"].tolist() == ["talk", "log", "log"]
    assert found["genre"].tolist() == ["same genre", "other genre", "same genre"]
    write_table(tmp_path / "utt2genre", {"a/v/1": "vlog"})
    with pytest.raises(UserError, match="utt2genre has no line for a/v/2, which is of model m; add it"):
        Conditions(DataDir(tmp_path), tmp_path / "map")


def test_conditions_do_not_depend_on_which_side_is_which(scores: ScoredTrials, tmp_path: Path) -> None:
    turned = replace(scores, enroll=scores.test, test=scores.enroll)
    found = (Conditions(DataDir(tmp_path)).of(one) for one in (scores, turned))
    for words in zip(*(conditions.items() for conditions in found), strict=True):
        assert words[0][0] == words[1][0] and words[0][1].tolist() == words[1][1].tolist()


def test_videos_are_known_where_all_ids_are_speaker_video_utterance(tmp_path: Path) -> None:
    for other, told in (("b/x/2", True), ("b/2", False), ("b", False)):
        (tmp_path / "O.score").write_text(f"a/v/1 a/v/2 0.9 target\na/v/1 {other} 0.5 nontarget\n")
        assert ("video" in Conditions(DataDir(tmp_path)).of(read_scored_trials(tmp_path / "O.score"))) == told


def test_condition_that_some_trials_lack_is_left_out(scores: ScoredTrials) -> None:
    counter = PartCounter()
    counter.add(scores.part(0, 2), {"noise": np.array(["x", "y"]), "place": np.array(["z", "z"])})
    counter.add(scores.part(2), {"noise": np.array(["x", "y"])})
    assert [(part["by"], part["name"]) for part in counter.parts(columns_of())] == [("noise", "x"), ("noise", "y")]


def test_each_part_is_measured_alone(scores: ScoredTrials, tmp_path: Path) -> None:
    counter = PartCounter()
    for block in (scores.part(0, 3), scores.part(3)):
        counter.add(block, Conditions(DataDir(tmp_path)).of(block))
    parts = {(part["by"], part["name"]): part for part in counter.parts(columns_of())}
    other = parts["video", "other video"]  # target 0.4 against 0.5 and 0.1
    assert (other["num_target"], other["num_nontarget"]) == (1, 2) and other["eer"] == 50.0
    same = parts["video", "same video"]
    assert same["eer"] is None and same["min_dcf"] == {} and same["num_target"] == 1


def test_trial2cond_names_its_columns_and_must_hold_all_trials(scores: ScoredTrials, tmp_path: Path) -> None:
    path = tmp_path / "trial2cond"
    rows = [" ".join(line.split()[:2]) for line in TRIALS.splitlines()]
    path.write_text("enroll test noise\n" + "".join(f"{row} n{i % 2}\n" for i, row in enumerate(rows)))
    conditions = Trial2Cond(path)
    assert conditions.of(scores)["noise"].tolist() == ["n0", "n1", "n0", "n1"]
    assert conditions.of(scores.part(1, 3))["noise"].tolist() == ["n1", "n0"]
    path.write_text("".join(f"{row} x y\n" for row in rows[:3]))
    assert list(Trial2Cond(path).of(scores.part(0, 3))) == ["column 3", "column 4"]
    with pytest.raises(UserError, match=r"O\.score:4: the trial of a/w/1 and c/y/1 is not in"):
        Trial2Cond(path).of(scores.part(3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b x\na c\n", "trial2cond:2: expected 'enroll test condition"),
        ("\na b\n", "trial2cond:2: expected 'enroll test condition"),
        ("enroll test noise\na b\n", "trial2cond:2: expected 'enroll test condition"),
        ("enroll test noise noise\na b x y\n", "trial2cond:1: two columns have the same name; rename one"),
        ("", "trial2cond is empty; give a file with lines"),
        ("a b x\na b x\n\na b y\n", "trial2cond:4: the trial of a and b is 'y' here and 'x' above; leave one"),
    ],
)
def test_bad_trial2cond_is_named_by_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "trial2cond").write_text(text)
    with pytest.raises(UserError, match=message):
        Trial2Cond(tmp_path / "trial2cond")


def test_trial2cond_that_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none does not exist; give a file with lines"):
        Trial2Cond(tmp_path / "none")
    with pytest.raises(UserError, match=f"{tmp_path} is a folder; give a file with lines"):
        Trial2Cond(tmp_path)


@pytest.mark.parametrize("column", ["sex", "age", "duration of the shorter", "video"])
def test_column_of_a_name_that_the_data_dir_has_told_is_refused(
    column: str, scores: ScoredTrials, tmp_path: Path
) -> None:
    def column_of(block: ScoredTrials) -> dict[str, np.ndarray]:
        return {column: np.full(len(block), "x")}

    with pytest.raises(UserError, match=rf"O\.score: two conditions are named '{column}'; rename the column of"):
        conditions_of(scores, [Conditions(DataDir(tmp_path)).of, column_of])


def test_trial2cond_in_another_encoding_is_read(scores: ScoredTrials, tmp_path: Path) -> None:
    rows = [" ".join(line.split()[:2]) for line in TRIALS.splitlines()]
    (tmp_path / "trial2cond").write_bytes("".join(f"{row} \u00e9t\u00e9\n" for row in rows).encode("latin-1"))
    assert set(Trial2Cond(tmp_path / "trial2cond").of(scores)["column 3"].tolist()) == {"\ufffdt\ufffd"}


def test_speaker_without_sex_is_named(scores: ScoredTrials, tmp_path: Path) -> None:
    write_table(tmp_path / "spk2gender", {"a": "f", "b": "m"})
    told = r"spk2gender says nothing of speaker c, whose utterance c/y/1 is in the trials; add a line for the speaker"
    with pytest.raises(UserError, match=told + ", or remove spk2gender"):
        Conditions(DataDir(tmp_path)).of(scores)


def test_utterance_without_speaker_is_named(scores: ScoredTrials, tmp_path: Path) -> None:
    write_table(tmp_path / "utt2spk", {utt: utt[0] for utt in scores.ids if utt != "b/x/1"})
    with pytest.raises(UserError, match=r"utt2spk says nothing of utterance b/x/1 of the trials; add it, or give "):
        Conditions(DataDir(tmp_path)).of(scores)
