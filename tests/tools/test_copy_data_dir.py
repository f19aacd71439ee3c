"""tools/copy_data_dir.sh: copies, ids renamed in every file."""

from collections.abc import Callable
from pathlib import Path

import pytest

Read = Callable[[Path], dict[str, str]]
Snapshot = Callable[[Path], dict[str, bytes]]
Say = Callable[..., str]
Check = Callable[..., None]
Add = Callable[[Path], None]
MakeDataDir = Callable[..., Path]


def test_copy(data_dir: Path, ok: Say, snapshot: Snapshot, add_trials: Add) -> None:
    add_trials(data_dir)
    ok("copy_data_dir.sh", "data", "new")
    assert snapshot(data_dir.parent / "new") == snapshot(data_dir)


@pytest.mark.slow
def test_copy_with_other_ids(data_dir: Path, ok: Say, valid: Check, read: Read, add_trials: Add) -> None:
    add_trials(data_dir)
    (data_dir / "wav.scp").write_text((data_dir / "wav.scp").read_text().replace("/audio/", "/my  audio/"))
    options = ["--utt-prefix=far-", "--spk-prefix", "far-", "--utt-suffix", ".x", "--spk-suffix=_y"]
    ok("copy_data_dir.sh", *options, "data", "new")
    new = data_dir.parent / "new"
    valid(new)
    assert read(new / "utt2spk")["far-s1-u1.x"] == "far-s1_y"
    assert read(new / "spk2utt")["far-s2_y"] == "far-s2-u1.x far-s2-u2.x far-s2-u3.x"
    assert read(new / "spk2gender")["far-s2_y"] == "f"
    assert read(new / "wav.scp")["far-s3-u3.x"] == "/my  audio/s3-u3.wav"
    assert read(new / "utt2uniq")["far-s3-u3.x"] == "s3-u3"
    assert read(new / "feats.scp")["far-s1-u1.x"] == read(data_dir / "feats.scp")["s1-u1"]
    assert (new / "trials/far.kaldi").read_text() == "far-s1-u1.x far-s3-u3.x nontarget\n"


def test_trials_of_voxceleb_are_copied_with_other_ids(data_dir: Path, ok: Say, add_trials: Add) -> None:
    add_trials(data_dir)
    (data_dir / "trials/far.kaldi").write_bytes("\ufeff0 s1-u1 s3-u3\r\n1 s1-u1 s1-u2\r\n\r\n".encode())
    ok("copy_data_dir.sh", "--utt-prefix=far-", "--spk-prefix", "far-", "data", "new")
    copied = data_dir.parent / "new/trials/far.kaldi"
    assert copied.read_text() == "0 far-s1-u1 far-s3-u3\n1 far-s1-u1 far-s1-u2\n"


@pytest.mark.slow
def test_copy_sorts_again_and_keeps_recordings(
    data_dir: Path, ok: Say, valid: Check, read: Read, snapshot: Snapshot, add_segments: Add
) -> None:
    add_segments(data_dir)
    ok("copy_data_dir.sh", "--utt-prefix", "p-", "--spk-prefix", "p-", "data", "new")
    new = data_dir.parent / "new"
    valid(new)
    assert read(new / "segments")["p-s1-u2"] == "r1 1 1.9"
    assert list(read(new / "wav.scp")) == ["r1", "r2"]
    utts = {"s-1": "s", "s-1-a": "s"}
    for name in set(snapshot(data_dir)) - {"fbank.yaml"}:
        (data_dir / name).unlink()
    (data_dir / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, spk in utts.items()))
    (data_dir / "spk2utt").write_text("s s-1 s-1-a\n")
    ok("copy_data_dir.sh", "--utt-suffix", "_x", "data", "new")
    assert list(read(new / "utt2spk")) == ["s-1-a_x", "s-1_x"]


def test_copy_refuses_ids_that_are_not_valid(data_dir: Path, error: Say) -> None:
    message = error("copy_data_dir.sh", "--utt-prefix", "a b", "data", "new", status=2)
    assert message == "copy_data_dir.sh: error: a prefix or suffix contains a blank; ids cannot, give another"
    message = error("copy_data_dir.sh", "--utt-prefix", "a;b", "data", "new")
    assert message == "validate_data_dir.sh: error: new/utt2spk:1: id 'a;bs1-u1' holds ';'; rename it\n"
    assert not (data_dir.parent / "new").exists()


def test_copy_passes_options_to_the_validator(data_dir: Path, ok: Say, error: Say, snapshot: Snapshot) -> None:
    for name in set(snapshot(data_dir)) - {"utt2spk", "spk2utt"}:
        (data_dir / name).unlink()
    (data_dir / "utt2spk").write_text("u1 b\nu2 a\n")
    (data_dir / "spk2utt").write_text("a u2\nb u1\n")
    message = error("copy_data_dir.sh", "data", "new")
    assert message.startswith("validate_data_dir.sh: error: new/utt2spk:2: speaker a comes after b")
    ok("copy_data_dir.sh", "--validate-opts", "--no-spk-sort --no-text", "data", "new")


def unsorted(make_data_dir: MakeDataDir, speakers: tuple[str, str], **files: str) -> Path:
    """Make a data dir whose speakers do not sort as their utterances, 1 of the second and 2 of the first."""
    a, b = sorted(speakers)
    rows = {"1": b, "2": a}
    utt2spk = "".join(f"{utt} {spk}\n" for utt, spk in rows.items())
    wav = "1 /audio/1.wav\n2 /audio/2.wav\n"
    none = dict.fromkeys(["feats_scp", "utt2num_frames", "fbank_yaml"])
    gender = f"{a} m\n{b} f\n"
    tables = {"utt2spk": utt2spk, "spk2utt": f"{a} 2\n{b} 1\n", "wav_scp": wav, "spk2gender": gender}
    return make_data_dir(**none, **tables, utt2dur="1 3\n2 4\n", **files)


@pytest.mark.slow
@pytest.mark.parametrize(("speakers", "between"), [(("ann", "bob"), "-"), (("ann", "ann-b"), "-"), (("a", "a+b"), "#")])
def test_speakers_before_their_utterances(
    make_data_dir: MakeDataDir, ok: Say, error: Say, valid: Check, read: Read, speakers: tuple[str, str], between: str
) -> None:
    data = unsorted(make_data_dir, speakers)
    (data / "trials").mkdir()
    (data / "trials/O.kaldi").write_text("1 2 nontarget\n")
    a, b = speakers
    told = error("validate_data_dir.sh", "--no-feats", "data")
    assert told.startswith(f"validate_data_dir.sh: error: data/utt2spk:2: speaker {a} comes after {b}: sorted by")
    assert told.endswith("its utterances: tools/copy_data_dir.sh --speaker-prefix true data <new-dir>\n")
    ok("copy_data_dir.sh", "--speaker-prefix", "true", "data", "new")
    new = data.parent / "new"
    ok("validate_data_dir.sh", "--no-feats", "--quiet", "new")
    first, second = f"{a}{between}2", f"{b}{between}1"
    assert read(new / "utt2spk") == {first: a, second: b}
    assert read(new / "wav.scp") == {first: "/audio/2.wav", second: "/audio/1.wav"}
    assert read(new / "utt2dur") == {first: "4", second: "3"} and read(new / "spk2gender") == {a: "m", b: "f"}
    assert (new / "trials/O.kaldi").read_text() == f"{second} {first} nontarget\n"
    assert not (new / "utt2uniq").exists()  # they are no copies of others


def test_speakers_before_segments_leave_recordings(make_data_dir: MakeDataDir, ok: Say, read: Read) -> None:
    data = unsorted(make_data_dir, ("ann", "bob"), segments="1 r 0 1\n2 r 1 2\n")
    (data / "wav.scp").write_text("r /audio/r.wav\n")
    ok("copy_data_dir.sh", "--speaker-prefix", "true", "data", "new")
    assert read(data.parent / "new" / "segments") == {"ann-2": "r 1 2", "bob-1": "r 0 1"}
    assert read(data.parent / "new" / "wav.scp") == {"r": "/audio/r.wav"}


def test_two_prefixes_are_refused(data_dir: Path, error: Say) -> None:
    message = error("copy_data_dir.sh", "--speaker-prefix", "true", "--utt-prefix", "x-", "data", "new", status=2)
    assert "--speaker-prefix and --utt-prefix both put something before an utterance" in message
