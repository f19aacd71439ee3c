"""tools/fix_data_dir.sh: what it mends, what it keeps, and what it leaves alone."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
MakeDataDir = Callable[..., Path]
Read = Callable[[Path], dict[str, str]]
Snapshot = Callable[[Path], dict[str, bytes]]
Say = Callable[..., str]
Check = Callable[..., None]
Add = Callable[[Path], None]


def test_fix_leaves_a_valid_dir_alone(data_dir: Path, ok: Say, snapshot: Snapshot) -> None:
    before = snapshot(data_dir)
    message = ok("fix_data_dir.sh", "data/")
    assert message.endswith(" fix_data_dir.sh: nothing to repair in data: 9 utterances\n")
    assert snapshot(data_dir) == before


@pytest.mark.slow
def test_fix_mends(data_dir: Path, ok: Say, valid: Check, read: Read, snapshot: Snapshot) -> None:
    old = snapshot(data_dir)
    (data_dir / "utt2spk").write_bytes(b"\n".join(reversed(old["utt2spk"].splitlines())) + b"\ns1-u1 s3")
    (data_dir / "wav.scp").write_bytes(
        b"\xef\xbb\xbf" + old["wav.scp"].replace(b"\n", b"\r\n").replace(b"s1-u1 ", b"s1-u1\t ")
    )
    (data_dir / "feats.scp").write_bytes(b"".join(old["feats.scp"].splitlines(keepends=True)[1:]) + b"zzz x:1\n")
    (data_dir / "utt2dur").write_bytes(b"".join(old["utt2dur"].splitlines(keepends=True)[:-1]))
    (data_dir / "utt2num_frames").write_bytes(b"\n" + old["utt2num_frames"] + b"s9\n")
    (data_dir / "spk2utt").unlink()
    (data_dir / "spk2gender").write_bytes(old["spk2gender"] + b"s4 m\n")
    changed = snapshot(data_dir)
    message = ok("fix_data_dir.sh", "data")
    valid(data_dir)
    assert list(read(data_dir / "utt2spk")) == [line.split()[0].decode() for line in old["wav.scp"].splitlines()[1:]]
    for name in ("wav.scp", "feats.scp", "utt2num_frames"):
        assert (data_dir / name).read_bytes() == b"".join(old[name].splitlines(keepends=True)[1:])
    assert (data_dir / "spk2gender").read_bytes() == old["spk2gender"]
    assert not (data_dir / "utt2dur").exists()
    assert "data/utt2dur: removed, as it was incomplete" in message
    assert "data/feats.scp: 8 lines, was 9" in message
    assert message.endswith("kept 8 utterances; the old files are in data/.backup\n")
    backup = snapshot(data_dir / ".backup")
    assert backup == {name: changed[name] for name in backup}
    assert {"utt2spk", "wav.scp", "feats.scp", "utt2dur"} <= set(backup)


def test_fix_keeps_the_first_of_several_lines(data_dir: Path, ok: Say, read: Read) -> None:
    (data_dir / "wav.scp").write_text((data_dir / "wav.scp").read_text() + "s1-u1 /aaa.wav\ns1-u1 /zzz.wav\n")
    ok("fix_data_dir.sh", "data")
    assert read(data_dir / "wav.scp")["s1-u1"] == "/audio/s1-u1.wav"


def test_fix_tells_ids_of_contradicting_lines(data_dir: Path, ok: Say, read: Read) -> None:
    (data_dir / "utt2spk").write_text((data_dir / "utt2spk").read_text() + "s1-u1 s2\ns1-u1 s3\ns2-u2 s2\ns3-u1 s1\n")
    message = ok("fix_data_dir.sh", "data")
    told = "ids whose lines contradict one another; of each the first line is kept: 2 (s1-u1 s3-u1)"
    assert f"data/utt2spk: {told}\n" in message
    assert read(data_dir / "utt2spk")["s1-u1"] == "s1"


@pytest.mark.slow
def test_fix_leaves_out_what_a_list_names(
    data_dir: Path, ok: Say, error: Say, read: Read, valid: Check, add_trials: Add
) -> None:
    add_trials(data_dir)
    (data_dir / "trials/veri.txt").write_text("0 s2-u1 s1-u1\n")  # as VoxCeleb's
    (data_dir / "check_data").mkdir()
    faults = data_dir / "check_data" / "faults"
    faults.write_text("s3-u3 /audio/s3-u3.wav: truncated\n- speaker s2 is in test, too\ns1-u1 digital silence\n")
    message = ok("fix_data_dir.sh", "--leave-out", faults, "data")
    valid(data_dir)
    assert list(read(data_dir / "wav.scp")) == ["s1-u2", "s1-u3", "s2-u1", "s2-u2", "s2-u3", "s3-u1", "s3-u2"]
    assert f"left out as in {faults}: 2 (s1-u1 s3-u3)\n" in message
    assert "data/trials/far.kaldi names 2 (s1-u1 s3-u3) of these; make it again" in message
    for name in ("near.kaldi", "veri.txt"):
        assert f"data/trials/{name} names 1 (s1-u1) of these" in message
    assert f"{faults} has no utterance of data; is it of another" in error(
        "fix_data_dir.sh", "--leave-out", faults, "data"
    )
    faults.write_text("".join(f"{utt} x\n" for utt in read(data_dir / "utt2spk")))
    assert "has all utterances of data" in error("fix_data_dir.sh", "--leave-out", faults, "data")
    assert "--leave-out none cannot be read" in error("fix_data_dir.sh", "--leave-out", "none", "data")
    assert len(read(data_dir / "utt2spk")) == 7


def test_fix_ids_that_look_like_numbers(make_data_dir: MakeDataDir, ok: Say) -> None:
    other = dict.fromkeys(["feats_scp", "utt2dur", "utt2num_frames", "spk2gender", "wav_scp"])
    data = make_data_dir(utt2spk="1.0 1.0\n1 1\n01 01\n", spk2utt="1 1\n", **other)
    ok("fix_data_dir.sh", "data")
    assert (data / "utt2spk").read_text() == "01 01\n1 1\n1.0 1.0\n"


@pytest.mark.slow
def test_fix_segments_and_recordings(data_dir: Path, ok: Say, valid: Check, read: Read, add_segments: Add) -> None:
    add_segments(data_dir)
    (data_dir / "wav.scp").write_text("r1 /audio/r1.wav\nr3 /audio/r3.wav\n")
    ok("fix_data_dir.sh", "data")
    valid(data_dir)
    assert list(read(data_dir / "utt2spk")) == ["s1-u1", "s1-u2", "s1-u3", "s2-u1"]
    assert list(read(data_dir / "wav.scp")) == ["r1"]
    assert list(read(data_dir / "spk2gender")) == ["s1", "s2"]


def test_fix_makes_utt2spk(make_data_dir: MakeDataDir, ok: Say, valid: Check, read: Read) -> None:
    data = make_data_dir(utt2spk=None)
    ok("fix_data_dir.sh", "data")
    valid(data)
    assert len(read(data / "utt2spk")) == 9


@pytest.mark.slow
def test_fix_extra_files(data_dir: Path, ok: Say, error: Say) -> None:
    (data_dir / "snr").write_text("s3-u1 3\ns1-u1 4\nzzz 5\n")
    (data_dir / "city").write_text("s2 x\ns0 y\n")
    ok("fix_data_dir.sh", "--utt-extra-files", "snr", "--spk-extra-files=city", "data")
    assert (data_dir / "snr").read_text() == "s1-u1 4\ns3-u1 3\n"
    assert (data_dir / "city").read_text() == "s2 x\n"
    message = error("fix_data_dir.sh", "--utt-extra-files", "none", "data")
    assert message == "fix_data_dir.sh: error: data/none does not exist; leave it out of the extra files\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("wav.scp", "x y\n", "data: no utterance is in wav.scp and in all other files; are they of other data?"),
        ("utt2spk", "a b c\n", "data/utt2spk: 'a b c' is not an utterance and a speaker; correct it"),
    ],
)
def test_fix_changes_nothing_where_it_cannot_help(
    data_dir: Path, name: str, text: str, message: str, error: Say, snapshot: Snapshot
) -> None:
    (data_dir / name).write_text(text)
    before = snapshot(data_dir)
    assert error("fix_data_dir.sh", "data") == f"fix_data_dir.sh: error: {message}\n"
    assert snapshot(data_dir) == before


def test_fix_says_what_it_cannot_mend(data_dir: Path, error: Say) -> None:
    for name in ("utt2spk", "spk2utt", "wav.scp", "feats.scp", "utt2dur", "utt2num_frames"):
        (data_dir / name).write_text((data_dir / name).read_text().replace("s1-u1", "s1$u1"))
    message = error("fix_data_dir.sh", "data")
    assert message.endswith("validate_data_dir.sh: error: data/utt2spk:1: id 's1$u1' holds '$'; rename it\n")


def test_fix_of_a_folder_without_lists(tmp_path: Path, error: Say) -> None:
    (tmp_path / "data").mkdir()
    message = error("fix_data_dir.sh", "data")
    assert message == "fix_data_dir.sh: error: data has neither utt2spk nor spk2utt; prepare it first (stage 1)\n"


def test_full_disk_leaves_nothing(data_dir: Path) -> None:
    limited = 'ulimit -f 0; exec "$0" data new'  # no file may grow: every write fails
    done = subprocess.run(
        ["bash", "-c", limited, TOOLS / "copy_data_dir.sh"], cwd=data_dir.parent, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert not (data_dir.parent / "new").exists()
