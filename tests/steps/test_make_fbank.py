"""steps/make_fbank.sh: the features, a second run, bad input, and killed at any moment."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import kaldi_native_io
import kaldiio
import numpy as np
import pytest
import yaml

from sv.audio.files import read_wav
from sv.config import FbankConfig
from sv.io import read_matrix, read_scp, read_table
from tests.sv.data.noise_corpus import RATE, expected, make_data, snapshot
from tests.waiting import wait_until

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


@pytest.mark.slow
def test_features_tables_and_a_second_run(
    run: Run, data: Path, tmp_path: Path, for_kaldi: Callable[[Path], Path]
) -> None:
    result = run("steps/make_fbank.sh", "--nj", 2, "--dither", "true", data, tmp_path / "arks")
    assert result.returncode == 0, result.stderr
    wavs, feats = read_table(data / "wav.scp"), read_scp(data / "feats.scp")
    assert list(feats) == list(wavs)
    absolute = for_kaldi(data / "feats.scp")
    by_kaldiio = kaldiio.load_scp(str(absolute))
    for utt, spec in wavs.items():
        fbank, matrix = expected(utt, spec, dither=True), read_matrix(feats[utt])
        assert np.abs(matrix - fbank).max() < 1e-3  # of two bytes a value
        assert np.allclose(by_kaldiio[utt], matrix, atol=1e-5, rtol=0)
    with kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{absolute}") as reader:
        for utt in wavs:
            assert np.allclose(reader[utt], by_kaldiio[utt], atol=1e-5, rtol=0)
    frames = {utt: str(len(by_kaldiio[utt])) for utt in wavs}
    assert read_table(data / "utt2num_frames") == frames
    assert read_table(data / "utt2dur") == {utt: f"{len(read_wav(wavs[utt], RATE)) / RATE:.6f}" for utt in wavs}
    assert yaml.safe_load((data / "fbank.yaml").read_text()) == FbankConfig().model_dump()
    assert not list((tmp_path / "arks").glob("*.tmp"))

    before = (data / "feats.scp").stat().st_mtime_ns
    result = run("steps/make_fbank.sh", "--nj", 3, "--dither", "true", data, tmp_path / "arks")
    assert result.returncode == 0 and "is there already" in result.stderr
    assert (data / "feats.scp").stat().st_mtime_ns == before


@pytest.mark.slow
def test_truncated_audio_fails_the_recipe_in_one_line(run: Run, data: Path) -> None:
    path = data / "audio 3.wav"
    with open(path, "r+b") as f:
        f.truncate(int(0.95 * path.stat().st_size))
    result = run("steps/make_fbank.sh", "--nj", 1, data)
    assert result.returncode != 0
    assert "spk1/0003.wav" in result.stderr and "audio 3.wav: truncated" in result.stderr
    assert "make_fbank.1.log" in result.stderr and "Traceback" not in result.stderr
    assert not (data / "feats.scp").exists()


def test_usage(run: Run) -> None:
    result = run("steps/make_fbank.sh")
    assert result.returncode == 2 and "Usage: steps/make_fbank.sh" in result.stderr
    result = run("steps/make_fbank.sh", "--njj", 3, "data")
    assert result.returncode == 2 and "--nj" in result.stderr


def test_unknown_augmentation_is_refused_with_the_nearest(step: Run) -> None:
    result = step("steps/make_fbank.py", "begin", "data", "ark", "--augment", "nois")
    assert result.returncode == 2 and "--augment 'nois'; did you mean 'noise'?" in result.stderr


def end_session(leader: int) -> None:
    """SIGKILL for every process that the command started, whatever group it is in."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader:  # session id
                os.kill(int(entry.name), signal.SIGKILL)


@pytest.mark.slow
def test_killed_anywhere_and_run_again_it_ends_the_same(root: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", count=40, seconds=10)
    script = f'cd "{root}" && . ./path.sh && exec steps/make_fbank.sh --nj 2 --cmd "run.pl --max-jobs-run 1" "$0"'
    command = ["bash", "-c", script, str(data)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    whole = snapshot(data)
    for path in [data / "feats.scp", *data.glob(".done*"), *data.glob("fbank/[.f]*"), *data.glob("fbank/log/*")]:
        path.unlink()
    signs = [".fbank.1.ark.*.tmp", ".done.fbank.1", ".fbank.2.scp.*.tmp"]
    for sign in signs:  # each run goes a little further than the one before
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda sign=sign: list((data / "fbank").glob(sign)), process, pause=0.002)
        end_session(process.pid)
        process.wait()
        assert not (data / "feats.scp").exists()
        for log in (data / "fbank" / "log").iterdir():
            log.unlink()
    kept = (data / "fbank" / "fbank.1.ark").stat().st_mtime_ns
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert snapshot(data) == whole
    assert (data / "fbank" / "fbank.1.ark").stat().st_mtime_ns == kept  # the part that was whole


@pytest.mark.slow
def test_called_as_kaldis_script(run: Run, data: Path, tmp_path: Path) -> None:
    result = run("steps/make_fbank.sh", "--nj", 1, data, tmp_path / "log", tmp_path / "arks")
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["make_fbank.1.log"]
    assert {value.rpartition("/")[0] for value in read_table(data / "feats.scp").values()} == {"../arks"}
