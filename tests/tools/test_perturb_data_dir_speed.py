"""tools/perturb_data_dir_speed.sh: Kaldi's lines for wav.scp, times divided, features kept on a second run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sv.audio.durations import min_samples

MakeDataDir = Callable[..., Path]
Read = Callable[[Path], dict[str, str]]
Snapshot = Callable[[Path], dict[str, bytes]]
Say = Callable[..., str]
Check = Callable[..., None]
Add = Callable[[Path], None]


def test_perturb_speed(data_dir: Path, ok: Say, valid: Check, read: Read, snapshot: Snapshot) -> None:
    (data_dir / "wav.scp").write_text(
        "s1-u1 /audio/a.wav\ns1-u2 /audio/a.FLAC\ns1-u3 /my audio/it's.wav\ns2-u1 sph2pipe -f wav x.sph |\n"
        "s2-u2 wav.ark:123\ns2-u3 /audio/noending\ns3-u1 a.wav\ns3-u2 a.wav\ns3-u3 a.wav\n"
    )
    ok("perturb_data_dir_speed.sh", "0.9", "data", "slow")
    slow = data_dir.parent / "slow"
    valid(slow, "--no-feats")
    assert sorted(snapshot(slow)) == ["spk2gender", "spk2utt", "utt2dur", "utt2spk", "utt2uniq", "wav.scp"]
    assert read(slow / "utt2spk")["sp0.9-s1-u1"] == "sp0.9-s1"
    assert read(slow / "utt2uniq")["sp0.9-s1-u1"] == "s1-u1"
    assert read(slow / "utt2dur")["sp0.9-s1-u1"] == "10.555556"
    audio = read(slow / "wav.scp")
    assert audio["sp0.9-s1-u1"] == "sox -t wav /audio/a.wav -t wav - speed 0.9 |"
    assert audio["sp0.9-s1-u2"] == "sox -t flac /audio/a.FLAC -t wav - speed 0.9 |"
    assert audio["sp0.9-s1-u3"] == "sox -t wav '/my audio/it'\\''s.wav' -t wav - speed 0.9 |"
    assert audio["sp0.9-s2-u1"] == "sph2pipe -f wav x.sph | sox -t wav - -t wav - speed 0.9 |"
    assert audio["sp0.9-s2-u2"] == "wav-copy wav.ark:123 - | sox -t wav - -t wav - speed 0.9 |"
    assert audio["sp0.9-s2-u3"] == "sox -t wav /audio/noending -t wav - speed 0.9 |"


def test_perturbed_audio_is_read_by_our_own_reader(data_dir: Path, ok: Say, read: Read) -> None:
    from sv.audio.files import parse_source

    (data_dir / "wav.scp").write_text((data_dir / "wav.scp").read_text().replace("/audio/", "/my audio/it's "))
    ok("perturb_data_dir_speed.sh", "1.1", "data", "fast")
    source = parse_source(read(data_dir.parent / "fast/wav.scp")["sp1.1-s3-u3"])
    assert (source.path, source.speed) == ("/my audio/it's s3-u3.wav", 1.1)


def test_perturb_segments(data_dir: Path, ok: Say, valid: Check, read: Read, add_segments: Add) -> None:
    add_segments(data_dir)
    ok("perturb_data_dir_speed.sh", "2", "data", "fast")
    fast = data_dir.parent / "fast"
    valid(fast, "--no-feats")
    assert read(fast / "segments")["sp2-s1-u2"] == "sp2-r1 0.500000 0.950000"
    assert read(fast / "reco2dur") == {"sp2-r1": "4.500000", "sp2-r2": "4.500000"}
    assert read(fast / "wav.scp")["sp2-r1"] == "sox -t wav /audio/r1.wav -t wav - speed 2 |"


def test_durations_of_copies_tell_all_samples(data_dir: Path, ok: Say, read: Read) -> None:
    utts = read(data_dir / "utt2dur")
    (data_dir / "utt2dur").write_text("".join(f"{utt} 0.405000\n" for utt in utts))
    ok("perturb_data_dir_speed.sh", "0.9", "data", "slow")
    duration = read(data_dir.parent / "slow/utt2dur")["sp0.9-s1-u1"]
    assert duration == "0.450000" and min_samples(duration, 16000) == 7200


@pytest.mark.slow
def test_perturb_again_keeps_features_made_since(data_dir: Path, ok: Say, read: Read, snapshot: Snapshot) -> None:
    folder = data_dir.parent
    ok("perturb_data_dir_speed.sh", "0.9", "data", "slow")
    utts = read(folder / "slow/utt2spk")
    (folder / "slow/feats.scp").write_text("".join(f"{utt} fbank.ark:3\n" for utt in utts))
    (folder / "slow/utt2dur").write_text("".join(f"{utt} 1.25\n" for utt in utts))
    before = snapshot(folder / "slow")
    ok("perturb_data_dir_speed.sh", "0.9", "data", "slow")
    assert snapshot(folder / "slow") == before
    (data_dir / "wav.scp").write_text((data_dir / "wav.scp").read_text().replace("s2-u2.wav", "other.wav"))
    ok("perturb_data_dir_speed.sh", "0.9", "data", "slow")
    assert not (folder / "slow/feats.scp").exists()
    assert read(folder / "slow/utt2dur")["sp0.9-s1-u1"] == "10.555556"


@pytest.mark.parametrize("factor", ["0", "0.0", "-1", "x", "11", "1e-1", "0.9;"])
def test_perturb_refuses_a_wrong_factor(data_dir: Path, factor: str, error: Say) -> None:
    message = error("perturb_data_dir_speed.sh", "--", factor, "data", "new", status=2)
    assert message == (
        f"perturb_data_dir_speed.sh: error: the factor is a number from 0.1 to 10, such as 0.9, not '{factor}'"
    )


def test_perturb_needs_audio(make_data_dir: MakeDataDir, error: Say) -> None:
    make_data_dir(wav_scp=None)
    message = error("perturb_data_dir_speed.sh", 0.9, "data", "new")
    assert message == "perturb_data_dir_speed.sh: error: data/wav.scp does not exist; prepare the data (stage 1)\n"
