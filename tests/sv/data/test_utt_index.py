"""The index of a data dir: what it holds, and tables that are refused."""

import pytest

from sv.data import read_index
from sv.errors import UserError
from tests.sv.data.feats_dir import make_dir


def test_index_holds_what_the_tables_say(tmp_path):
    index = read_index(make_dir(tmp_path, {"b-1": 7, "a-1": 30, "a-2": 8}))
    assert [index.utts[i] for i in range(len(index))] == ["a-1", "a-2", "b-1"]
    assert index.speakers == ["a", "b"]
    assert index.speaker.tolist() == [0, 0, 1]
    assert index.num_frames.tolist() == [30, 8, 7]


def test_renumbered_speakers_leave_out_the_others(tmp_path):
    index = read_index(make_dir(tmp_path, {"a-1": 9, "b-1": 9, "c-1": 9})).with_speakers(["c", "a"])
    assert index.speaker.tolist() == [1, -1, 0]


def test_fingerprint_sees_a_change_of_frames(tmp_path):
    one = read_index(make_dir(tmp_path / "1", {"a-1": 9, "b-1": 9}))
    same = read_index(make_dir(tmp_path / "2", {"a-1": 9, "b-1": 9}))
    other = read_index(make_dir(tmp_path / "3", {"a-1": 9, "b-1": 8}))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


def test_a_truncated_archive_is_found_before_training(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 30, "b-1": 7})
    ark = folder / "feats.ark"
    ark.write_bytes(ark.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"feats.scp: b-1: .*does not fit .* truncated"):
        read_index(folder)


def test_missing_tables_name_the_stage_that_makes_them(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 9})
    (folder / "utt2num_frames").unlink()
    with pytest.raises(UserError, match=r"utt2num_frames does not exist; make it with tools/get_utt2num_frames\.sh"):
        read_index(folder)
    (folder / "feats.scp").unlink()
    with pytest.raises(UserError, match=r"feats.scp does not exist; make it with steps/make_fbank.sh \(stage 2\)"):
        read_index(folder)
    with pytest.raises(UserError, match="is not a data directory"):
        read_index(tmp_path / "none")


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("utt2spk", "a-1 a\n", r"feats.scp:2: b-1 is not in utt2spk; run tools/fix_data_dir.sh"),
        ("utt2spk", "a-1 a\na-2 a\nb-1 b\n", r"utt2spk:2: a-2 is not in feats.scp"),
        ("utt2spk", "a-1 a\nb-1 b\nc-1 c\n", r"utt2spk:3: c-1 is not in feats.scp"),
        ("utt2num_frames", "a-1 9\nb-1 x\n", r"utt2num_frames:2: b-1 has 'x' frames"),
        ("utt2num_frames", "a-1 9\nb-1 0\n", r"utt2num_frames:2: b-1 has '0' frames"),
        ("feats.scp", "", r"feats.scp"),
        ("utt2spk", "a-1\nb-1 b\n", r"utt2spk:1: expected 'key value'"),
    ],
)
def test_tables_that_disagree_are_refused_by_line(tmp_path, table, text, message):
    folder = make_dir(tmp_path, {"a-1": 9, "b-1": 9})
    (folder / table).write_text(text)
    with pytest.raises(UserError, match=message):
        read_index(folder)


@pytest.mark.parametrize(("order", "problem"), [("ba", "is not in LC_ALL=C order"), ("aa", "comes twice")])
def test_unsorted_and_duplicate_utterances_are_refused(tmp_path, order, problem):
    folder = make_dir(tmp_path, {"a-1": 9, "b-1": 9})
    for table in ("feats.scp", "utt2spk", "utt2num_frames"):
        lines = {line[0]: line for line in (folder / table).read_text().splitlines()}
        (folder / table).write_text("".join(f"{lines[c]}\n" for c in order))
    with pytest.raises(UserError, match=rf"feats.scp:2: a-1 {problem}; run tools/fix_data_dir.sh"):
        read_index(folder)
