"""tools/combine_data.sh: files that all have, segments for those without, conflicts refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

Read = Callable[[Path], dict[str, str]]
Snapshot = Callable[[Path], dict[str, bytes]]
Say = Callable[..., str]
Check = Callable[..., None]
Add = Callable[[Path], None]


@pytest.mark.slow
def test_combine(data_dir: Path, ok: Say, valid: Check, read: Read) -> None:
    folder = data_dir.parent
    ok("copy_data_dir.sh", "--utt-prefix=a-", "--spk-prefix=a-", "data", "other")
    ok("combine_data.sh", "new", "data", "other/")
    valid(folder / "new")
    for name in ("utt2spk", "spk2utt", "wav.scp", "feats.scp", "utt2dur", "utt2num_frames", "spk2gender"):
        expected = read(data_dir / name) | read(folder / "other" / name)
        assert read(folder / "new" / name) == expected
        assert list(expected) != sorted(expected)
        assert list(read(folder / "new" / name)) == sorted(expected)
    assert (folder / "new/fbank.yaml").exists()
    assert read(folder / "new/utt2uniq")["s1-u1"] == "s1-u1"
    assert read(folder / "new/utt2uniq")["a-s1-u1"] == "s1-u1"


@pytest.mark.slow
def test_combine_leaves_out_what_only_some_have(data_dir: Path, ok: Say, valid: Check, snapshot: Snapshot) -> None:
    folder = data_dir.parent
    ok("perturb_data_dir_speed.sh", "0.9", "data", "slow")
    message = ok("combine_data.sh", "--skip-fix", "true", "new", "data", "slow")
    assert "combine_data.sh: feats.scp left out: slow has none\n" in message
    assert "combine_data.sh: utt2num_frames left out: slow has none\n" in message
    assert {"feats.scp", "utt2num_frames", "fbank.yaml"}.isdisjoint(snapshot(folder / "new"))
    valid(folder / "new", "--no-feats")


@pytest.mark.slow
def test_combine_overlapping_parts(data_dir: Path, ok: Say, snapshot: Snapshot) -> None:
    folder = data_dir.parent
    ok("subset_data_dir.sh", "--first", "data", 5, "a")
    ok("subset_data_dir.sh", "--last", "data", 6, "b")
    ok("combine_data.sh", "new", "a", "b")
    assert snapshot(folder / "new") == snapshot(data_dir)


@pytest.mark.slow
def test_combine_refuses_different_lines_for_one_id(data_dir: Path, ok: Say, error: Say) -> None:
    folder = data_dir.parent
    ok("copy_data_dir.sh", "data", "other")
    (folder / "other/wav.scp").write_text((data_dir / "wav.scp").read_text().replace("s2-u2.wav", "x.wav"))
    message = error("combine_data.sh", "new", "data", "other")
    assert "combine_data.sh: data/wav.scp: s2-u2 /audio/s2-u2.wav\n" in message
    assert "combine_data.sh: other/wav.scp: s2-u2 /audio/x.wav\n" in message
    assert message.endswith(
        "combine_data.sh: error: s2-u2 differs between the data dirs; rename the ids of one with copy_data_dir.sh "
        "--utt-prefix --spk-prefix\n"
    )
    assert not (folder / "new").exists()


@pytest.mark.slow
def test_combine_refuses_features_of_different_front_ends(data_dir: Path, ok: Say, error: Say) -> None:
    folder = data_dir.parent
    ok("copy_data_dir.sh", "--utt-prefix=a-", "--spk-prefix=a-", "data", "other")
    (folder / "other/fbank.yaml").write_text("num_mel_bins: 40\n")
    message = (
        "combine_data.sh: error: data/fbank.yaml and other/fbank.yaml differ ({}): other front-ends; "
        "make the features of one again\n"
    )
    different = message.format("num_mel_bins: 80, num_mel_bins: 40")
    assert error("combine_data.sh", "new", "data", "other") == different
    (folder / "other/fbank.yaml").unlink()
    assert error("combine_data.sh", "new", "data", "other") == message.format("num_mel_bins: 80")
    assert not (folder / "new").exists()


@pytest.mark.slow
def test_combine_takes_features_that_differ_in_dither_alone(data_dir: Path, ok: Say) -> None:
    folder = data_dir.parent
    ok("copy_data_dir.sh", "--utt-prefix=a-", "--spk-prefix=a-", "data", "other")
    for name, dither in (("data", "1.0"), ("other", "0.0")):
        (folder / name / "fbank.yaml").write_text(f"num_mel_bins: 80\ndither: {dither}\n")
    ok("combine_data.sh", "new", "data", "other")
    assert (folder / "new/fbank.yaml").read_text() == "num_mel_bins: 80\ndither: 1.0\n"


@pytest.mark.slow
def test_combine_with_segments_in_some(
    data_dir: Path, ok: Say, error: Say, valid: Check, read: Read, add_segments: Add
) -> None:
    folder = data_dir.parent
    ok("copy_data_dir.sh", "--utt-prefix=a-", "--spk-prefix=a-", "data", "other")
    add_segments(data_dir)
    (data_dir / "reco2dur").unlink()
    ok("combine_data.sh", "new", "data", "other")
    valid(folder / "new")
    assert read(folder / "new/segments")["a-s1-u1"] == "a-s1-u1 0 9.5"
    assert read(folder / "new/segments")["s1-u2"] == "r1 1 1.9"
    (folder / "other/utt2dur").unlink()
    message = error("combine_data.sh", "new", "data", "other")
    assert message == (
        "combine_data.sh: error: other has no segments, but another has; run tools/get_utt2dur.sh other, so that "
        "they can be made\n"
    )


@pytest.mark.slow
def test_combine_extra_files(data_dir: Path, ok: Say) -> None:
    folder = data_dir.parent
    ok("copy_data_dir.sh", "--utt-prefix=a-", "--spk-prefix=a-", "data", "other")
    (data_dir / "snr").write_text("s1-u1 3\n")
    (folder / "other/snr").write_text("a-s1-u1 4\n")
    (data_dir / "room").write_text("s1-u1 3\n")
    message = ok("combine_data.sh", "--extra-files", "snr room", "new", "data", "other")
    assert (folder / "new/snr").read_text() == "a-s1-u1 4\ns1-u1 3\n"
    assert "room left out: other has none" in message
