"""A lock that lets one process at a time work in a folder, and a note that says who holds it.

The system releases a lock when its holder dies. The note, "host pid start date time command", is for the others; start
is when the process began, in ticks since its machine was started: it tells a dead process from a later one with the
same number. tools/guard.sh is the same in bash, with the same note.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sv.errors import UserError, log

_HERE_S = 30.0  # to wait for what a dead holder has started on this machine, which ends soon
_ELSEWHERE_S = (
    120.0  # to wait for a holder on another machine, which may be dead: file servers keep its lock for a while
)


@dataclass(frozen=True)
class Holder:
    """The holder of a lock, as its note says."""

    host: str
    pid: int
    start: str
    since: str
    command: str

    def is_here(self) -> bool:
        """Return whether it is a process of this machine."""
        return self.host == os.uname().nodename

    def is_alive(self) -> bool:
        """Return whether a process of this machine still runs."""
        return process_start(self.pid) == self.start

    def __str__(self) -> str:
        ended = ", which has ended, but not all that it started" if self.is_here() and not self.is_alive() else ""
        return f"process {self.pid} on {self.host} since {self.since} ({self.command}){ended}"


@contextmanager
def folder_lock(folder: Path, doing: str) -> Iterator[None]:
    """Hold `folder`/.lock.

    Args:
        folder: created if it is missing.
        doing: what the holder does there, for the error of another process: "trained".

    Raises:
        UserError: another process holds it; the error names it, its host and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with open(path, "a+", encoding="utf-8") as f:
        _take(f, path, f"{folder} is being {doing}")
        f.truncate(0)
        command = " ".join(" ".join(sys.argv).split())[:200]
        f.write(
            f"{os.uname().nodename} {os.getpid()} {process_start(os.getpid())} {time.strftime('%F %T')} {command}\n"
        )
        f.flush()
        yield


def process_start(pid: int) -> str:
    """Return when a process began, in ticks since the machine was started; "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def read_holder(path: Path) -> Holder | None:
    """Read who holds the lock of a file, or held it last; None while the note is being written."""
    try:
        host, pid, start, date, clock, *command = path.read_text(encoding="utf-8").split()
        return Holder(host, int(pid), start, f"{date} {clock}", " ".join(command))
    except (OSError, ValueError):
        return None


def _take(file: IO[str], path: Path, what: str) -> None:
    begin = time.monotonic()
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = read_holder(path)
            if time.monotonic() - begin >= _patience(holder):
                raise UserError(f"{what} by {holder or 'another process'}; wait for its end, or end it") from None
            time.sleep(0.2)
        except OSError as error:  # some shared filesystems have no locks
            log.warning("%s: %s; two runs in one folder would not be noticed", path, error.strerror)
            return
        else:
            return


def _patience(holder: Holder | None) -> float:
    """Return how many seconds to wait for a lock that is held."""
    if holder is None or (holder.is_here() and not holder.is_alive()):
        return _HERE_S
    return 0 if holder.is_here() else _ELSEWHERE_S
