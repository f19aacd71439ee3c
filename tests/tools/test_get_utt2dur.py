"""tools/get_utt2dur.sh and tools/get_utt2num_frames.sh."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.io import read_table, write_table
from tests.tools.measured_dir import write_data

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path)


def test_duration_from_headers(step: Run, data: Path) -> None:
    assert step("tools/get_utt2dur.py", data).returncode == 0
    assert read_table(data / "utt2dur") == {"a": "0.500000", "b": "1.543125", "sp0.9-a": "0.555562"}
    (data / "wav.scp").unlink()
    result = step("tools/get_utt2dur.py", data)
    assert result.returncode == 0 and "is there already" in result.stderr


def test_duration_from_segments(step: Run, data: Path) -> None:
    (data / "segments").write_text("u1 a 0.1 0.35\nu2 b 1 1.5\nu3 a 0.1 0.8\n")  # a is of 0.5 s
    write_table(data / "utt2spk", {"u1": "a", "u2": "b", "u3": "a"})
    (data / "utt2dur").write_text("u1 3\n")  # not all utterances
    assert step("tools/get_utt2dur.py", data).returncode == 0
    assert read_table(data / "utt2dur") == {"u1": "0.250000", "u2": "0.500000", "u3": "0.400000"}


def test_duration_from_features(step: Run, data: Path) -> None:
    (data / "wav.scp").unlink()
    assert step("tools/get_utt2dur.py", "--frame-shift", 0.02, data).returncode == 0
    assert read_table(data / "utt2dur") == {"a": "0.100000", "b": "0.200000", "sp0.9-a": "0.300000"}
    (data / "utt2dur").unlink()
    (data / "fbank.yaml").write_text("frame_shift: 12.5\n")
    assert step("tools/get_utt2dur.py", data).returncode == 0
    assert read_table(data / "utt2dur") == {"a": "0.062500", "b": "0.125000", "sp0.9-a": "0.187500"}


def test_unreadable_audio_is_named_with_its_utterance(step: Run, data: Path) -> None:
    (data / "b.flac").unlink()
    result = step("tools/get_utt2dur.py", data)
    assert result.returncode == 1
    assert "get_utt2dur.py: error: b: " in result.stderr and "b.flac does not exist" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (data / "utt2dur").exists()


def test_nothing_to_measure_is_refused(step: Run, tmp_path: Path) -> None:
    result = step("tools/get_utt2dur.py", tmp_path)
    assert result.returncode == 1 and "has neither wav.scp nor feats.scp" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["utt2dur", "utt2num_frames"])
def test_one_job_of_a_command(run: Run, data: Path, name: str) -> None:
    result = run(f"tools/get_{name}.sh", "--cmd", "run.pl --max-retries 0", data)
    assert (result.returncode, result.stderr) == (0, "")
    assert read_table(data / name).keys() == {"a", "b", "sp0.9-a"}
    assert "3 utterances" in (data / "log" / f"get_{name}.log").read_text()


@pytest.mark.parametrize("tool", ["get_utt2dur.py", "get_utt2num_frames.py"])
def test_a_frame_shift_of_0_is_a_wrong_call(step: Run, data: Path, tool: str) -> None:
    result = step(f"tools/{tool}", "--frame-shift", 0, data)
    message = f"{tool}: error: --frame-shift 0.0: expected a number above 0\n"
    assert (result.returncode, result.stderr) == (2, message)


@pytest.mark.parametrize("tool", ["get_utt2dur.sh", "get_utt2num_frames.sh"])
def test_usage(run: Run, tool: str) -> None:
    result = run(f"tools/{tool}")
    assert result.returncode == 2 and f"Usage: tools/{tool}" in result.stderr
