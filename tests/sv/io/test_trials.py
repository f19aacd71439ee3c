"""Trial lists are read in blocks, and each way of being wrong is named with file and line."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import Trials, check_both_kinds, read_enroll_map, read_trials

KNOWN = ["a/1.wav", "a/2.wav", "b/1.wav"]


def write(folder: Path, text: str) -> Path:
    path = folder / "list.kaldi"
    path.write_bytes(text.encode())
    return path


def read_one(path: Path) -> Trials:
    (block,) = read_trials(path, KNOWN)
    return block


def test_rows_point_into_the_known_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "b/1.wav a/1.wav nontarget\na/1.wav a/2.wav target\n")
    block = read_one(path)
    assert [KNOWN[row] for row in block.enroll] == ["b/1.wav", "a/1.wav"]
    assert [KNOWN[row] for row in block.test] == ["a/1.wav", "a/2.wav"]
    assert block.is_target is not None and block.is_target.tolist() == [False, True]
    assert [array.dtype.name for array in (block.enroll, block.test, block.is_target)] == ["int32", "int32", "bool"]


def test_list_without_labels(tmp_path: Path) -> None:
    assert read_one(write(tmp_path, "a/1.wav b/1.wav\n")).is_target is None


@pytest.mark.parametrize(
    "text", ["a/1.wav\ta/2.wav  target\r\n", " a/1.wav a/2.wav target", "a/1.wav a/2.wav target \n"]
)
def test_tabs_blanks_and_a_missing_last_line_end_are_understood(tmp_path: Path, text: str) -> None:
    block = read_one(write(tmp_path, text))
    assert (block.enroll.tolist(), block.test.tolist()) == ([0], [1])
    assert block.is_target is not None and block.is_target.tolist() == [True]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["{1} {2} {0}", "{0} {1} {2}"])
def test_labels_of_1_and_0_stand_before_or_behind_the_ids(tmp_path: Path, form: str, end: str) -> None:
    rows = [("1", "a/1.wav", "a/2.wav"), ("0", "b/1.wav", "a/1.wav")]
    path = write(tmp_path, "".join(form.format(*row) + end for row in rows))
    check_both_kinds(path)
    block = read_one(path)
    assert (block.enroll.tolist(), block.test.tolist()) == ([0, 2], [1, 0])
    assert block.is_target is not None and block.is_target.tolist() == [True, False]


def test_utterances_may_be_named_1_and_0(tmp_path: Path) -> None:
    for text in ("1 0 nontarget\n1 1 target\n", "1 0 0\n1 1 1\n"):
        (block,) = read_trials(write(tmp_path, text), ["0", "1"])
        assert (block.enroll.tolist(), block.test.tolist()) == ([1, 1], [0, 1])
        assert block.is_target is not None and block.is_target.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a/1.wav c/9.wav\n", r":1: c/9.wav is not in xvector.scp \(lines read as '1\|0 enroll test'\); extract"),
        ("a/1.wav c/9.wav 0\n", r":1: c/9.wav is not in xvector.scp \(lines read as 'enroll test 1\|0'\); extract"),
        (
            "a/1.wav a/2.wav 1\na/1.wav a/2.wav target\n",
            r":2: label 'target'; write 1 or 0 \(lines read as 'enroll test 1\|0'\)",
        ),
        ("a/1.wav a/2.wav target\na/1.wav a/2.wav 1\n", ":2: label '1'; write target or nontarget"),
        ("1 a/1.wav a/2.wav\n2 a/1.wav a/2.wav\n", r":2: label '2'; write 1 or 0 \(lines read as '1\|0 enroll test'\)"),
    ],
)
def test_an_error_shows_the_form_that_the_first_line_has(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_trials(write(tmp_path, text), KNOWN))


def test_list_of_ones_alone_lacks_nontargets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="all trials are target; EER and minDCF need nontarget trials too"):
        check_both_kinds(write(tmp_path, "1 a/1.wav a/2.wav\n"))


def test_pair_that_comes_twice_is_scored_twice(tmp_path: Path) -> None:
    assert len(read_one(write(tmp_path, "a/1.wav a/2.wav target\n" * 2))) == 2


def test_enroll_models_have_their_own_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "model-b a/1.wav nontarget\n")
    (block,) = read_trials(path, KNOWN, known_enroll=["model-a", "model-b"])
    assert (block.enroll.tolist(), block.test.tolist()) == ([1], [0])


def test_blocks_join_to_the_whole_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 100)
    rng = np.random.default_rng(0)
    enroll, test, target = rng.integers(0, 3, 200), rng.integers(0, 3, 200), rng.integers(0, 2, 200)
    lines = [
        f"{KNOWN[e]} {KNOWN[t]} {'target' if y else 'nontarget'}\n"
        for e, t, y in zip(enroll, test, target, strict=True)
    ]
    blocks = list(read_trials(write(tmp_path, "".join(lines)), KNOWN))
    assert len(blocks) > 10
    assert np.concatenate([block.enroll for block in blocks]).tolist() == enroll.tolist()
    assert np.concatenate([block.test for block in blocks]).tolist() == test.tolist()
    labels = [block.is_target for block in blocks if block.is_target is not None]
    assert np.concatenate(labels).tolist() == target.astype(bool).tolist()
    assert [block.first_line for block in blocks] == (1 + np.cumsum([0] + [len(b) for b in blocks[:-1]])).tolist()


def test_unknown_id_is_named_with_line_and_remedy(tmp_path: Path) -> None:
    path = write(tmp_path, "a/1.wav a/2.wav target\na/1.wav c/9.wav nontarget\n")
    with pytest.raises(UserError) as error:
        list(read_trials(path, KNOWN, source="exp/x/xvector.scp", remedy="extract it (stage 4)"))
    assert str(error.value) == f"{path}:2: c/9.wav is not in exp/x/xvector.scp; extract it (stage 4)"
    path = write(tmp_path, "m a/2.wav target\n")
    with pytest.raises(UserError, match=r"m is not in x; add it, or give --enroll-map if it is an enroll model$"):
        list(read_trials(path, KNOWN, source="x", remedy="add it"))


def test_many_unknown_ids_are_counted_to_the_end_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 1)
    path = write(tmp_path, "a/1.wav c/9.wav target\nc/9.wav c/8.wav target\na/1.wav c/7.wav nontarget\n")
    with pytest.raises(UserError, match=r"list.kaldi:1: c/9.wav is not in x, nor are 2 other ids of the list; "):
        list(read_trials(path, KNOWN, source="x"))


def test_unknown_enroll_model_names_the_enroll_map(tmp_path: Path) -> None:
    path = write(tmp_path, "m2 a/1.wav target\n")
    with pytest.raises(UserError, match=r":1: m2 is not in enroll_map; add it$"):
        list(read_trials(path, KNOWN, known_enroll=["m1"], enroll_source="enroll_map"))


def test_wrong_label_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a/1.wav a/2.wav target\na/1.wav a/2.wav tgt\n")
    with pytest.raises(UserError, match=r"list.kaldi:2: label 'tgt'; write target or nontarget"):
        list(read_trials(path, KNOWN))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/1.wav\n", "list.kaldi:1: expected 'enroll test target|nontarget', found 1 column: 'a/1.wav'"),
        ("1 a/1.wav a/2.wav target\n", "list.kaldi:1: .*found 4 columns"),
        ("a/1.wav a/2.wav target\na/1.wav a/2.wav\n", "list.kaldi:2: .*found 2 columns"),
        ("a/1.wav a/2.wav target\n\na/1.wav a/2.wav target\n", "list.kaldi:2: .*found 0 columns"),
        # Four and two columns are as many words as three and three.
        ("a/1.wav a/2.wav target a/1.wav\na/2.wav target\n", "list.kaldi:1: .*found 4 columns"),
        ("\n", "list.kaldi is empty"),
        (" \na/1.wav a/2.wav target\n", "list.kaldi:1: .*found 0 columns"),
        ("a/1.wav a/2.wav target\na/1.wav a/2.wav target a/1.wav a/2.wav target\n", "list.kaldi:2: .*found 6 columns"),
        ("a/1.wav a/2.wav target\na/1.wav a/2.wav", "list.kaldi:2: .*found 2 columns"),
        ("", "list.kaldi is empty"),
    ],
)
def test_wrong_number_of_columns_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("|", r"\|")):
        list(read_trials(write(tmp_path, text), KNOWN))


def test_line_number_counts_through_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 60)
    path = write(tmp_path, "a/1.wav a/2.wav target\n" * 50 + "a/1.wav a/2.wav maybe\n")
    with pytest.raises(UserError, match=r"list.kaldi:51: label 'maybe'"):
        list(read_trials(path, KNOWN))


def test_missing_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.kaldi does not exist"):
        list(read_trials(tmp_path / "none.kaldi", KNOWN))


def test_bytes_that_are_not_utf8_are_an_unknown_id(tmp_path: Path) -> None:
    path = tmp_path / "list.kaldi"
    path.write_bytes(b"a/1.wav \xff\xfe target\n")
    with pytest.raises(UserError, match=r"list.kaldi:1: .* is not in xvector.scp"):
        list(read_trials(path, KNOWN))


def test_model_that_comes_twice_names_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "enroll_map"
    path.write_text("m1 a/1.wav\nm1 a/2.wav\n")
    with pytest.raises(UserError, match=r"enroll_map:2: m1 comes twice; write all its utterances in one line$"):
        read_enroll_map(path)


def test_enroll_map_lists_utterances_by_model(tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.write_text("m1 a/1.wav a/2.wav\nm2 b/1.wav\n")
    assert read_enroll_map(path) == {"m1": ["a/1.wav", "a/2.wav"], "m2": ["b/1.wav"]}


def test_enroll_model_without_utterances_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.write_text("m1 a/1.wav\nm2\n")
    with pytest.raises(UserError, match=r"map:2: "):
        read_enroll_map(path)


def test_blocks_tell_how_much_of_the_file_they_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 30)
    path = tmp_path / "list"
    path.write_text("a b target\n" * 20 + "b a nontarget")
    blocks = list(read_trials(path, ["a", "b"]))
    assert len(blocks) > 1 and sum(block.num_bytes for block in blocks) == path.stat().st_size
