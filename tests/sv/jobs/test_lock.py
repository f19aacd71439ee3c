"""One process at a time in a folder, in Python and in bash, by real processes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sv.errors import UserError
from sv.jobs import folder_lock, lock

HOST = re.escape(os.uname().nodename)
TAKE = {
    "python": """import sys; from pathlib import Path; from sv.jobs import folder_lock
with folder_lock(Path(sys.argv[1]), "filled"): print("held", flush=True); sys.stdin.read()""",
    "bash": """set -euo pipefail
# Options
. tools/parse_options.sh
. tools/guard.sh
hold_lock "$LOCKED/.lock" "$LOCKED is being filled"
echo held
read -r _ || true
""",
}


class Holder:
    """A process that holds the lock of a folder until its input ends."""

    def __init__(self, root: Path, language: str, script: Path, folder: Path) -> None:
        script.write_text(TAKE[language])
        words = [sys.executable, script, folder] if language == "python" else ["bash", script]
        env = {**os.environ, "LOCKED": str(folder), "PYTHONPATH": str(root)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, cwd=root, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def wait_until_held(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def end(self) -> tuple[int, str]:
        """Exit status and what it said."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize("first", TAKE)
@pytest.mark.parametrize("second", TAKE)
def test_the_second_is_told_who_holds_it_and_gets_it_afterwards(root, tmp_path, first, second):
    folder = tmp_path / "data"
    holder = Holder(root, first, tmp_path / "first", folder)
    holder.wait_until_held()
    status, said = Holder(root, second, tmp_path / "second", folder).end()
    who = rf"process {holder.process.pid} on {HOST} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d \(\S+first\b.*\)"
    assert status == 1
    assert re.search(rf"data is being filled by {who}; wait for its end, or end it\n", said), said
    assert holder.end()[0] == 0
    after = Holder(root, second, tmp_path / "second", folder)
    after.wait_until_held()
    assert after.end()[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("language", TAKE)
def test_the_lock_of_a_killed_holder_is_taken_over(root, tmp_path, language):
    holder = Holder(root, language, tmp_path / "first", tmp_path / "data")
    holder.wait_until_held()
    holder.process.send_signal(signal.SIGKILL)
    after = Holder(root, language, tmp_path / "second", tmp_path / "data")
    after.wait_until_held()
    assert lock.read_holder(tmp_path / "data" / ".lock").pid == after.process.pid
    assert (holder.end()[0], after.end()[0]) == (-signal.SIGKILL, 0)


def test_what_a_dead_holder_has_left_is_waited_for_and_told_of(tmp_path, monkeypatch):
    """Its process number may be another one's by then: the start tells."""
    monkeypatch.setattr(lock, "_HERE_S", 0.5)
    with folder_lock(tmp_path, "filled"):
        note = tmp_path / ".lock"
        note.write_text(note.read_text().replace(lock.process_start(os.getpid()), "1"))
        begin = time.monotonic()
        with pytest.raises(UserError, match=r"\), which has ended, but not all that it started; wait for its end"):
            lock._take(open(note, "a"), note, "it is being filled")  # noqa: SIM115
        assert time.monotonic() - begin >= 0.5


def test_a_holder_on_another_machine_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_ELSEWHERE_S", 0.5)
    with folder_lock(tmp_path, "filled"):
        note = tmp_path / ".lock"
        note.write_text("elsewhere 7 1 2026-01-01 00:00:00 steps/train.py\n")
        with pytest.raises(UserError, match=r"by process 7 on elsewhere since 2026-01-01 00:00:00 .steps/train.py.;"):
            lock._take(open(note, "a"), note, "it is being filled")  # noqa: SIM115


def test_a_file_in_place_of_the_folder_is_refused_and_kept(root, tmp_path):
    (tmp_path / "data").write_text("kept\n")
    status, said = Holder(root, "bash", tmp_path / "first", tmp_path / "data").end()
    assert status == 1
    assert said.endswith(f"first: error: {tmp_path}/data cannot be made (above); give another folder\n")
    assert (tmp_path / "data").read_text() == "kept\n"


def test_an_empty_note_is_another_process(tmp_path):
    (tmp_path / ".lock").touch()
    assert lock.read_holder(tmp_path / ".lock") is None
