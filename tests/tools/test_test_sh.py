"""tools/test.sh and the pre-commit hook, in a small repository."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = [
    "path.sh",
    "pyproject.toml",
    "sv/__init__.py",
    "sv/errors.py",
    "tools/hooks/pre-commit",
    "tools/parse_options.sh",
    "tools/say.sh",
    "tools/unknown_option.sh",
    "tools/guard.sh",
    "tools/setup.sh",
    "tools/test.sh",
]
QUICK = '''"""Tests."""

import pytest


def test_quick() -> None:
    pass


@pytest.mark.slow
def test_slow() -> None:
    pass


@pytest.mark.recipe
def test_recipe() -> None:
    pass
'''


@pytest.fixture
def small(tmp_path: Path) -> Path:
    for file in COPIED:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "sv/__init__.py").write_text('"""Nothing to import."""\n')
    (tmp_path / "tools/check_env.py").write_text('"""Nothing is missing."""\n')  # mypy takes a minute to read torch
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_few.py").write_text(QUICK)
    return tmp_path


def run_test_sh(
    root: Path, *options: str, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    temporary = root.with_name(f"{root.name}-tmp")  # pytest warns of what others leave in /tmp, and prints another end
    temporary.mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", root / "tools/test.sh", *options],
        env={**inherited, "SV_PYTHON": sys.executable, "TMPDIR": str(temporary), **(env or {})},
        pass_fds=pass_fds,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=250,
    )


@pytest.mark.slow
def test_all_is_well_and_fast_leaves_out_slow_tests_and_recipes(small: Path) -> None:
    done = run_test_sh(small, "--fast", "--nj", "1", "--", "tests/test_few.py", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ["set-up", "ruff check", "ruff format", "shellcheck", "perl -c", "codespell", "mypy", "pytest"]:
        assert f" s  {name}\n" in done.stdout
    assert "= 1 passed in" in done.stdout and "test_quick" in done.stdout


@pytest.mark.slow
def test_each_fault_is_told_and_the_rest_still_runs(small: Path) -> None:
    (small / "sv/bad.py").write_text("import os\nx  = len(3)\n")
    (small / "tools/bad.sh").write_text("#!/usr/bin/env bash\necho $1\n")
    (small / "tools/bad.pl").write_text("use strict; $x = 1;\n")
    (small / "README.md").write_text("\x54eh end.\n")
    (small / "tests/test_bad.py").write_text("def test_bad() -> None:\n    assert 0\n")
    done = run_test_sh(small, "--nj", "1")
    assert done.returncode == 1
    parts = "ruff check, ruff format, shellcheck, perl -c, codespell, pytest, mypy"
    assert done.stderr.endswith(f"test.sh: error: failed: {parts}\n")
    assert "= 1 failed, 3 passed in" in done.stdout


@pytest.mark.slow
def test_fast_checks_the_shell_scripts_that_differ_from_the_last_commit(small: Path) -> None:
    for name in ("codespell_lib", "mypy", "pytest", "ruff"):
        (small / f"{name}.py").touch()  # runs in place of the package
    faulty = "#!/usr/bin/env bash\necho $1\n"
    (small / "tools/old.sh").write_text(faulty)
    git = ["git", "-C", str(small), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    done = run_test_sh(small, "--fast")
    assert done.returncode == 0, done.stdout
    (small / "tools/new.sh").write_text(faulty)
    (small / "tools/new.sh").chmod(0o755)
    done = run_test_sh(small, "--fast")
    assert done.returncode == 1 and "In ./tools/new.sh line 2" in done.stdout and "old.sh" not in done.stdout
    with open(small / "tools/guard.sh", "a") as f:  # which others source
        f.write("# the end\n")
    assert "In ./tools/old.sh line 2" in run_test_sh(small, "--fast").stdout


@pytest.mark.slow
def test_without_lint_the_tests_run_alone(small: Path) -> None:
    done = run_test_sh(small, "--lint", "false", "--nj", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "= 3 passed in" in done.stdout and "mypy" not in done.stdout


@pytest.mark.slow
def test_a_path_that_does_not_exist_is_told(small: Path) -> None:
    done = run_test_sh(small, "--lint", "false", "--nj", "1", "--", "tests/io", "-q")
    assert done.returncode == 1 and "not found: tests/io" in done.stderr
    assert done.stderr.endswith("test.sh: error: failed: pytest\n")


def test_missing_package_is_told_first(small: Path) -> None:
    (small / "tools/check_env.py").write_text("import sys\nsys.exit('lacks ruff')\n")
    done = run_test_sh(small)
    assert done.returncode == 1 and "lacks ruff" in done.stderr and "ruff check" not in done.stdout


def test_interrupted_it_leaves_no_mypy_and_no_file(small: Path) -> None:
    (small / "mypy.py").write_text(
        "import os, time\nfd = int(os.environ['TOLD'])\nos.write(fd, b'begun')\nopen('begun', 'w').close()\n"
        "time.sleep(30)\nos.write(fd, b', ended')\n"
    )
    (small / "ruff.py").write_text(
        "import os, signal, time\nwhile not os.path.exists('begun'):\n    time.sleep(0.01)\n"
        "os.kill(os.getppid(), signal.SIGTERM)\n"
    )
    (small / "tmp").mkdir()
    told, fd = os.pipe()
    done = run_test_sh(small, pass_fds=[fd], env={"TOLD": str(fd), "TMPDIR": str(small / "tmp")})
    os.close(fd)
    with open(told) as f:
        assert f.read() == "begun"  # read until nobody holds the other end
    assert done.returncode != 0 and done.stdout.endswith(" s  in all\n")
    assert not list((small / "tmp").iterdir())


def test_hook_runs_fast_tests_without_gits_variables(small: Path) -> None:
    (small / "tools/test.sh").write_text('#!/usr/bin/env bash\necho "$@ in ${GIT_INDEX_FILE-none}"\nexit 3\n')
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "core.hooksPath=tools/hooks"]
    subprocess.run(["git", "init", "-q", small], check=True)
    subprocess.run([*git, "add", "path.sh"], cwd=small, check=True)
    done = subprocess.run([*git, "commit", "-m", "x"], cwd=small, capture_output=True, text=True)
    assert done.returncode != 0 and "--fast in none" in done.stdout + done.stderr
