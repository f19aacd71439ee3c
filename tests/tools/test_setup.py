"""tools/setup.sh, in a small clone with a lock of small packages: no network, and no torch."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = [
    *("path.sh", "tools/setup.sh", "tools/parse_options.sh", "tools/guard.sh", "tools/end_orphans.pl"),
    *("tools/check_env.py", "sv/__init__.py", "sv/errors.py"),
]
PACKAGES = {
    "torch": "2.11.0",
    "torchaudio": "2.11.0",
    "numpy": "2.2.6",
    "scipy": "1.15.3",
    "soundfile": "0.13",
    "kaldiio": "2.18",
    "pyyaml": "6.0",
    "pydantic": "2.10",
    "tqdm": "4.66",
}
TORCH = "class version:\n    cuda = None\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
needs_venv = pytest.mark.skipif(find_spec("ensurepip") is None, reason="this Python has no ensurepip")


def make_wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel that holds one empty module; return its line of the lock."""
    module = "yaml" if name == "pyyaml" else name
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": TORCH if name == "torch" else "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Clone:
    """A copy of the files that set-up uses, with commands of our own before the system's.

    Given another environment's site-packages, venv takes pip from there, which saves most of its time.
    """

    def __init__(self, folder: Path, site_packages: Path | None = None) -> None:
        self.root, self.wheels, self.bin = folder / "clone", folder / "wheels", folder / "bin"
        for file in NEEDED:
            copy = self.root / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / file).read_bytes())
            copy.chmod((ROOT / file).stat().st_mode)
        self.wheels.mkdir()
        self.bin.mkdir()
        self.lock = self.root / "requirements.lock"
        self.lock.write_text("".join(make_wheel(self.wheels, *package) for package in PACKAGES.items()))
        self.python = f'exec "{sys.executable}" "$@"'
        if site_packages:
            copy_pip = f'cp -a "{site_packages}"/pip "{site_packages}"/pip-* "$3"/lib/python3*/site-packages'
            make = f'"{sys.executable}" -m venv --without-pip "$3" && {copy_pip}'
            self.python = f'case "$*" in "-m venv "*) {make} ;; *) {self.python} ;; esac'
        self.command("python3", self.python)
        self.env = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(folder),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }

    def command(self, name: str, code: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{code}\n")
        path.chmod(0o755)

    def lose_venv(self) -> None:
        """Leave the clone a python3 that cannot make environments, and python3-venv to make them with."""
        self.command("python3-venv", self.python)
        self.command(
            "python3", f'case "$*" in *ensurepip*|*virtualenv*) exit 1 ;; *) exec "{sys.executable}" "$@" ;; esac'
        )

    def start(self, *options: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["bash", "tools/setup.sh", *options],
            cwd=self.root,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def set_up(self, *options: str, **env: str) -> tuple[int, str]:
        """Exit status and what was said on stderr."""
        process = self.start(*options, **env)
        said = process.communicate(timeout=200)[1]
        return process.returncode, said

    def environments(self) -> list[Path]:
        return sorted(self.root.glob(".venv-*"))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone that was set up."""
    clone = Clone(tmp_path_factory.mktemp("ready"))
    status, said = clone.set_up()
    assert status == 0, said
    assert "torch 2.11.0, torchaudio 2.11.0, CUDA: no (this torch is built for the CPU only)" in said
    return clone


@pytest.fixture
def fresh(ready: Clone, tmp_path: Path) -> Clone:
    """A clone that is quick to set up."""
    return Clone(tmp_path, next((ready.root / ".venv/lib").glob("python3*/site-packages")))


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone that is never set up to the end."""
    return Clone(tmp_path)


@needs_venv
@pytest.mark.slow
def test_second_run_does_nothing_and_needs_no_network(ready: Clone) -> None:
    before = ready.environments()
    assert ready.set_up("--quiet", "true", PIP_FIND_LINKS="/nowhere", SV_JOB="1") == (0, "")
    assert ready.environments() == before == [(ready.root / ".venv").resolve()]


@needs_venv
@pytest.mark.slow
def test_path_sh_uses_the_environment_and_keeps_it(ready: Clone) -> None:
    script = 'set -euo pipefail; . ./path.sh; . ./path.sh; command -v python3; echo "$PATH"; echo "$PYTHONPATH $LC_ALL"'
    said = subprocess.run(["bash", "-c", script], cwd=ready.root, env=ready.env, capture_output=True, text=True)
    python, path, rest = said.stdout.splitlines()
    assert python == f"{ready.environments()[0]}/bin/python3"  # not the link, which a later set-up changes
    assert path == f"{ready.environments()[0]}/bin:{ready.root}/tools:{ready.env['PATH']}"
    assert rest == f"{ready.root} C"


@needs_venv
@pytest.mark.slow
def test_existing_environment_is_checked(ready: Clone, clone: Clone) -> None:
    python = f"{ready.root}/.venv/bin/python3"
    assert clone.set_up("--quiet", "true", SV_PYTHON=python) == (0, "")
    assert "python 3." in clone.set_up(SV_PYTHON=python)[1]
    assert not clone.environments()


@needs_venv
@pytest.mark.slow
def test_changed_lock_makes_another_environment(fresh: Clone) -> None:
    assert fresh.set_up()[0] == 0
    first = (fresh.root / ".venv").resolve()
    fresh.lock.write_text(fresh.lock.read_text() + make_wheel(fresh.wheels, "added", "1.0"))
    status, said = fresh.set_up("--quiet", "true")
    assert status == 0 and f"{first.name}, of an earlier lock or Python, is left" in said
    assert (fresh.root / ".venv").resolve() != first and first.is_dir()
    python = fresh.root / ".venv/bin/python3"
    assert subprocess.run([python, "-c", "import added"]).returncode == 0


@needs_venv
@pytest.mark.slow
@pytest.mark.parametrize("moment", [".venv-*", ".venv-*/tmp", ".venv-*/lib/python*/site-packages/tqdm"])
def test_killed_set_up_is_started_again(fresh: Clone, moment: str) -> None:
    process = fresh.start()
    while process.poll() is None and not list(fresh.root.glob(moment)):
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (fresh.root / ".venv").exists()
    path_sh = subprocess.run(
        ["bash", "-c", ". ./path.sh"], cwd=fresh.root, env=fresh.env, capture_output=True, text=True
    )
    assert path_sh.returncode == 1 and "run tools/setup.sh" in path_sh.stderr
    status, said = fresh.set_up()
    assert status == 0, said
    assert len(fresh.environments()) == 1 and not list(fresh.root.glob(".venv/tmp"))


@needs_venv
@pytest.mark.slow
def test_package_of_another_checksum_is_refused(fresh: Clone) -> None:
    wheel = fresh.wheels / "tqdm-4.66-py3-none-any.whl"
    whole = wheel.read_bytes()
    wheel.write_bytes(whole + b"\0")
    status, said = fresh.set_up()
    assert status == 1 and "THESE PACKAGES DO NOT MATCH THE HASHES" in said
    assert said.endswith("when that is mended, run tools/setup.sh again\n")
    wheel.write_bytes(whole)
    assert fresh.set_up()[0] == 0


@needs_venv
@pytest.mark.slow
def test_second_of_two_set_ups_waits(fresh: Clone) -> None:
    both = [fresh.start(), fresh.start()]
    said = [process.communicate(timeout=200)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("; waiting for its end" in text for text in said) == 1
    assert sum("making .venv-py3" in text for text in said) == 1


@needs_venv
@pytest.mark.slow
def test_python_without_venv_uses_virtualenv(fresh: Clone) -> None:
    fresh.lose_venv()
    fresh.command("virtualenv", '[ "$1" = --version ] || exec python3-venv -m venv "${@: -1}"')
    status, said = fresh.set_up()
    assert status == 0 and "with virtualenv" in said, said


@needs_venv
@pytest.mark.slow
def test_python_without_venv_uses_uv_with_pips_settings(fresh: Clone) -> None:
    settings = fresh.root / "settings"
    fresh.lose_venv()
    make, install = 'exec python3-venv -m venv "${@: -1}"', 'exec "$4" -m pip install -q -r requirements.lock'
    fresh.command("uv", f'case $1 in venv) {make} ;; pip) (env && echo "$*") >{settings}; {install} ;; esac')
    status, said = fresh.set_up(PIP_INDEX_URL="file:///index", PIP_EXTRA_INDEX_URL="file:///a file:///b")
    assert status == 0 and "with uv" in said, said
    lines = settings.read_text().splitlines()
    assert {"UV_DEFAULT_INDEX=file:///index", "UV_INDEX=file:///a file:///b"} <= set(lines)
    assert f"UV_FIND_LINKS={fresh.wheels}" in lines and " --no-index " in lines[-1]


def test_python_without_venv_names_the_one_command(clone: Clone) -> None:
    clone.lose_venv()
    clone.command("id", "echo 1000")
    status, said = clone.set_up()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert status == 1 and said.endswith(f"type: sudo apt-get install python{version}-venv\n")
    assert not clone.environments()


def test_root_installs_venv_with_apt(clone: Clone) -> None:
    calls = clone.root / "apt"
    clone.lose_venv()
    clone.command("id", "echo 0")
    clone.command("apt-get", f'echo "$*" >>{calls}')
    status, said = clone.set_up()
    assert status == 1 and "installing python3" in said  # this apt-get installs nothing
    assert re.search(r"^install .*python3\.\d+-venv$", calls.read_text(), re.MULTILINE)


def test_old_python_is_refused(clone: Clone) -> None:
    for name in ["python3", *(f"python3.{minor}" for minor in range(10, 15))]:
        clone.command(name, '[ "$1" = --version ] && echo Python 3.9.2; exit 1')
    status, said = clone.set_up()
    assert status == 1 and "no Python 3.10 to 3.14 here (python3: Python 3.9.2)" in said and "sudo apt-get" in said


def test_small_disk_is_refused_first(clone: Clone) -> None:
    clone.command("df", 'echo "Filesystem 1024-blocks Used Available"; echo "/dev/x 9000000 6000000 3000000 67% /"')
    status, said = clone.set_up()
    assert status == 1 and "has 3 GB free, the environment needs 8 GB" in said
    assert not clone.environments()


@pytest.mark.parametrize("name", ["SV_JOB", "SLURM_JOB_ID", "SGE_TASK_ID"])
def test_job_makes_no_environment(clone: Clone, name: str) -> None:
    status, said = clone.set_up(**{name: "17"})
    assert status == 1 and f"none is made from a job ({name}=17)" in said and said.count("\n") == 1
    assert not clone.environments()


def test_folder_of_another_is_left_alone(clone: Clone) -> None:
    (clone.root / ".venv").mkdir()
    status, said = clone.set_up()
    assert status == 1 and "was not made by this script" in said


@pytest.mark.parametrize("python", ["/nowhere/bin/python3", "no-such-python"])
def test_wrong_sv_python_is_named(clone: Clone, python: str) -> None:
    status, said = clone.set_up(SV_PYTHON=python)
    assert status == 1 and said.startswith(f"path.sh: error: SV_PYTHON={python} is not") and said.count("\n") == 1


def test_sv_python_is_relative_to_where_the_user_stands(clone: Clone) -> None:
    (clone.root.parent / "env").symlink_to(Path(sys.executable).parent)
    script = 'start_dir=$PWD; cd clone; . ./path.sh; echo "$SV_PYTHON"; (cd /; . "$OLDPWD/path.sh"; command -v python3)'
    env = {**clone.env, "SV_PYTHON": "env/python3"}
    said = subprocess.run(["bash", "-c", script], cwd=clone.root.parent, env=env, capture_output=True, text=True)
    assert said.stdout.splitlines() == [f"{clone.root.parent}/env/python3"] * 2, said.stderr


def test_real_lock_pins_all_with_checksums_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert not re.search(r"https?:|file:|^-|@", "\n".join(lines), re.MULTILINE)
    assert "torch==2.11.0" in text and "torchaudio==2.11.0" in text
    for number, line in enumerate(lines):
        if not line.startswith(" "):
            assert "==" in line and "--hash=sha256:" in lines[number + 1], line


def test_real_lock_holds_what_pyproject_asks_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()  # Python 3.10 has nothing that reads TOML
    text = text[text.index("\ndependencies") : text.index("[tool.")]
    asked = set(re.findall(r'^  "([\w-]+)|\["([\w-]+)', text, re.MULTILINE))
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {(one or other).lower().replace("_", "-") for one, other in asked} <= pinned
