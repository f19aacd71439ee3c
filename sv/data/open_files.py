"""Files that stay open for reads by several threads."""

import os
import resource
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from sv.errors import UserError

_OTHER_FILES = 512  # open files that the rest of the process may need


class OpenFiles:
    """Opens files on first use and keeps them open; may be used by several threads.

    Args:
        paths: paths of the files.
        missing: returns the error message for a path that does not exist.
    """

    def __init__(self, paths: Sequence[str | Path], missing: Callable[[str | Path], str]) -> None:
        self.paths, self.missing = paths, missing
        self._fds = [-1] * len(paths)
        self._lock = threading.Lock()
        allow_open_files(len(paths) + _OTHER_FILES)

    def fd(self, number: int) -> int:
        """Return the descriptor of a file, by its index in `paths`; raise UserError if it does not exist."""
        if self._fds[number] < 0:
            with self._lock:
                if self._fds[number] < 0:
                    try:
                        self._fds[number] = os.open(self.paths[number], os.O_RDONLY | os.O_CLOEXEC)
                    except FileNotFoundError:
                        raise UserError(self.missing(self.paths[number])) from None
        return self._fds[number]


def allow_open_files(count: int) -> None:
    """Raise the soft limit of open files to `count`, or as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
