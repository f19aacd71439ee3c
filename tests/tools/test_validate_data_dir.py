"""tools/validate_data_dir.sh: one line for every kind of fault, with file, line and remedy."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
FIX = "run tools/fix_data_dir.sh data"


def validate(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = TOOLS / "validate_data_dir.sh"
    return subprocess.run([command, *options, folder.name], cwd=folder.parent, capture_output=True, text=True)


def fault(folder: Path, *options: str) -> str:
    """The message, without what all have in common."""
    done = validate(folder, *options)
    assert (done.returncode, done.stdout) == (1, "")
    start = "validate_data_dir.sh: error: data/"
    assert done.stderr.startswith(start) and done.stderr.count("\n") == 1
    return done.stderr.removeprefix(start).rstrip("\n")


def test_in_a_stage_the_fault_stands_in_its_log_as_well(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SV_STAGE_LOG", str(tmp_path / "stage.log"))
    (data_dir / "utt2spk").unlink()
    assert f" validate_data_dir.sh: error: data/{fault(data_dir)}\n" in (tmp_path / "stage.log").read_text()


def change(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def test_valid(data_dir: Path) -> None:
    done = validate(data_dir)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(" validate_data_dir.sh: data is valid\n")
    assert validate(data_dir, "--quiet").stderr == ""


def test_every_kind_of_file(data_dir: Path) -> None:
    utts = [line.split()[0] for line in (data_dir / "utt2spk").read_text().splitlines()]
    for name, value in {"text": "hello  wörld", "vad.scp": "fbank.ark:7", "utt2uniq": "x", "utt2lang": "en"}.items():
        (data_dir / name).write_text("".join(f"{utt} {value}\n" for utt in utts))
    (data_dir.parent / "fbank.ark").write_bytes(bytes(100))
    (data_dir / "segments").write_text("".join(f"{utt} rec-{utt[1]} 0.5 1e1\n" for utt in utts))
    (data_dir / "wav.scp").write_text("rec-1 sph2pipe x.sph |\nrec-2\t/a b/2.wav\nrec-3 ark:12\n")
    (data_dir / "reco2dur").write_text("rec-1 20\nrec-2 20.5\nrec-3 .5\n")
    (data_dir / "spk2age").write_text("s1 30\ns3 7\n")
    (data_dir / "utt2snr").write_text("s1-u2 3\n")
    assert validate(data_dir).returncode == 0


def test_what_may_be_missing(make_data_dir: Callable[..., Path]) -> None:
    data = make_data_dir(wav_scp=None, feats_scp=None, utt2dur=None, spk2gender=None, utt2num_frames=None)
    assert fault(data) == "wav.scp: does not exist; prepare the data (stage 1), or say --no-wav"
    assert fault(data, "--no-wav") == (
        "feats.scp: does not exist; make it with steps/make_fbank.sh (stage 2), or say --no-feats"
    )
    assert validate(data, "--no-wav", "--no-feats", "--no-text").returncode == 0


@pytest.mark.parametrize("name", ["utt2spk", "spk2utt"])
def test_what_must_be_there(make_data_dir: Callable[..., Path], name: str) -> None:
    assert fault(make_data_dir(**{name: None})).startswith(f"{name}: does not exist; ")


@pytest.mark.parametrize("name", ["utt2spk", "spk2utt", "wav.scp", "feats.scp", "utt2dur", "spk2gender"])
def test_empty_file(data_dir: Path, name: str) -> None:
    (data_dir / name).write_text("")
    assert fault(data_dir) == f"{name}: is empty; make it again"


@pytest.mark.parametrize("name", ["utt2spk", "wav.scp", "feats.scp", "utt2num_frames", "spk2utt", "spk2gender"])
def test_unsorted_and_twice(data_dir: Path, name: str) -> None:
    lines = (data_dir / name).read_text().splitlines()
    first, second = (line.split()[0] for line in lines[:2])
    (data_dir / name).write_text("\n".join([lines[1], lines[0], *lines[2:], ""]))
    assert (
        fault(data_dir) == f"{name}:2: not sorted: {first} comes after {second}; sort it with LC_ALL=C sort, or {FIX}"
    )
    (data_dir / name).write_text("\n".join([lines[0], lines[1], lines[1], *lines[2:], ""]))
    assert fault(data_dir) == f"{name}:3: {second} comes twice; {FIX}"


def test_sorted_by_another_locale(data_dir: Path) -> None:
    (data_dir / "utt2spk").write_text("a-1 a\nB-1 B\n")
    assert fault(data_dir).startswith("utt2spk:2: not sorted: B-1 comes after a-1; sort it with LC_ALL=C sort")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("utt2spk", "s1-u2 s1", "s1-u2 s1 x", "utt2spk:2: s1-u2: expected 2 columns, found 3"),
        ("utt2spk", "s1-u2 s1", "s1-u2", f"utt2spk:2: s1-u2 has no value; {FIX}"),
        ("utt2spk", "s1-u2 s1", "", f"utt2spk:2: an empty line; {FIX}"),
        ("utt2spk", "s1-u2 s1", " s1-u2 s1", f"utt2spk:2: blanks before the id; {FIX}"),
        ("utt2spk", "s1-u2 s1", "s1-u2 s'1", "utt2spk:2: s1-u2: id 's'1' holds '''; rename it"),
        ("utt2spk", "s3-u3 s3\n", "s3-u3 s3", "utt2spk:9: the line does not end: cut short; make the file again"),
        ("wav.scp", "s1-u2 /audio/s1-u2.wav", "s1-u2 ", f"wav.scp:2: s1-u2 has no value; {FIX}"),
        ("wav.scp", "s1-u2 /audio/s1-u2.wav", "s1-u2 |", "wav.scp:2: s1-u2: a pipe without a command"),
        ("wav.scp", "/audio/s1-u2.wav\n", "/audio/s1-u2.wav\r\n", f"wav.scp:2: DOS line end (CRLF); {FIX}"),
        ("utt2spk", "s1-u1 s1", "\ufeffs1-u1 s1", f"utt2spk:1: a byte-order mark (BOM) before the first id; {FIX}"),
        ("wav.scp", "/audio/s1-u2", "/au\x02dio", "wav.scp:2: the control character U+0002; make the file again"),
        ("utt2num_frames", "s1-u3 102", "s1-u3 -4", "utt2num_frames:3: s1-u3: '-4' is not a number of frames"),
        ("utt2num_frames", "s1-u3 102", "s1-u3 1.5", "utt2num_frames:3: s1-u3: '1.5' is not a number of frames"),
        ("utt2dur", "s1-u3 7.5", "s1-u3 nan", "utt2dur:3: s1-u3: 'nan' is not a duration in seconds"),
        ("utt2dur", "s1-u3 7.5", "s1-u3 0", "utt2dur:3: s1-u3: '0' is not a duration in seconds"),
        ("spk2gender", "s2 f", "s2 x", "spk2gender:2: s2: 'x' is not m or f"),
        ("spk2gender", "s3 m", "s4 m", f"spk2gender:3: speaker s4 is not in spk2utt; {FIX}"),
        ("spk2utt", "s2 s2-u1 s2-u2 s2-u3", "s2", f"spk2utt:2: speaker s2 has no utterance; {FIX}"),
    ],
)
def test_bad_line(data_dir: Path, name: str, old: str, new: str, message: str) -> None:
    text = (data_dir / name).read_text()
    (data_dir / name).write_bytes(text.replace(old, new, 1).encode())
    assert fault(data_dir) == message


def test_not_utf8(data_dir: Path) -> None:
    (data_dir / "wav.scp").write_bytes(b"s1-u1 /audio/\xff.wav\n")
    assert fault(data_dir) == "wav.scp:1: not UTF-8 text; write it again as UTF-8"


@pytest.mark.parametrize("bad", list("'\"`;|<>&$\\*?(){}[]!") + ["\x01", "\x7f", "\u00a0", "\u200b"])
def test_odd_characters_in_ids(data_dir: Path, bad: str) -> None:
    change(data_dir, "utt2spk", "s1-u2", f"s1{bad}u2")
    message = fault(data_dir)
    assert message.startswith("utt2spk:2: ")
    assert (f"holds '{bad}'" if bad.isprintable() else f"U+{ord(bad):04X}") in message


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("s1/../u2", "holds '..'"),
        ("../s1", "holds '..'"),
        ("s1/..", "holds '..'"),
        ("s1/.", "holds '.'"),
        ("/s1/u2", "begins with '/'"),
    ],
)
def test_ids_that_leave_their_folder(data_dir: Path, name: str, what: str) -> None:
    (data_dir / "utt2spk").write_text(f"{name} s1\n")
    assert fault(data_dir) == f"utt2spk:1: id '{name}' {what}; rename it"


def test_ids_like_those_of_voxceleb_and_others(make_data_dir: Callable[..., Path]) -> None:
    utts = {"id10001/Zx-_y..w/00001.wav": "id10001", "sp0.9-id10001/a/1.wav": "sp0.9-id10001", "é/1": "é"}
    utt2spk = "".join(f"{utt} {spk}\n" for utt, spk in utts.items())
    spk2utt = "".join(f"{spk} {utt}\n" for utt, spk in utts.items())
    other = dict.fromkeys(["feats_scp", "utt2dur", "utt2num_frames", "spk2gender"])
    data = make_data_dir(utt2spk=utt2spk, spk2utt=spk2utt, wav_scp=utt2spk, **other)
    assert validate(data, "--no-feats").stderr.endswith(" validate_data_dir.sh: data is valid\n")


def test_very_long_id(data_dir: Path) -> None:
    (data_dir / "utt2spk").write_text("u" * 1001 + " s1\n")
    assert fault(data_dir) == "utt2spk:1: an id of 1001 characters; 1 to 1000 are allowed"


def test_speakers_out_of_order(make_data_dir: Callable[..., Path]) -> None:
    other = dict.fromkeys(["feats_scp", "utt2dur", "utt2num_frames", "spk2gender", "wav_scp"])
    data = make_data_dir(utt2spk="u1 b\nu2 a\nu3 b\n", spk2utt="a u2\nb u3 u1\n", **other)
    assert fault(data, "--no-feats", "--no-wav") == (
        "utt2spk:2: speaker a comes after b: sorted by utterance, but not by speaker; put the speaker before its "
        "utterances: tools/copy_data_dir.sh --speaker-prefix true data <new-dir>"
    )
    assert validate(data, "--no-feats", "--no-wav", "--no-spk-sort").returncode == 0


REMAKE = "make it again: utt2spk_to_spk2utt.pl data/utt2spk > data/spk2utt"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("s1 s1-u1 s1-u2 s1-u3", "s1 s1-u1 s1-u3", f"lacks s1-u2 of s1, which is in utt2spk; {REMAKE}"),
        ("s3-u3", "s3-u2", f"s3-u2 comes twice; {REMAKE}"),
        (" s3-u3", "", f"lacks s3-u3 of s3, which is in utt2spk; {REMAKE}"),
        ("s2-u1 s2-u2", "s2-u2 s2-u1 s2-u9", f"s2-u9 of s2 is not in utt2spk; {REMAKE}"),
        ("s1-u3\ns2", "\ns2 s1-u3", f"s1-u3 belongs to s2 here and to s1 in utt2spk; {REMAKE}"),
    ],
)
def test_spk2utt_that_disagrees(data_dir: Path, old: str, new: str, message: str) -> None:
    change(data_dir, "spk2utt", old, new)
    assert fault(data_dir) == f"spk2utt: {message}"


@pytest.mark.parametrize("name", ["wav.scp", "feats.scp", "utt2dur", "text"])
def test_sets_of_utterances_that_differ(data_dir: Path, name: str) -> None:
    (data_dir / "text").write_text((data_dir / "wav.scp").read_text())
    lines = (data_dir / name).read_text().splitlines(keepends=True)
    (data_dir / name).write_text("".join(lines[:2] + lines[4:]))
    remedy = f"make it whole, or {FIX} to leave out what is not in all files"
    assert fault(data_dir) == f"{name}: lacks 2 utterances of utt2spk, first s1-u3; {remedy}"
    value = lines[0].split(" ", 1)[1]
    (data_dir / name).write_text("".join([*lines, f"s4-u1 {value}", f"s4-u2 {value}"]))
    assert fault(data_dir) == f"{name}:10: utterance s4-u1 and 1 more are not in utt2spk; {FIX}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fbank.ark", "'fbank.ark' is not ark:offset; make the features again"),
        ("copy-feats x |", "'copy-feats x |' is not ark:offset; make the features again"),
        ("nowhere.ark:5", "nowhere.ark does not exist; make the features again"),
        ("fbank.ark:100", "fbank.ark has 100 bytes, none at 100: cut short; make the features again"),
    ],
)
def test_features_that_are_not_there(data_dir: Path, value: str, message: str) -> None:
    lines = (data_dir / "feats.scp").read_text().splitlines()
    (data_dir / "feats.scp").write_text("\n".join([*lines[:-1], f"s3-u3 {value}", ""]))
    assert fault(data_dir) == f"feats.scp:9: s3-u3: {message}"
    if "ark:" in value and "not ark" not in message:
        assert validate(data_dir, "--check-arks", "false").returncode == 0


def test_ark_that_was_cut_short(data_dir: Path) -> None:
    os.truncate(data_dir.parent / "fbank.ark", 50)
    assert fault(data_dir).startswith("feats.scp:6: s2-u3: ")


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ("r1 0 x", "segments:1: s1-u1: 'x' is not a time in seconds, from 0 on"),
        ("r1 -1 2", "segments:1: s1-u1: '-1' is not a time in seconds, from 0 on"),
        (
            "r1 2 -1",
            "segments:1: s1-u1: end -1: Kaldi's -1, the end of the recording, is not read here; "
            "write the recording's seconds",
        ),
        ("r1 2 2", "segments:1: s1-u1: end 2 is not after start 2"),
        ("r1 2", "segments:1: s1-u1: expected 4 columns, found 3: utt recording start end"),
        ("r2 1 2", "wav.scp:1: recording r1 is not in segments; " + FIX),
    ],
)
def test_segments(data_dir: Path, segment: str, message: str) -> None:
    utts = [line.split()[0] for line in (data_dir / "utt2spk").read_text().splitlines()]
    (data_dir / "wav.scp").write_text("r1 a.wav\nr2 b.wav\n")
    rows = [f"{utts[0]} {segment}", *(f"{utt} r2 1 2" for utt in utts[1:])]
    (data_dir / "segments").write_text("\n".join([*rows, ""]))
    assert fault(data_dir) == message


def test_segments_of_a_missing_recording(data_dir: Path) -> None:
    utts = [line.split()[0] for line in (data_dir / "utt2spk").read_text().splitlines()]
    (data_dir / "wav.scp").write_text("r1 a.wav\nr3 b.wav\n")
    (data_dir / "segments").write_text("".join(f"{utt} r{utt[1]} 1 2\n" for utt in utts))
    assert fault(data_dir) == f"segments: recording r2 is not in wav.scp; bring it back, or {FIX}"


def test_not_a_data_dir(tmp_path: Path) -> None:
    done = validate(tmp_path / "nowhere")
    assert done.returncode == 1
    assert done.stderr == "validate_data_dir.sh: error: nowhere is not a data dir; prepare it first (stage 1)\n"


def test_wrong_calls(tmp_path: Path, data_dir: Path) -> None:
    done = subprocess.run([TOOLS / "validate_data_dir.sh"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: tools/validate_data_dir.sh [options] <data-dir>\ne.g.: ")
    done = validate(data_dir, "--no-feat")
    assert done.returncode == 2
    assert "unknown option --no-feat; did you mean --no-feats?" in done.stderr


def test_real_data_folder_names(data_dir: Path) -> None:
    folder = data_dir.rename(data_dir.parent / "it's $HOME; x")
    assert validate(folder).stderr.endswith(" validate_data_dir.sh: it's $HOME; x is valid\n")
