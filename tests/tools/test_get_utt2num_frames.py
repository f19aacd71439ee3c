"""tools/get_utt2num_frames.sh: frames from archives or durations."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.io import read_table
from tests.tools.measured_dir import write_data

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path)


def test_number_of_frames(step: Run, data: Path) -> None:
    (data / "utt2num_frames").write_text("a 7\n")  # not all utterances
    assert step("tools/get_utt2num_frames.py", data).returncode == 0
    assert read_table(data / "utt2num_frames") == {"a": "5", "b": "10", "sp0.9-a": "15"}
    assert "is there already" in step("tools/get_utt2num_frames.py", data).stderr


@pytest.mark.slow
def test_number_of_frames_from_durations(run: Run, step: Run, data: Path) -> None:
    (data / "feats.scp").unlink()
    result = step("tools/get_utt2num_frames.py", data)
    assert result.returncode == 1 and "utt2dur does not exist; make it with tools/get_utt2dur.sh" in result.stderr
    (data / "utt2dur").write_text("a 0.515\nb 2.0\n")  # (2 - 0.015) / 0.01 = 198.5
    assert step("tools/get_utt2num_frames.py", data).returncode == 0
    assert read_table(data / "utt2num_frames") == {"a": "50", "b": "198"}
    (data / "utt2num_frames").unlink()
    assert run("tools/get_utt2num_frames.sh", "--frame-shift=0.02", "--frame-overlap=0.01", data).returncode == 0
    assert read_table(data / "utt2num_frames") == {"a": "25", "b": "99"}


def test_truncated_archive_is_named(step: Run, data: Path) -> None:
    with open(data / "feats.ark", "r+b") as f:
        f.truncate(f.seek(0, 2) - 1)
    result = step("tools/get_utt2num_frames.py", data)
    assert result.returncode == 1
    assert "feats.ark" in result.stderr and "truncated" in result.stderr and "Traceback" not in result.stderr
