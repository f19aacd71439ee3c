"""Kaldi's data dir: written, read in whole and in parts, and what is missing or wrong in it."""

import os
import tracemalloc

import pytest

from sv.errors import UserError
from sv.io import DataDir, part_rows, write_table


def test_spk2utt_is_written_with_utt2spk(tmp_path):
    DataDir.write(
        tmp_path / "d", {"wav.scp": {"u2": "2.wav", "u1": "1.wav"}, "utt2spk": {"u2": "b", "u1": "b", "u3": "B"}}
    )
    files = {name: (tmp_path / "d" / name).read_text() for name in os.listdir(tmp_path / "d")}
    assert files == {
        "wav.scp": "u1 1.wav\nu2 2.wav\n",
        "utt2spk": "u1 b\nu2 b\nu3 B\n",
        "spk2utt": "B u3\nb u1 u2\n",
    }


def test_segments_of_an_earlier_wav_scp_are_removed(tmp_path):
    DataDir.write(tmp_path, {"wav.scp": {"r": "r.wav"}, "segments": {"u": "r 0 1"}})
    DataDir.write(tmp_path, {"utt2spk": {"u": "s"}})
    assert DataDir(tmp_path).segments == {"u": ("r", 0.0, 1.0)}
    DataDir.write(tmp_path, {"wav.scp": {"u": "u.wav"}})
    assert DataDir(tmp_path).segments == {}


@pytest.mark.parametrize(
    ("tables", "kept"),
    [
        ({"wav.scp": {"u": "u.wav"}}, True),
        ({"wav.scp": {"u": "other.wav"}}, False),
        ({"wav.scp": {"u": "u.wav"}, "segments": {"u": "u 0 1"}}, False),
        ({"wav.scp": {"u": "other.wav"}, "utt2dur": {"u": "2.0"}}, True),
    ],
)
def test_durations_of_other_audio_are_removed(tmp_path, tables, kept):
    DataDir.write(tmp_path, {"wav.scp": {"u": "u.wav"}, "utt2spk": {"u": "a"}})
    write_table(tmp_path / "utt2dur", {"u": "1.0"})
    DataDir.write(tmp_path, {**tables, "utt2spk": {"u": "a"}})
    assert (tmp_path / "utt2dur").exists() == kept


def test_tables_of_other_utterances_move_to_backup(tmp_path, caplog):
    lists = {"wav.scp": {"u1": "1.wav", "u2": "2.wav"}, "utt2spk": {"u1": "a", "u2": "b"}}
    DataDir.write(tmp_path, lists)
    made = ("feats.scp", "utt2dur", "utt2num_frames", "vad.scp", "text")
    for name in made:
        write_table(tmp_path / name, {"u1": "x", "u2": "y"})
    (tmp_path / "fbank.yaml").touch()
    DataDir.write(tmp_path, lists)
    assert all((tmp_path / name).exists() for name in made) and not caplog.text
    grown = {"wav.scp": {**lists["wav.scp"], "u3": "3.wav"}, "utt2spk": {**lists["utt2spk"], "u3": "b"}}
    DataDir.write(tmp_path, {**grown, "utt2dur": {"u1": 1, "u2": 1, "u3": 2}})
    moved = sorted(set(made) - {"utt2dur"})
    assert sorted(path.name for path in (tmp_path / ".backup").iterdir()) == moved
    assert (tmp_path / ".backup" / "feats.scp").read_text() == "u1 x\nu2 y\n"
    assert f"has other utterances now: {', '.join(moved)} moved to .backup; stage 2 makes" in caplog.text
    DataDir.write(tmp_path, {"utt2spk": {"u1": "a", "u2": "c", "u4": "c"}})  # as many
    left = {"spk2utt", "utt2spk", "wav.scp", "fbank.yaml"}
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == left


@pytest.mark.parametrize(("count", "num_parts"), [(10, 3), (2, 5), (0, 2), (7, 7)])
def test_parts_are_successive_and_equal_to_one(count, num_parts):
    parts = [part_rows(count, part, num_parts) for part in range(1, num_parts + 1)]
    assert [row for part in parts for row in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def make_dir(path, **files):
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return DataDir(path)


def test_speakers_are_collected_from_utt2spk(tmp_path):
    data = make_dir(tmp_path, utt2spk="u1 s2\nu2 s1\nu3 s2\n")
    assert data.spk2utt == {"s1": ["u2"], "s2": ["u1", "u3"]}


@pytest.mark.parametrize("name", ["utt2spk", "segments"])
def test_a_line_too_many_in_a_data_dir_is_for_the_tool_that_mends_it(tmp_path, name):
    data = make_dir(tmp_path, **{name: "u1 a 0 1\n" * 2})
    with pytest.raises(UserError, match=f"{name}:2: u1 comes twice; run tools/fix_data_dir.sh {tmp_path}$"):
        getattr(data, name)


def test_numbers_and_segments_are_checked(tmp_path):
    data = make_dir(
        tmp_path, utt2dur="u1 1.5\n", utt2num_frames="u1 x\n", segments="u1 r1 0.5 2.0\n", wav__scp="r1 a.wav\n"
    )
    assert data.utt2dur == {"u1": 1.5}
    assert data.segments == {"u1": ("r1", 0.5, 2.0)}
    with pytest.raises(UserError, match="utt2num_frames: u1 has 'x', not a number"):
        _ = data.utt2num_frames


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e400", "-0.5"])
def test_impossible_durations_are_named(tmp_path, seconds):
    told = rf"utt2dur: u2 has '{seconds}', not a number from 0 on; make the file again"
    with pytest.raises(UserError, match=told):
        _ = make_dir(tmp_path, utt2dur=f"u1 0\nu2 {seconds}\n").utt2dur
    with pytest.raises(UserError, match=told):
        DataDir(tmp_path).total_duration()


@pytest.mark.parametrize("line", ["u1 r1 2.0 1.0", "u1 r1 -1 1.0", "u1 r1 1.0", "u1 r1 nan 2", "u1 r1 0 inf"])
def test_bad_segments_are_refused(tmp_path, line):
    with pytest.raises(UserError, match="u1"):
        _ = make_dir(tmp_path, segments=line + "\n").segments


def test_missing_files_say_which_stage_makes_them(tmp_path):
    with pytest.raises(UserError, match=r"feats\.scp does not exist; make it with steps/make_fbank\.sh \(stage 2\)"):
        _ = DataDir(tmp_path).feats_scp
    with pytest.raises(UserError, match=r"not a data directory; prepare it first \(stage 1\)"):
        DataDir(tmp_path / "nowhere")


def test_parts_hold_their_own_utterances_alone(tmp_path):
    names = [f"utt{n:05d}" for n in range(20_000)]
    write_table(tmp_path / "wav.scp", {name: f"/audio/of/some/corpus/{name}.flac" for name in names})
    tracemalloc.start()
    parts = [DataDir(tmp_path).part(part, 40) for part in (1, 40)]
    assert [part.utts for part in parts] == [names[:500], names[-500:]]
    assert sum(1 for _ in DataDir(tmp_path).iter_audio()) == len(names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # the whole table takes about 5 MB
    assert [utt for part in range(1, 8) for utt in DataDir(tmp_path).part(part, 7).utts] == names


def test_a_part_of_segments_has_the_recordings_it_needs(tmp_path):
    write_table(tmp_path / "wav.scp", {"r1": "1.wav", "r2": "2.wav", "r3": "3.wav"})
    write_table(tmp_path / "segments", {"a": "r2 0 1", "b": "r3 1 2", "c": "r2 2 3"})
    part = DataDir(tmp_path).part(1, 2)
    assert part.utts == ["a"] and part.wav_scp == {"r2": "2.wav"}
    assert list(DataDir(tmp_path).part(2, 2).iter_audio()) == [("b", "3.wav 1.0 2.0"), ("c", "2.wav 2.0 3.0")]


def test_more_parts_than_utterances(tmp_path):
    write_table(tmp_path / "wav.scp", {"a": "1.wav"})
    assert [DataDir(tmp_path).part(part, 3).utts for part in (1, 2, 3)] == [[], [], ["a"]]


def test_a_bad_line_of_a_part_has_its_number_in_the_whole(tmp_path):
    (tmp_path / "wav.scp").write_text("a 1.wav\nb 2.wav\nc\n")
    with pytest.raises(UserError, match=r"wav.scp:3: expected 'key value'"):
        DataDir(tmp_path).part(3, 3).utts  # noqa: B018
