"""A child ends with its parent, even by SIGKILL."""

import subprocess
import sys
from pathlib import Path

from tests.waiting import wait_until

CHILD = "import os, sys, time; from sv.jobs.process import die_with_parent; die_with_parent(int(sys.argv[1]));"


def test_a_child_ends_with_its_parent(root: Path) -> None:
    child = f"{CHILD} print(os.getpid(), flush=True); time.sleep(60)"
    parent = f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
        stat = Path(f"/proc/{pid}/stat")
        wait_until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_child_of_a_dead_parent_ends_at_once(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, "1" * 7], cwd=root)
    assert done.returncode == -9
