"""What the tests of steps share: a step in this process, where a process of its own would cost more than its work."""

import contextlib
import io
import logging
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def step() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a step of Python in this process; like `run`, it returns exit status, stdout and stderr."""

    def run_here(script: str, *words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        argv = [str(ROOT / script), *map(str, words)]
        out, err, status = io.StringIO(), io.StringIO(), 0
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(sys, "argv", argv))
            stack.enter_context(_inside(cwd))
            stack.enter_context(_same_logging())
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(err))
            try:
                runpy.run_path(argv[0], run_name="__main__")
            except SystemExit as end:
                status = int(end.code or 0)
        return subprocess.CompletedProcess(argv, status, out.getvalue(), err.getvalue())

    return run_here


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _same_logging() -> Iterator[None]:
    """Give the root logger back its handlers, of which `run_step` makes one on stderr."""
    handlers = logging.root.handlers[:]
    logging.root.handlers[:] = []
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
