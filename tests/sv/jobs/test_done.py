"""Marks of finished work, and files that appear whole or not at all."""

import os
import signal
import subprocess
import sys

import pytest

from sv.io import atomic_write
from sv.jobs import DoneMark


@pytest.fixture
def work(tmp_path):
    (tmp_path / "in").write_text("input")
    (tmp_path / "out").write_text("output")
    mark = DoneMark(tmp_path / "marks" / ".done.x", {"nj": 4, "dither": 1.0}, (tmp_path / "in",))
    mark.write([tmp_path / "out"])
    return mark


def test_finished_work_is_not_stale(work):
    assert work.stale() == ""
    assert work.stale(verify=True) == ""


def test_other_options_make_it_stale(work):
    other = DoneMark(work.path, {"nj": 4, "dither": 0.0}, work.inputs)
    assert "options differ" in other.stale()


def test_changed_or_missing_input_makes_it_stale(work):
    work.inputs[0].write_text("another")
    assert "inputs have changed" in work.stale()
    work.inputs[0].unlink()
    assert "inputs have changed" in work.stale()


def test_output_is_watched_by_size_and_on_request_by_content(work, tmp_path):
    (tmp_path / "out").write_text("OUTPUT")
    assert work.stale() == ""
    assert "is damaged" in work.stale(verify=True)
    (tmp_path / "out").write_text("outp")
    assert "has 4 bytes instead of 6" in work.stale()
    (tmp_path / "out").unlink()
    assert "is missing" in work.stale()


def test_missing_or_damaged_mark(work):
    work.path.write_text("{")
    assert "damaged" in work.stale()
    work.path.unlink()
    assert work.stale() == "not done yet"


def test_the_shell_sees_the_same(run, tmp_path):
    (tmp_path / "out").write_text("output")
    mark = [tmp_path / ".done", "--options", "a b", "--outputs", tmp_path / "out"]
    assert run("tools/done.py", "check", *mark).returncode == 3
    assert run("tools/done.py", "write", *mark).returncode == 0
    assert run("tools/done.py", "check", *mark).returncode == 0
    (tmp_path / "out").unlink()
    result = run("tools/done.py", "check", *mark)
    assert result.returncode == 3
    assert "out is missing" in result.stderr


def test_a_block_that_raises_leaves_what_was_there(tmp_path):
    (tmp_path / "f").write_text("before")
    with pytest.raises(ValueError, match="stop"), atomic_write(tmp_path / "f") as f:
        f.write("half")
        raise ValueError("stop")
    assert (tmp_path / "f").read_text() == "before"
    assert os.listdir(tmp_path) == ["f"]


def test_a_killed_writer_leaves_what_was_there(tmp_path):
    (tmp_path / "f").write_text("before")
    script = f"""
import os, signal
from sv.io import atomic_write
with atomic_write({str(tmp_path / "f")!r}) as f:
    f.write("half"); f.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "f").read_text() == "before"
