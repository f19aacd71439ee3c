"""Tar shards: written and indexed, WebDataset's keys, and what is damaged."""

import re
import tarfile
from pathlib import Path

import pytest

from sv.audio.tar_shards import check_shard, index_path, key_of, read_entries, scan_shard
from sv.errors import UserError
from tests.archives import make_tar
from tests.sv.audio.tar_tools import WAVES, encoded, make_shard, noise


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return make_shard(tmp_path / "shards_000000000.tar")


def test_index_made_from_the_shard_is_the_one_that_was_written(shard: Path) -> None:
    written = read_entries(shard)
    assert [entry.utt for entry in written] == list(WAVES)
    scanned = list(scan_shard(shard))
    assert [(e.utt, e.spk, e.ending, e.num_samples, e.offset, e.size) for e in scanned] == [
        (e.utt, e.spk, e.ending, e.num_samples, e.offset, e.size) for e in written
    ]
    index_path(shard).unlink()
    assert read_entries(shard) == scanned and index_path(shard).is_file()


def test_webdataset_finds_the_same_keys(shard: Path) -> None:
    """WebDataset's rule is that a key ends at the first dot after the last slash."""
    keys = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            match = re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", member.name)
            assert match is not None
            keys.setdefault(match[1], []).append(match[2])
    assert list(keys) == [key_of(utt) for utt in WAVES]
    assert list(keys.values()) == [["spk", "json", ending] for _, ending, _ in WAVES.values()]
    assert key_of("id1/y.z/00001.wav") == "id1/y.z/00001"
    assert key_of("a.b%-1") == "a%2Eb%25-1"


def test_a_flipped_byte_is_found_and_named(shard: Path) -> None:
    assert list(check_shard(shard)) == []
    entry = read_entries(shard)[1]
    index_path(shard).touch()
    with open(shard, "r+b") as f:
        f.seek(entry.offset + 500)
        f.write(b"\xff\xfe\xfd")
    index_path(shard).touch()
    (fault,) = check_shard(shard)
    assert f"{shard}: id1/y.z/00002.wav: its bytes are not those" in fault


def test_what_has_no_checksum_is_decoded(tmp_path: Path) -> None:
    flac, wav = encoded(noise(9000), "flac"), encoded(noise(9000), "wav")
    good = {"a.spk": b"s", "a.flac": flac, "b.spk": b"s", "b.wav": wav}
    assert list(check_shard(make_tar(tmp_path / "good.tar", good))) == []
    damaged = flac[:3000] + bytes(2000) + flac[5000:]
    (fault,) = check_shard(make_tar(tmp_path / "bad.tar", {**good, "a.flac": damaged}))
    assert "bad.tar: a" in fault
    with pytest.raises(UserError, match=r"cut.tar: b.wav"):
        list(check_shard(make_tar(tmp_path / "cut.tar", {**good, "b.wav": wav[: len(wav) // 2]})))


@pytest.mark.parametrize("keep_index", [True, False])
def test_a_truncated_shard_is_refused(shard: Path, keep_index: bool) -> None:
    size = read_entries(shard)[-1].offset
    with open(shard, "r+b") as f:
        f.truncate(size + 100)
    if keep_index:
        index_path(shard).touch()
    else:
        index_path(shard).unlink()
    with pytest.raises(UserError, match=r"shards_000000000\.tar: truncated"):
        read_entries(shard)


def test_a_shard_cut_between_two_members_is_refused(shard: Path) -> None:
    entry = read_entries(shard)[1]
    index_path(shard).unlink()
    with open(shard, "r+b") as f:
        f.truncate(entry.offset + -(-entry.size // 512) * 512)
    with pytest.raises(UserError, match="truncated"):
        read_entries(shard)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.flac": b"x"}, "a.flac has no speaker"),
        ({"a.spk": b"s", "a.flac": b"x"}, "a.flac: cannot be read as audio"),
        ({"a.spk": b"s t", "a.wav": encoded(noise(9), "wav")}, "a.spk: id 's t' holds ' '"),
        ({"a.spk": b"\xff", "a.wav": encoded(noise(9), "wav")}, "a.spk is not UTF-8"),
        ({"a.spk": b"s", "a.json": b"{", "a.wav": encoded(noise(9), "wav")}, "a.json is not JSON"),
        ({"README.txt": b"x"}, "holds no utterances"),
        ({}, "holds no utterances"),
    ],
)
def test_shards_of_something_else_are_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    shard = make_tar(tmp_path / "a.tar", members)
    with pytest.raises(UserError, match=f"a.tar.*{message}"):
        read_entries(shard)


def test_what_is_no_tar_and_a_damaged_index_are_refused(tmp_path: Path, shard: Path) -> None:
    (tmp_path / "text.tar").write_bytes(b"no tar" * 500)
    with pytest.raises(UserError, match=r"text\.tar: truncated or no tar file"):
        read_entries(tmp_path / "text.tar")
    index_path(shard).write_text("id1 x\n")
    with pytest.raises(UserError, match=r"\.idx:1: damaged; remove the index"):
        read_entries(shard)
