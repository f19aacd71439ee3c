"""bench/startup.py: processes are counted by script, and the status is the command's."""

import sys

import pytest

from bench import startup

TWICE = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass']); sys.exit(3)"


def test_processes_are_counted_by_script(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="3"):
        startup.count_processes([sys.executable, "-c", TWICE])
    head, _, *rows = capfd.readouterr().out.splitlines()
    assert head == "| script | processes | torch | scipy.stats | matplotlib | CPU s |"
    assert [row.rpartition("|")[0].rpartition("|")[0] for row in rows] == [
        "| -c | 2 | 0 | 0 | 0 ",
        "| all | 2 | 0 | 0 | 0 ",
    ]
