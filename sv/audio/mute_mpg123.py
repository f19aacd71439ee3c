"""Keep libmpg123's own messages off stderr: it prints dozens for one damaged MP3, for which we print one line."""

import os
import re
import sys
import threading
from contextlib import AbstractContextManager

_MESSAGE = re.compile(rb"(Note: |Warning: |\s*\[src/libmpg123|$)")


class MuteMpg123(AbstractContextManager[None]):
    """Drop what libmpg123 prints on stderr within `with` blocks; other lines are printed at the end of a block.

    libmpg123 prints to the file descriptor, which the whole process shares. So threads share one instance, and their
    blocks may overlap.
    """

    def __init__(self) -> None:
        self._lock, self._blocks = threading.Lock(), 0
        self._stderr, self._caught, self._shown = -1, -1, 0

    def __enter__(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1:
                sys.stderr.flush()
                self._stderr, self._caught, self._shown = os.dup(2), os.memfd_create("stderr"), 0
                os.dup2(self._caught, 2)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                os.dup2(self._stderr, 2)
            text = os.pread(self._caught, os.fstat(self._caught).st_size - self._shown, self._shown)
            self._shown += len(text)
            for line in text.splitlines(keepends=True):
                if not _MESSAGE.match(line):
                    os.write(self._stderr, line)
            if self._blocks == 0:
                os.close(self._stderr)
                os.close(self._caught)


MUTE_MPG123 = MuteMpg123()  # one for the process, as stderr is
