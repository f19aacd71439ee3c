"""Tar shards: written and read back, WeSpeaker's, WebDataset's keys, and what is damaged."""

import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.audio.tar_shards import Recording, check_shard, index_path, key_of, read_entries, scan_shard, write_shard
from sv.data.tar_source import TarSource, find_samples
from sv.errors import UserError

RATE = 16000


def encoded(waveform: np.ndarray, ending: str, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format=ending.upper(), subtype=subtype)
    return file.getvalue()


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Of 16 bits, so that any format holds it exactly."""
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype(np.float32) / 32768


WAVES = {
    "id2/x/00001.wav": ("id2", "flac", noise(9000, 1)),
    "id1/y.z/00002.wav": ("id1", "wav", noise(7000, 2)),
    "plain": ("id1", "flac", noise(70000, 3)),
    f"long/{'n' * 300}/a.b-1": ("id3", "wav", noise(500, 4)),
}


def make_shard(path: Path, names: list[str] | None = None) -> Path:
    write_shard(
        path,
        [
            Recording(utt, spk, ending, encoded(wave, ending), RATE, len(wave))
            for utt, (spk, ending, wave) in WAVES.items()
            if names is None or utt in names
        ],
    )
    return path


def make_list(*shards: Path) -> Path:
    path = shards[0].parent / "shard.list"
    path.write_text("".join(f"{shard}\n" for shard in shards))
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    """As WeSpeaker's make_shard_list.py and others write them."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return make_shard(tmp_path / "shards_000000000.tar")


def test_any_part_is_read_back_exactly(shard: Path) -> None:
    source = TarSource(make_list(shard))
    assert source.utts == sorted(WAVES, key=str.encode)
    assert [source.speakers[n] for n in source.speaker] == [WAVES[utt][0] for utt in source.utts]
    for number, utt in enumerate(source.utts):
        wave = WAVES[utt][2]
        assert source.num_samples[number] == len(wave)
        for start, count in ((0, len(wave)), (101, 300), (len(wave) - 7, 7)):
            part = source.read(number, start, count)
            assert part.dtype == np.float32
            np.testing.assert_array_equal(part, wave[start : start + count])
    source.close()


def test_wav_that_is_not_of_16_bits_is_decoded(tmp_path: Path) -> None:
    wave = noise(4000)
    audio = encoded(wave, "wav", "FLOAT")
    write_shard(tmp_path / "a.tar", [Recording("u", "s", "wav", audio, RATE, 4000)])
    np.testing.assert_array_equal(TarSource(make_list(tmp_path / "a.tar")).read(0, 1000, 50), wave[1000:1050])


def test_utterances_of_several_shards_are_sorted_together(tmp_path: Path) -> None:
    names = list(WAVES)
    one, two = make_shard(tmp_path / "1.tar", names[:2]), make_shard(tmp_path / "2.tar", names[2:])
    source = TarSource(make_list(one, two))
    assert source.utts == sorted(WAVES, key=str.encode)
    for number, utt in enumerate(source.utts):
        np.testing.assert_array_equal(source.read(number, 5, 20), WAVES[utt][2][5:25])


def test_index_made_from_the_shard_is_the_one_that_was_written(shard: Path) -> None:
    written = read_entries(shard)
    assert [entry.utt for entry in written] == list(WAVES)
    scanned = list(scan_shard(shard))
    assert [(e.utt, e.spk, e.ending, e.num_samples, e.offset, e.size) for e in scanned] == [
        (e.utt, e.spk, e.ending, e.num_samples, e.offset, e.size) for e in written
    ]
    index_path(shard).unlink()
    assert read_entries(shard) == scanned and index_path(shard).is_file()


def test_wespeakers_shards_are_read(tmp_path: Path) -> None:
    """KEY.spk, then KEY.wav; the key is an id with `.wav`, and a `.vad` may stand between them."""
    wave = noise(3000)
    make_tar(
        tmp_path / "shards_000000000.tar",
        {
            "id10001/VIDEO/00001.wav.spk": b"id10001",
            "id10001/VIDEO/00001.wav.vad": b"[]",
            "id10001/VIDEO/00001.wav.wav": encoded(wave, "wav"),
            "id10002/VIDEO/00001.wav.spk": b"id10002",
            "id10002/VIDEO/00001.wav.flac": encoded(wave, "flac"),
        },
    )
    source = TarSource(make_list(tmp_path / "shards_000000000.tar"))
    assert source.utts == ["id10001/VIDEO/00001.wav", "id10002/VIDEO/00001.wav"]
    assert source.speakers == ["id10001", "id10002"]
    for utt in (0, 1):
        np.testing.assert_array_equal(source.read(utt, 100, 200), wave[100:300])


def test_webdataset_finds_the_same_keys(shard: Path) -> None:
    """Its rule: a key ends at the first dot behind the last slash."""
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


def test_samples_of_a_wav_file_are_found_behind_other_chunks() -> None:
    wav = encoded(noise(100), "wav")
    with_list = wav[:36] + b"LIST\x05\0\0\0INFOx\0" + wav[36:]
    assert find_samples(wav) == 44 and find_samples(with_list) == 58
    assert find_samples(encoded(np.zeros((10, 2)), "wav")) == -1
    assert find_samples(wav[:40]) == find_samples(b"") == find_samples(encoded(noise(9), "flac")) == -1


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


def test_a_corrupt_member_is_named_when_it_is_read(shard: Path) -> None:
    entry = read_entries(shard)[0]
    with open(shard, "r+b") as f:
        f.seek(entry.offset)
        f.write(bytes(entry.size))
    index_path(shard).touch()
    source = TarSource(make_list(shard))
    with pytest.raises(UserError, match=rf"id2/x/00001\.wav: {shard}: can not be read as audio"):
        source.read(source.utts.index("id2/x/00001.wav"), 0, 100)
    source.read(source.utts.index("plain"), 0, 100)


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
        TarSource(make_list(shard))


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
        ({"a.spk": b"s", "a.flac": b"x"}, "a.flac: can not be read as audio"),
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


def test_no_tar_no_list_no_shard_are_told(tmp_path: Path, shard: Path) -> None:
    (tmp_path / "text.tar").write_bytes(b"no tar" * 500)
    with pytest.raises(UserError, match=r"text\.tar: truncated or no tar file"):
        read_entries(tmp_path / "text.tar")
    with pytest.raises(UserError, match=r"shard\.list does not exist; make shards with steps/make_shards\.sh"):
        TarSource(tmp_path / "shard.list")
    with pytest.raises(UserError, match=r"shard\.list is empty"):
        (tmp_path / "shard.list").touch()
        TarSource(tmp_path / "shard.list")
    with pytest.raises(UserError, match=r"none\.tar does not exist; bring it back"):
        TarSource(make_list(tmp_path / "none.tar"))
    with pytest.raises(UserError, match="comes twice"):
        TarSource(make_list(shard, shard))
    with pytest.raises(UserError, match=r"is in .*000\.tar and .*copy\.tar; keep one"):
        TarSource(make_list(shard, make_shard(tmp_path / "copy.tar")))
    with pytest.raises(UserError, match="16000 Hz, 8000 Hz expected"):
        TarSource(make_list(shard), sample_rate=8000)
    index_path(shard).write_text("id1 x\n")
    with pytest.raises(UserError, match=r"\.idx:1: damaged; remove the index"):
        read_entries(shard)
