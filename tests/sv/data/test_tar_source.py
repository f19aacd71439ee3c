"""Waveforms from tar shards: any part of any utterance, and shards that are refused."""

from pathlib import Path

import numpy as np
import pytest

from sv.audio.tar_shards import Recording, index_path, read_entries, write_shard
from sv.data.tar_source import TarSource
from sv.errors import UserError
from tests.archives import make_tar
from tests.sv.audio.tar_tools import RATE, WAVES, encoded, make_list, make_shard, noise


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
            for _ in range(2):  # the first read looks at the container, the second does not
                part = source.read(number, start, count)
                assert part.dtype == np.float32
                np.testing.assert_array_equal(part, wave[start : start + count])


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


def test_wespeakers_shards_are_read(tmp_path: Path) -> None:
    """WeSpeaker writes KEY.spk, then KEY.wav, with `.vad` between them if there is one; KEY is an id with `.wav`."""
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


def test_a_corrupt_member_is_named_when_it_is_read(shard: Path) -> None:
    entry = read_entries(shard)[0]
    with open(shard, "r+b") as f:
        f.seek(entry.offset)
        f.write(bytes(entry.size))
    index_path(shard).touch()
    source = TarSource(make_list(shard))
    with pytest.raises(UserError, match=rf"id2/x/00001\.wav: {shard}: cannot be read as audio"):
        source.read(source.utts.index("id2/x/00001.wav"), 0, 100)
    source.read(source.utts.index("plain"), 0, 100)


def test_lists_that_cannot_be_used_are_refused(tmp_path: Path, shard: Path) -> None:
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
