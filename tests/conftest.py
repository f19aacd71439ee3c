"""Fixtures of all tests: the real speech, a shell in the environment of a recipe, and a step in this process."""

import contextlib
import fcntl
import gc
import io
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from unittest import mock

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "steps"))  # for steps/_path.py, which a script finds in its own folder

hypothesis.settings.register_profile("no deadline", deadline=None)  # the time of a test says nothing on a busy machine
hypothesis.settings.load_profile("no deadline")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell's "&"; what the tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that run recipes first, then those with slow tests, so that the longest does not start last."""
    longest: dict[Path, int] = {}
    for item in items:
        marks = [bool(item.get_closest_marker(name)) for name in ("slow", "recipe")]
        longest[item.path] = max(longest.get(item.path, 0), marks[0] + 2 * marks[1])
    items.sort(key=lambda item: -longest[item.path])


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking again and again at modules and tests, which stay to the end."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Compute with one thread, also in fixtures of modules; a step may have set another number.

    So two trainings give the same bits.
    """
    if torch := sys.modules.get("torch"):  # few tests of scripts load it
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def with_torch() -> ForkServerContext:
    """Begin processes that need not load torch: they are forked from a server that has it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sv.training.run", "sv.training.launcher", "torch._dynamo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to other tests
        for name in ("VEC_ISA_OK", "COMPILE_THREADS"):  # 1: no processes that load torch to try out or to share work
            patch.setenv(f"TORCHINDUCTOR_{name}", "1")
        forkserver.ensure_running()
    return context


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of real corpora, from the environment variable SV_CORPORA."""
    folder = os.environ.get("SV_CORPORA", "")
    if not folder:
        pytest.skip("no real speech: SV_CORPORA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def small_corpus(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mini corpus of 12 training and 6 test speakers of 12 utterances each; all processes that test only read it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, size = shared / "small" / "corpora", ["--num-train", "12", "--num-test", "6"]
    with open(shared / "small.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second finds it made
        subprocess.run([root / "local" / "make_mini_corpus.py", *size, folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command, from the repository's root with path.sh's environment, and return it with its output as text."""

    def run_command(
        *command: object, cwd: Path = ROOT, env: dict[str, str] | None = None, timeout: float = 800
    ) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        script = f'cd "{ROOT}" && . ./path.sh && cd "$0" && exec "$@"'
        return subprocess.run(
            ["bash", "-c", script, str(cwd), *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
        )

    return run_command


@pytest.fixture(scope="session")
def step() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of Python in this process, which saves its start; like `run`, return exit status and output.

    What belongs to a process (kills, locks, memory, what is imported) needs `run`. tests/test_command_lines.py starts
    every script once as a process.
    """

    def run_here(script: object, *words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        argv = [str(ROOT / str(script)), *map(str, words)]
        out, err, status = io.StringIO(), io.StringIO(), 0
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.multiple(sys, argv=argv, stdin=io.StringIO()))
            stack.enter_context(mock.patch.dict(os.environ, LC_ALL="C"))
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


@pytest.fixture
def noise_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the detector of speech take every second that is not silent."""
    from tests.sv.noise_verifier import loud_seconds

    monkeypatch.setattr("sv.audio.recordings.speech_seconds", loud_seconds)


@pytest.fixture(scope="session")
def for_kaldi() -> Callable[[Path], Path]:
    """Make an scp for Kaldi's readers, with absolute paths, beside one of ours; return its path."""

    def make(scp: Path) -> Path:
        out = scp.with_name(f"absolute_{scp.name}")
        with open(out, "w") as f:
            subprocess.run([ROOT / "tools" / "rebase_scp.pl", scp], stdout=f, check=True)
        return out

    return make


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
    """Give the loggers back their handlers and level, which `run_step` sets."""
    root, ours = logging.root, logging.getLogger("sv")
    handlers, level, ours_level = root.handlers[:], root.level, ours.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        ours.setLevel(ours_level)
