"""One process at a time in a folder: an advisory lock that the system releases when its holder dies."""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sv.errors import UserError
from sv.io import read_json


@contextmanager
def folder_lock(folder: Path, doing: str) -> Iterator[None]:
    """Hold `folder`/.lock, which tells who holds it.

    Args:
        folder: made if it is missing.
        doing: for the other one's error: "trained".

    Raises:
        UserError: another process holds it; names host, process and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with open(path, "a+", encoding="utf-8") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder} is being {doing} {_holder(path)}; wait for it, or end it") from None
        f.truncate(0)
        command = " ".join(sys.argv)[:200]
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%F %T"), "command": command}
        f.write(json.dumps(who) + "\n")
        f.flush()
        yield


def _holder(path: Path) -> str:
    try:
        who = read_json(path)
        return f"by process {who['pid']} on {who['host']} since {who['since']} ({path})"
    except (OSError, ValueError, KeyError):
        return f"by another process ({path})"
