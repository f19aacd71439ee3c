"""A script of Python finds its package and its environment: in another folder, in a new shell, with a bare Python."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("steps", "local", "tools")
SCRIPTS = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.py"))]


def start(python: Path | str, script: Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `script --help` in a folder, with nothing of path.sh in the environment."""
    words = [str(python), str(script), "--help"]
    return subprocess.run(words, cwd=cwd, env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without packages."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python3"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A step in a repository without .venv."""
    (tmp_path / "steps").mkdir()
    (tmp_path / "sv").symlink_to(ROOT / "sv")
    for name in ("_path.py", "verify.py"):
        (tmp_path / "steps" / name).write_bytes((ROOT / "steps" / name).read_bytes())
    return tmp_path / "steps" / "verify.py"


@pytest.mark.parametrize("folder", FOLDERS)
def test_all_folders_have_the_same_way_to_the_package(folder: str) -> None:
    assert (ROOT / folder / "_path.py").resolve() == ROOT / "steps" / "_path.py"


def test_every_script_that_uses_the_package_finds_it() -> None:
    for path in SCRIPTS:
        lines = path.read_text().splitlines()
        uses = [number for number, line in enumerate(lines) if line.startswith(("from sv", "import sv", "from local"))]
        if lines[0].startswith("#!") and uses and path.name != "check_env.py":  # it looks for the packages itself
            assert "import _path  # noqa: F401" in lines[: uses[0]], path


def test_a_step_runs_in_another_folder(tmp_path: Path) -> None:
    done = start(sys.executable, ROOT / "steps" / "verify.py", tmp_path)
    assert done.returncode == 0 and "usage: verify.py" in done.stdout, done.stderr


def test_a_bare_python_hands_over_to_the_environment(bare: Path, copy: Path, tmp_path: Path) -> None:
    done = start(bare, copy, tmp_path, SV_PYTHON=sys.executable)
    assert done.returncode == 0 and "usage: verify.py" in done.stdout, done.stderr
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / ".venv" / "bin" / "python3").chmod(0o755)
    done = start(bare, copy, tmp_path)
    assert done.returncode == 0 and "usage: verify.py" in done.stdout, done.stderr


def test_without_an_environment_the_line_to_type_is_told(bare: Path, copy: Path, tmp_path: Path) -> None:
    for env in ({}, {"SV_PYTHON": str(bare)}):
        done = start(bare, copy, tmp_path, **env)
        assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
        assert done.stderr.startswith("verify.py: error: ") and f"type: bash {tmp_path}/tools/setup.sh" in done.stderr
