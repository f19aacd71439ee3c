"""tools/guard.sh: nothing is left behind by a script that is killed. Its locks: tests/sv/jobs/test_lock.py."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.waiting import wait_until

HANGS = """
trap '' TERM
while :; do date >> "$1"; sleep 0.1; done
"""
STEP = """
set -euo pipefail
run.pl JOB=1:2 "$1/JOB.log" bash "$1/hangs.sh" "$1/beat.JOB"
touch "$1/went_on"
"""
RECIPE = """
set -euo pipefail
. ./path.sh
# Options
. tools/parse_options.sh
. tools/guard.sh
python3 -c 'import pathlib, sys, time
while True: pathlib.Path(sys.argv[1]).write_text("beat"); time.sleep(0.1)' "$FOLDER/beat.python" &
bash "$FOLDER/step.sh" "$FOLDER"
touch "$FOLDER/went_on"
"""


def start(root: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A recipe whose step runs jobs that hang and do not heed SIGTERM, and a process of its own; all are at work."""
    for name, text in {"hangs.sh": HANGS, "step.sh": STEP, "recipe.sh": RECIPE}.items():
        (folder / name).write_text(text)
    env = {**os.environ, "FOLDER": str(folder)}
    process = subprocess.Popen(
        ["bash", folder / "recipe.sh"], cwd=root, env=env, stderr=subprocess.PIPE, start_new_session=True
    )
    beats = [folder / f"beat.{name}" for name in ("1", "2", "python")]
    wait_until(lambda: all(path.exists() for path in beats), process)
    return process


def at_work(folder: Path) -> list[str]:
    """Command lines of processes that have the folder in theirs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder).encode() in command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_recipe_leaves_nothing_that_runs_or_writes_even_where_jobs_hang(root, tmp_path, name):
    process = start(root, tmp_path)
    process.send_signal(signal.Signals[name])
    process.wait(timeout=60)
    wait_until(lambda: not at_work(tmp_path), pause=0.1)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    time.sleep(0.5)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert not (tmp_path / "went_on").exists()


@pytest.mark.slow
def test_a_killed_step_ends_the_recipe_and_what_it_left(root, tmp_path):
    process = start(root, tmp_path)
    (step,) = (
        pid
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if b"step.sh" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(int(step), signal.SIGKILL)
    assert process.wait(timeout=60) == 1
    assert process.stderr and b"recipe.sh: error: bash was killed by signal 9 (SIGKILL); most " in process.stderr.read()
    wait_until(lambda: not at_work(tmp_path), pause=0.1)
