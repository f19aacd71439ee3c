"""What all tests share: the real speech, and a shell that stands where a recipe stands."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # by a shell's "&"; what the tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command, from the repository's root with path.sh's environment, and return it with its output as text."""

    def run_command(
        *command: object, cwd: Path = ROOT, env: dict[str, str] | None = None, timeout: float = 300
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
