"""tools/split_data.sh: parts by speaker and by utterance, made again only when needed."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

MakeDataDir = Callable[..., Path]
Read = Callable[[Path], dict[str, str]]
Snapshot = Callable[[Path], dict[str, bytes]]
Say = Callable[..., str]
Check = Callable[..., None]
Add = Callable[[Path], None]


@pytest.mark.slow
def test_split_by_speaker(data_dir: Path, ok: Say, valid: Check, read: Read) -> None:
    ok("split_data.sh", "data", 3)
    parts = [data_dir / "split3" / str(part) for part in (1, 2, 3)]
    for part, spk in zip(parts, ("s1", "s2", "s3"), strict=True):
        valid(part)
        assert set(read(part / "utt2spk").values()) == {spk}
        assert (part / "spk2gender").read_text().startswith(spk)
        assert (part / "fbank.yaml").exists()
    for name in ("utt2spk", "spk2utt", "wav.scp", "feats.scp", "utt2num_frames", "utt2dur", "spk2gender"):
        assert "".join((part / name).read_text() for part in parts) == (data_dir / name).read_text()


@pytest.mark.slow
def test_split_by_utterance(data_dir: Path, ok: Say, valid: Check, read: Read) -> None:
    ok("split_data.sh", "--per-utt", "data", 4)
    parts = [data_dir / "split4utt" / str(part) for part in (1, 2, 3, 4)]
    assert sorted(len(read(part / "utt2spk")) for part in parts) == [2, 2, 2, 3]
    for part in parts:
        valid(part)
    for name in ("utt2spk", "wav.scp", "feats.scp", "utt2num_frames", "utt2dur"):
        assert "".join((part / name).read_text() for part in parts) == (data_dir / name).read_text()


@pytest.mark.parametrize("option", ["--per-utt=false", "--per-utt=true"])
def test_split_with_segments(data_dir: Path, option: str, ok: Say, valid: Check, add_segments: Add) -> None:
    add_segments(data_dir)
    ok("split_data.sh", option, "data", 2)
    for part in (1, 2):
        valid(next(data_dir.glob("split2*")) / str(part))


@pytest.mark.slow
def test_split_of_unequal_speakers(make_data_dir: MakeDataDir, ok: Say, read: Read) -> None:
    counts = {"a": 50, "b": 1, "c": 1, "d": 1, "e": 40, "f": 7}
    utts = {spk: [f"{spk}-{i:02d}" for i in range(count)] for spk, count in counts.items()}
    data = make_data_dir(
        utt2spk="".join(f"{utt} {spk}\n" for spk, names in utts.items() for utt in names),
        spk2utt="".join(f"{spk} {' '.join(names)}\n" for spk, names in utts.items()),
        **dict.fromkeys(["wav_scp", "feats_scp", "utt2dur", "utt2num_frames", "spk2gender"]),
    )
    for num_parts, expected in {2: ["a", "bcdef"], 3: ["a", "bcd", "ef"], 6: list("abcdef")}.items():
        ok("split_data.sh", "data", num_parts)
        parts = [data / f"split{num_parts}" / str(part + 1) for part in range(num_parts)]
        assert ["".join(read(part / "spk2utt")) for part in parts] == expected


def test_split_of_speakers_that_are_mixed(make_data_dir: MakeDataDir, ok: Say, valid: Check, read: Read) -> None:
    rng = random.Random(2)
    utts = {f"u{i:03d}": rng.choice("abcde") for i in range(100)}
    data = make_data_dir(
        utt2spk="".join(f"{utt} {spk}\n" for utt, spk in utts.items()),
        spk2utt="".join(f"{s} {' '.join(u for u, spk in utts.items() if spk == s)}\n" for s in "abcde"),
        wav_scp="".join(f"{utt} x\n" for utt in utts),
        **dict.fromkeys(["feats_scp", "utt2dur", "utt2num_frames", "spk2gender"]),
    )
    ok("split_data.sh", "data", 2)
    parts = [data / "split2/1", data / "split2/2"]
    speakers = [set(read(part / "utt2spk").values()) for part in parts]
    assert speakers[0].isdisjoint(speakers[1])
    for part in parts:
        valid(part, "--no-feats", "--no-spk-sort")


@pytest.mark.slow
def test_split_is_made_again_only_if_something_changed(data_dir: Path, ok: Say, valid: Check) -> None:
    ok("split_data.sh", "data", 3)
    mark = (data_dir / "split3/1/utt2spk").stat()
    ok("split_data.sh", "data", 3)
    assert (data_dir / "split3/1/utt2spk").stat() == mark
    (data_dir / "utt2dur").unlink()
    ok("split_data.sh", "data", 3)
    assert not (data_dir / "split3/1/utt2dur").exists()
    os.utime(data_dir / "wav.scp", (1, 1))
    mark = (data_dir / "split3/1/utt2spk").stat()
    ok("split_data.sh", "data", 3)
    assert (data_dir / "split3/1/utt2spk").stat() != mark
    (data_dir / "split3/.done").unlink()
    (data_dir / "split3/2/utt2spk").unlink()
    ok("split_data.sh", "data", 3)
    valid(data_dir / "split3/2")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["data", "4"], 1, "data has 3 speakers, too few for 4 parts; ask for fewer, or say --per-utt"),
        (["--per-utt", "data", "10"], 1, "data has 9 utterances, too few for 10 parts; ask for fewer"),
        (["data", "0"], 2, "<num-parts> is a whole number from 1, not '0'"),
        (["data", "many"], 2, "<num-parts> is a whole number from 1, not 'many'"),
    ],
)
def test_split_refuses(
    data_dir: Path, words: list[str], status: int, message: str, error: Say, snapshot: Snapshot
) -> None:
    before = snapshot(data_dir)
    found = error("split_data.sh", *words, status=status)
    assert found.rstrip("\n") == f"split_data.sh: error: {message}"
    assert snapshot(data_dir) == before
