"""The command line `sv`: each command is the step of that name."""

import subprocess
import sys
from pathlib import Path

import pytest

from sv import __version__
from sv.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sv", *words], cwd=ROOT, capture_output=True, text=True)


def test_help_lists_every_command_and_each_has_its_step() -> None:
    result = call()
    assert result.returncode == 0
    for name, (step, what) in COMMANDS.items():
        assert f"  {name:10}{what}\n" in result.stdout and (ROOT / "steps" / step).is_file()
    assert call("--version").stdout == f"{__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["verify", "info"])
def test_a_command_runs_its_step(command: str) -> None:
    result = call(command, "--help")
    assert result.returncode == 0 and result.stdout.startswith(f"usage: sv {command} ")
    result = call(command)
    assert result.returncode == 2 and f"sv {command}: error: the following arguments are required" in result.stderr


def test_an_unknown_command_names_the_nearest() -> None:
    result = call("verif")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("sv: error: unknown command 'verif'; did you mean 'verify'? known: verify, ")
