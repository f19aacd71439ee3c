"""tools/show_progress.py: what jobs' logs say, the bar on a terminal, and messages that pass through."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tools.show_progress import read_progress

ROOT = Path(__file__).resolve().parents[2]
HEAD = "# steps/x.py part 1 of 2 are done\n#\n2026-11-29 02:22:01 x.py: "


@pytest.mark.parametrize(
    ("logs", "progress"),
    [
        ([], (0, 0)),
        (["# Running on vm\n"], (0, 0)),
        ([f"{HEAD}50 to do\n"], (0, 150)),
        ([f"{HEAD}50 to do\nd t x.py: 10 of 30 are done\nd t x.py: 20 of 30 are done\n"], (20, 150)),
        (
            [f"{HEAD}50 to do\nd t x.py: 30 of 30 are done\nd t x.py: 5 of 20 are done\n", f"{HEAD}40 to do\n"],
            (35, 135),
        ),
        ([f"{HEAD}2 to do\nd t x.py: 2 of 2 are done\n"] * 3, (6, 6)),
    ],
)
def test_progress_is_the_sum_over_the_logs_and_jobs_to_come(
    tmp_path: Path, logs: list[str], progress: tuple[int, int]
) -> None:
    for number, text in enumerate(logs):
        (tmp_path / f"x.{number}.log").write_text(text)
    assert read_progress(sorted(tmp_path.iterdir()), num_jobs=3) == progress


@pytest.mark.slow
def test_a_terminal_shows_a_bar_and_the_jobs_messages(tmp_path: Path) -> None:
    (tmp_path / "x.1.log").write_text(f"{HEAD}8 to do\nd t x.py: 2 of 8 are done\n")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))  # rows, columns, and pixels
    command = [sys.executable, str(ROOT / "tools/show_progress.py"), str(tmp_path / "x.JOB.log"), "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        assert process.stdin
        process.stdin.write(b"run.pl: a message\n")
        process.stdin.flush()
        seen = b""
        while b"2/8" not in seen:
            seen += os.read(ours, 1000)
        process.stdin.close()
    assert b"run.pl: a message" in seen and b"x:  25%" in seen and process.returncode == 0
