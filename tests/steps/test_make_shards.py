"""steps/make_shards.sh: any nj, made once, and reading the shards back."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from sv.audio.files import read_wav
from sv.data.tar_source import TarSource
from sv.io import read_table, sha256_of
from tests.sv.audio.tar_tools import RATE, make_data

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


def checksums(data: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted((data / "shards").glob("shards_*"))}


@pytest.mark.slow
def test_shards_hold_the_audio_for_any_nj_and_are_made_once(run: Run, data: Path) -> None:
    result = run("steps/make_shards.sh", "--nj", 2, "--utts-per-shard", 2, data)
    assert result.returncode == 0, result.stderr
    source = TarSource(data / "shard.list")
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
    assert "3 shards are as they were written" in run("steps/make_shards.py", "check", data).stderr
    assert "is there already" in run("steps/make_shards.sh", "--nj", 1, "--utts-per-shard", 2, data).stderr
    for path in (data / "shards").glob(".done*"):
        path.unlink()
    assert run("steps/make_shards.sh", "--nj", 1, "--utts-per-shard", 2, data).returncode == 0
    assert checksums(data) == first


@pytest.mark.slow
def test_sv_cmd_is_the_default_of_cmd(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SV_CMD", "no_such.pl")
    result = run("steps/make_shards.sh", data)
    assert result.returncode != 0 and "no_such.pl: command not found" in result.stderr


def test_a_missing_data_dir_is_not_made(run: Run, tmp_path: Path) -> None:
    result = run("steps/make_shards.sh", tmp_path / "no")
    message = f"make_shards.py: error: {tmp_path}/no is not a data directory; prepare it first (stage 1)\n"
    assert (result.returncode, result.stderr) == (1, message) and not (tmp_path / "no").exists()


def test_usage(run: Run) -> None:
    result = run("steps/make_shards.sh")
    assert result.returncode == 2 and "Usage: steps/make_shards.sh" in result.stderr
    assert run("steps/make_shards.sh", "--njj", 3, "data").returncode == 2
