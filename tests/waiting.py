"""Wait for what a test has started, never without end."""

import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from subprocess import Popen
from typing import Any


def wait_until(
    condition: Callable[[], object], *processes: BaseProcess | Popen[Any], seconds: float = 120, pause: float = 0.01
) -> None:
    """Look every `pause` seconds until the condition holds.

    Raises:
        AssertionError: one of the processes has ended before it held, or the time is over.
    """
    end = time.monotonic() + seconds
    while not condition():
        ended = [process for process in processes if not _runs(process)]
        assert not ended or condition(), f"ended before what was awaited: {ended}"
        assert time.monotonic() < end, f"not so after {seconds:g} s"
        time.sleep(pause)


def _runs(process: BaseProcess | Popen[Any]) -> bool:
    return process.poll() is None if isinstance(process, Popen) else process.is_alive()
