"""Show progress: bars on a terminal, and lines in the logs of jobs, which tools/show_progress.py draws."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from sv.errors import log

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

# On a terminal only, after a second. With the rows of a terminal that has none (stty cols 80), tqdm would draw nothing.
BAR: dict[str, Any] = {"disable": None, "leave": False, "delay": 1.0, "nrows": 20}
_LONGEST_WAIT_S = 10.0


def bar(items: Iterable[T], what: str, total: int | None = None) -> "tqdm[T]":
    """Return the items, with a progress bar while they are used; `total` is their number if they have no length."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit="", **BAR)


def byte_bar(path: Path, name: str = "") -> "tqdm[NoReturn]":
    """Return a progress bar of the bytes read of a file; `name` replaces the file's name."""
    from tqdm import tqdm

    size = path.stat().st_size if path.is_file() else None
    return tqdm(total=size, desc=name or path.name, unit="B", unit_scale=True, **BAR)


class Tally:
    """Log how many of a job's items are done: after a second, then at growing intervals up to 10 s, and at the end.

    Args:
        total: number of items.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._told, self._wait = time.monotonic(), 1.0

    def add(self, count: int = 1) -> None:
        """Count items that are done."""
        self.done += count
        now = time.monotonic()
        if now - self._told >= self._wait or self.done == self.total:
            self._told, self._wait = now, min(2 * self._wait, _LONGEST_WAIT_S)
            log.info("%d of %d are done", self.done, self.total)
