"""Score files hold WeSpeaker's lines, come back as written, and name the line that is wrong."""

import io
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import ScoreWriter, Trials, iter_same_trials, iter_scored_trials, read_scored_trials, read_trials

KNOWN = ["a/1.wav", "a/2.wav", "b/1.wav"]


def trials(folder: Path, text: str = "a/1.wav a/2.wav target\na/1.wav b/1.wav nontarget\n") -> Trials:
    path = folder / "list.kaldi"
    path.write_text(text)
    (block,) = read_trials(path, KNOWN)
    return block


def written(block: Trials, scores: list[float], dtype: type = np.float32) -> str:
    file = io.StringIO()
    ScoreWriter(file).write(block, np.array(scores, dtype=dtype))
    return file.getvalue()


def test_lines_are_wespeakers(tmp_path: Path) -> None:
    text = written(trials(tmp_path), [0.123456, -0.5])
    assert text == "a/1.wav a/2.wav 0.12346 target\na/1.wav b/1.wav -0.50000 nontarget\n"


def test_trials_without_labels_give_three_columns(tmp_path: Path) -> None:
    assert written(trials(tmp_path, "a/1.wav a/2.wav\n"), [1.0]) == "a/1.wav a/2.wav 1.00000\n"


def test_scores_come_back_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lines = [f"a/1.wav b/1.wav {label}\n" for label in rng.choice(["target", "nontarget"], 300)]
    block = trials(tmp_path, "".join(lines))
    scores = rng.normal(0, 20, 300)
    monkeypatch.setattr("sv.io.score_writer._LINES", 7)
    path = tmp_path / "x.score"
    path.write_text(written(block, scores.tolist(), np.float64))
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 500)
    back = read_scored_trials(path)
    assert back.values.tolist() == [float(f"{score:.5f}") for score in scores]
    assert back.is_target is not None and block.is_target is not None
    assert back.is_target.tolist() == block.is_target.tolist()


def test_file_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.score"
    path.write_text("a b 0.5\nc d -1e-3\n")
    back = read_scored_trials(path)
    assert back.values.tolist() == [0.5, -0.001] and back.is_target is None


def test_scores_and_labels_are_the_same_without_ids(tmp_path: Path) -> None:
    path, listed = tmp_path / "x.score", tmp_path / "x.kaldi"
    path.write_text("a b 0.5 target\nc d -1 nontarget\n")
    (block,) = iter_scored_trials(path, need_ids=False)
    assert (block.values.tolist(), block.labels().tolist()) == ([0.5, -1.0], [True, False])
    assert len(block.ids) == len(block.enroll) == len(block.test) == 0, "they cost a third of the time"
    listed.write_text("a b target\nc d nontarget\n")
    path.write_text("a b 0.5\nc d -1\n")
    (block,) = iter_scored_trials(path, listed, need_ids=False)
    assert block.labels().tolist() == [True, False]
    path.write_text("a b 0.5\nc x -1\n")
    with pytest.raises(UserError, match=r"x\.kaldi:2: c and d is not the trial of .*x\.score:2"):
        list(iter_scored_trials(path, listed, need_ids=False))


def test_eight_columns_of_a_normalized_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.score"
    path.write_text("a b 0.50000 target 12.1 13.5 0.1 0.2\n")
    back = read_scored_trials(path)
    assert back.values.tolist() == [0.5] and back.is_target is not None and back.is_target.tolist() == [True]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_score_that_is_not_finite_is_not_written(tmp_path: Path, bad: float) -> None:
    block = trials(tmp_path)
    with pytest.raises(UserError, match=r"list.kaldi:2: the score of a/1.wav and b/1.wav is (nan|inf)"):
        written(block, [0.5, bad])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b 0.5 target\na b o.5 target\n", "x.score:2: score 'o.5' is not a finite number"),
        ("a b nan target\n", "x.score:1: score 'nan' is not a finite number"),
        ("a b 0.5 1\n", "x.score:1: label '1'; write target or nontarget"),
        ("a b target\n", "x.score:1: score 'target' is not a finite number"),
        ("a b\n", "x.score:1: expected 'enroll test score target.nontarget', found 2 columns"),
        ("a b 0.5 target\na b 0.5\n", "x.score:2: .*found 3 columns"),
        ("", "x.score is empty"),
    ],
)
def test_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.score"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_scored_trials(path)


def test_files_over_the_same_trials_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 100)  # lines of other lengths: blocks that end elsewhere
    lines = [f"a{i} b{i} {{}} {'target' if i % 3 else 'nontarget'}\n" for i in range(40)]
    one, other = tmp_path / "one.score", tmp_path / "other.score"
    one.write_text("".join(line.format(i) for i, line in enumerate(lines)))
    other.write_text("".join(line.format(f"{-i}.00000") for i, line in enumerate(lines)))
    rows = []
    for first, second in iter_same_trials([one, other]):
        assert first.first_line == second.first_line == len(rows) + 1
        rows += list(zip(first.values.tolist(), second.values.tolist(), first.labels().tolist(), strict=True))
    assert rows == [(i, -i, i % 3 > 0) for i in range(40)]
    other.write_text(other.read_text().replace("a30 b30", "a30 b31"))
    with pytest.raises(UserError, match=r"other\.score:31: a30 and b31 is not the trial of .*one\.score:31"):
        list(iter_same_trials([one, other]))
    other.write_text("".join(lines).format(*range(40)).replace("b31 31 target", "b31 31 nontarget"))
    with pytest.raises(UserError, match=r"other\.score:32: .* in the same order and with the same labels, with both"):
        list(iter_same_trials([one, other]))
    other.write_text("".join(line.format(0.5) for line in lines[:25]))
    with pytest.raises(UserError, match=r"other\.score ends after 25 trials, .*one\.score does not"):
        list(iter_same_trials([one, other]))
