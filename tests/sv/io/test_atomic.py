"""Files that appear whole or not at all."""

import hashlib
import os
import signal
import subprocess
import sys

import pytest

from sv.io import atomic_write, sha256_of


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


def test_folder_is_made_and_lines_end_as_on_unix(tmp_path):
    with atomic_write(tmp_path / "a" / "b" / "f") as f:
        f.write("é\n")
    assert (tmp_path / "a" / "b" / "f").read_bytes() == b"\xc3\xa9\n"
    assert sha256_of(tmp_path / "a" / "b" / "f") == hashlib.sha256(b"\xc3\xa9\n").hexdigest()


@pytest.mark.parametrize(("content", "kept"), [(b"same", True), (b"else", False), (b"", False)])
def test_a_file_of_the_same_content_is_left_alone_on_demand(tmp_path, content, kept):
    (tmp_path / "f").write_bytes(b"same")
    before = (tmp_path / "f").stat().st_ino
    with atomic_write(tmp_path / "f", "wb", keep_same=True) as f:
        f.write(content)
    assert ((tmp_path / "f").stat().st_ino == before) == kept
    assert (tmp_path / "f").read_bytes() == content
    assert os.listdir(tmp_path) == ["f"]


def test_an_error_of_the_system_names_the_file(tmp_path):
    with pytest.raises(OSError) as error, atomic_write(tmp_path / "f"):
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(tmp_path / "f")
