"""steps/make_shards.sh: any nj, what is kept and what is made again, bad audio, and reading the shards back."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import soundfile

from sv.audio.files import read_wav
from sv.data.tar_source import ShardSource
from sv.io import read_table, sha256_of, write_table

Run = Callable[..., CompletedProcess[str]]

RATE = 16000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five utterances: WAV, FLAC, an OGG and a speed copy."""
    data, rng = tmp_path / "data", np.random.default_rng(0)
    data.mkdir()
    wavs = {}
    for number, ending in enumerate(["wav", "flac", "wav", "ogg"]):
        wavs[f"s{number % 2}/x/{number}.wav"] = str(data / f"audio {number}.{ending}")
        soundfile.write(data / f"audio {number}.{ending}", rng.normal(0, 0.1, 4000 + 500 * number), RATE)
    wavs["s2/sp1.1"] = f"sox -t wav '{wavs['s0/x/0.wav']}' -t wav - speed 1.1 |"
    spks = {utt: utt.split("/")[0] for utt in wavs}
    write_table(data / "wav.scp", wavs)
    write_table(data / "utt2spk", spks)
    write_table(
        data / "spk2utt", {s: " ".join(sorted(u for u in wavs if spks[u] == s)) for s in sorted(set(spks.values()))}
    )
    return data


def checksums(data: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted((data / "shards").glob("shards_*"))}


@pytest.mark.slow
def test_shards_hold_the_audio_for_any_nj_and_are_made_once(run: Run, data: Path) -> None:
    result = run("steps/make_shards.sh", "--nj", 2, "--utts-per-shard", 2, data)
    assert result.returncode == 0, result.stderr
    source = ShardSource(data / "shard.list")
    wavs = read_table(data / "wav.scp")
    assert list(source.utts) == sorted(wavs)
    for number, utt in enumerate(source.utts):
        whole = read_wav(wavs[utt], RATE)
        part = source.read(number, 700, 900)
        assert source.num_samples[number] == len(whole)
        tolerance = 0.6 / 32768 if ".ogg" in wavs[utt] or "speed" in wavs[utt] else 0
        np.testing.assert_allclose(part, whole[700:1600], atol=tolerance)
    first = checksums(data)
    assert len(first) == 6
    assert "is there already" in run("steps/make_shards.sh", "--nj", 1, "--utts-per-shard", 2, data).stderr
    for path in (data / "shards").glob(".done*"):
        path.unlink()
    assert run("steps/make_shards.sh", "--nj", 1, "--utts-per-shard", 2, data).returncode == 0
    assert checksums(data) == first


@pytest.mark.slow
def test_only_shards_that_a_change_concerns_are_made_again(run: Run, data: Path) -> None:
    command = ("steps/make_shards.sh", "--nj", 1, "--utts-per-shard", 1, data)
    assert run(*command).returncode == 0
    before = {path.name: path.stat().st_mtime_ns for path in (data / "shards").glob("*.tar")}
    lost = next(iter((data / "shards").glob("*.tar")))
    lost.unlink()
    (data / "shards" / ".shards_000000000.tar.1.tmp").touch()
    wavs = read_table(data / "wav.scp")
    write_table(data / "wav.scp", wavs | {"s0/x/0.wav": wavs["s1/x/1.wav"]})
    assert run(*command).returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in (data / "shards").glob("*.tar")}
    changed = {name for name in after if after[name] != before[name]}
    assert lost.name in changed and 1 <= len(changed) <= 2 and after.keys() == before.keys()
    assert not list((data / "shards").glob(".*.tmp"))
    assert run(*command[:-3], "--utts-per-shard", 5, data).returncode == 0
    assert len(list((data / "shards").glob("shards_*.tar"))) == 1


@pytest.mark.slow
def test_bad_audio_is_named_and_another_data_dirs_folder_left_alone(run: Run, data: Path, tmp_path: Path) -> None:
    (data / "audio 2.wav").write_bytes(b"RIFF")
    (data / "audio 1.flac").write_bytes(b"")
    result = run("steps/make_shards.sh", "--nj", 1, data)
    assert result.returncode == 1 and not (data / "shard.list").exists()
    assert "2 utterances can not be read" in result.stderr and "Traceback" not in result.stderr
    assert not list((data / "shards").glob("*.tar"))
    (data / "shard.list").touch()
    other = tmp_path / "other"
    other.mkdir()
    for name in ("wav.scp", "utt2spk", "spk2utt"):
        (other / name).write_text((data / name).read_text())
    result = run("steps/make_shards.py", "begin", other, data / "shards")
    assert f"holds the shards of {data}; give {other} a folder of its own" in result.stderr


@pytest.mark.slow
def test_check_finds_a_flipped_byte(run: Run, data: Path) -> None:
    assert run("steps/make_shards.sh", "--nj", 1, "--format", "wav", data).returncode == 0
    result = run("steps/make_shards.py", "check", data)
    assert result.returncode == 0 and "1 shards are as they were written" in result.stderr
    (shard,) = (data / "shards").glob("*.tar")
    with open(shard, "r+b") as f:
        f.seek(5000)
        f.write(b"\1\2\3\4")
    (shard.parent / f"{shard.name}.idx").touch()
    result = run("steps/make_shards.py", "check", data)
    assert result.returncode == 1 and "1 utterances are damaged" in result.stderr


def test_usage(run: Run) -> None:
    result = run("steps/make_shards.sh")
    assert result.returncode == 2 and "Usage: steps/make_shards.sh" in result.stderr
    assert run("steps/make_shards.sh", "--njj", 3, "data").returncode == 2
