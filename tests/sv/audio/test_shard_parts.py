"""Tar shards in parts: what is made again, bad audio, damage, and disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sv.audio.shard_parts import ShardParts, check_shards, encode_audio
from sv.audio.tar_shards import read_entries
from sv.errors import UserError
from sv.io import read_table, sha256_of, write_table
from tests.sv.audio.tar_tools import RATE, make_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


def parts_of(data: Path, **options: Any) -> ShardParts:
    return ShardParts(data_dir=data, shard_dir=data / "shards", **options)


def make(data: Path, **options: Any) -> dict[str, int]:
    """Do what the step does; return the time of each shard."""
    work = parts_of(data, **options)
    for job in range(1, work.begin() + 1):
        work.run(job)
    work.finish()
    return {path.name: path.stat().st_mtime_ns for path in (data / "shards").glob("*.tar")}


def test_any_number_of_jobs_gives_the_same_shards(data: Path) -> None:
    found = []
    for num_jobs in (1, 2, 9):
        for path in (data / "shards").glob(".done*"):
            path.unlink()
        make(data, utts_per_shard=2, num_jobs=num_jobs)
        found.append({path.name: sha256_of(path) for path in sorted((data / "shards").glob("shards_*"))})
    assert found[0] == found[1] == found[2] and len(found[0]) == 6
    assert (data / "shard.list").read_text().splitlines() == [
        f"./shards/shards_00000000{number}.tar" for number in range(3)
    ]


def test_only_shards_that_a_change_concerns_are_made_again(data: Path) -> None:
    before = make(data, utts_per_shard=1)
    lost = next(iter((data / "shards").glob("*.tar")))
    lost.unlink()
    (data / "shards" / ".shards_000000000.tar.1.tmp").touch()
    wavs = read_table(data / "wav.scp")
    write_table(data / "wav.scp", wavs | {"s0/x/0.wav": wavs["s1/x/1.wav"]})
    after = make(data, utts_per_shard=1)
    changed = {name for name in after if after[name] != before[name]}
    assert lost.name in changed and 1 <= len(changed) <= 2 and after.keys() == before.keys()
    assert not list((data / "shards").glob(".*.tmp"))
    assert len(make(data)) == 1


def test_bad_audio_is_named_and_another_data_dirs_folder_left_alone(data: Path, tmp_path: Path) -> None:
    (data / "audio 2.wav").write_bytes(b"RIFF")
    (data / "audio 1.flac").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 of 5 utterances failed, .*; repair it, or leave it out \(remove it from "):
        make(data)
    assert not list((data / "shards").glob("*.tar")) and not (data / "shard.list").exists()
    (data / "shard.list").touch()
    other = tmp_path / "other"
    other.mkdir()
    for name in ("wav.scp", "utt2spk", "spk2utt"):
        (other / name).write_text((data / name).read_text())
    with pytest.raises(UserError, match=f"holds the shards of {data}; give {other} a folder of its own"):
        ShardParts(data_dir=other, shard_dir=data / "shards").begin()


def test_a_flipped_byte_is_found_and_made_again(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(data, audio_format="wav")
    check_shards(data)
    (shard,) = (data / "shards").glob("*.tar")
    whole = shard.read_bytes()
    with open(shard, "r+b") as f:
        f.seek(5000)
        f.write(b"\1\2\3\4")
    (shard.parent / f"{shard.name}.idx").touch()
    with pytest.raises(UserError, match="1 utterances are damaged"):
        check_shards(data)
    work = parts_of(data, audio_format="wav")
    assert work.begin() == 0 and work.begin(verify=True) == 1
    work.run(1)
    work.finish()
    assert shard.read_bytes() == whole
    assert {entry.ending for entry in read_entries(shard)} == {"wav"}


def test_the_size_is_two_bytes_a_sample(data: Path) -> None:
    write_table(data / "utt2dur", dict.fromkeys(read_table(data / "wav.scp"), 10))
    assert parts_of(data).total_bytes() == pytest.approx(5 * 10 * 2 * RATE)


def test_wrong_calls_are_refused(data: Path) -> None:
    with pytest.raises(UserError, match="--utts-per-shard 0: expected a whole number of at least 1"):
        parts_of(data, utts_per_shard=0)
    (data / "utt2spk").write_text("s0/x/0.wav s0\n")
    with pytest.raises(UserError, match=r"wav\.scp: s0/x/2\.wav is not in utt2spk; run tools/fix_data_dir\.sh"):
        parts_of(data).begin()


@pytest.mark.parametrize("ending", ["flac", "wav"])
def test_audio_of_16_bits_is_encoded_exactly(tmp_path: Path, ending: str) -> None:
    samples = np.array([-32768, -1, 0, 1, 32767], np.float32) / np.float32(32768)
    path = tmp_path / f"x.{ending}"
    path.write_bytes(encode_audio(samples, RATE, ending))
    np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], samples)
