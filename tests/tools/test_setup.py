"""tools/setup.sh, in a small clone with a lock of small packages: no network, and no torch."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ["path.sh", "pyproject.toml", "tools/setup.sh", "tools/parse_options.sh", "tools/say.sh", "tools/guard.sh"]
NEEDED += ["tools/end_orphans.pl", "tools/check_env.py", "sv/__init__.py", "sv/errors.py"]
VERSIONS = {"torch": "2.11.0", "torchaudio": "2.11.0", "numpy": "2.2", "scipy": "1.15", "soundfile": "0.13"}
VERSIONS |= {"kaldiio": "2.18", "pyyaml": "6.0", "pydantic": "2.10", "tqdm": "4.66"}
TORCH = "class version:\n    cuda = None\ndef ones(*args, **options):\n    raise AssertionError('no CUDA in it')\n"
PYTHON = f'exec "{sys.executable}" "$@"'
DF = r"printf '\n/dev/x 0 0 99999999 0%% /\n'"  # room enough, whatever this disk has
WITHOUT_VENV = f'case "$*" in *ensurepip*) exit 1 ;; *) {PYTHON} ;; esac'
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def needs_venv(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that makes an environment."""
    return pytest.mark.slow(pytest.mark.skipif(not find_spec("ensurepip"), reason="this Python has no ensurepip")(test))


def make_wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel that holds one module; return its line of the lock."""
    module, info = "yaml" if name == "pyyaml" else name, f"{name}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": TORCH if name == "torch" else "",
        f"{module}/seldom.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Clone:
    """A copy of the files that set-up uses, with commands of our own before the system's."""

    def __init__(self, folder: Path, python: str = PYTHON) -> None:
        self.root, self.wheels, self.bin = folder / "clone", folder / "wheels", folder / "bin"
        for file in NEEDED:
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, self.root / file)
        self.wheels.mkdir()
        self.bin.mkdir()
        self.lock = self.root / "requirements.lock"
        self.lock.write_text("".join(make_wheel(self.wheels, *package) for package in VERSIONS.items()))
        for name, code in {"python3": python, "uv": "exit 1", "df": DF}.items():
            self.command(name, code)
        self.env = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder), "PIP_CONFIG_FILE": os.devnull}
        self.env |= {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_NO_COMPILE": "0",
        }

    def command(self, name: str, code: str) -> None:
        (self.bin / name).write_text(f"#!/bin/bash\n{code}\n")
        (self.bin / name).chmod(0o755)

    def start(self, script: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.root,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str = "tools/setup.sh", **env: str) -> tuple[int, str]:
        """Return the exit status and what was said."""
        process = self.start(script, **env)
        said = process.communicate(timeout=200)[0]
        return process.returncode, said

    def environments(self) -> list[Path]:
        return sorted(self.root.glob(".venv-*"))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a clone that was set up."""
    clone = Clone(tmp_path_factory.mktemp("ready"))
    status, said = clone.run()
    assert status == 0, said
    assert "torch 2.11.0, torchaudio 2.11.0, CUDA: no (no CUDA in it; this torch is built for the CPU)" in said
    return clone


@pytest.fixture
def fresh(ready: Clone, tmp_path: Path) -> Clone:
    """Return a clone whose environments take pip from the first one's, which saves most of their time."""
    pip = f'cp -a "{ready.root}"/.venv/lib/python3*/site-packages/pip* "$3"/lib/python3*/site-packages'
    make = f'"{sys.executable}" -m venv --without-pip "$3" && {pip}'
    return Clone(tmp_path, f'case "$*" in "-m venv "*) {make} ;; *) {PYTHON} ;; esac')


@needs_venv
def test_second_run_does_nothing_and_needs_no_network(ready: Clone) -> None:
    before = ready.environments()
    for options in ["--quiet", f"--quiet --python {sys.executable}"]:
        assert ready.run(f"tools/setup.sh {options}", PIP_FIND_LINKS="/nowhere") == (0, "")
    assert ready.environments() == before == [(ready.root / ".venv").resolve()]
    assert list(before[0].glob("lib/python3*/site-packages/torch/__pycache__/seldom.*.pyc"))  # imported by nobody
    assert not (before[0] / "tmp").exists()


@needs_venv
def test_path_sh_uses_the_environment_and_keeps_it(ready: Clone) -> None:
    said = ready.run('. ./path.sh; . ./path.sh; command -v python3; echo "$PATH"; echo "$PYTHONPATH $LC_ALL"')[1]
    env = ready.environments()[0]  # not the link, which a later set-up changes
    path = f"{env}/bin:{ready.root}/tools:{ready.env['PATH']}"
    assert said.splitlines() == [f"{env}/bin/python3", path, f"{ready.root} C"]


@needs_venv
def test_existing_environment_is_checked(ready: Clone, tmp_path: Path) -> None:
    clone, python = Clone(tmp_path), f"{ready.root}/.venv/bin/python3"
    assert clone.run("tools/setup.sh --quiet", SV_PYTHON=python) == (0, "")
    assert "python 3." in clone.run(SV_PYTHON=python)[1]
    for option in ("--torch cpu", "--python python3"):
        status, said = clone.run(f"tools/setup.sh {option}", SV_PYTHON=python)
        assert status == 2 and "SV_PYTHON names another environment; unset it, or leave them out\n" in said, said
    assert not clone.environments()


@needs_venv
def test_changed_lock_makes_another_environment(fresh: Clone) -> None:
    assert fresh.run()[0] == 0
    first = (fresh.root / ".venv").resolve()
    fresh.lock.write_text(fresh.lock.read_text() + make_wheel(fresh.wheels, "added", "1.0"))
    status, said = fresh.run("tools/setup.sh --quiet")
    assert status == 0 and f"rm -rf {first}/\n" in said, said
    assert (fresh.root / ".venv").resolve() != first and first.is_dir()
    assert subprocess.run([fresh.root / ".venv/bin/python3", "-c", "import added"]).returncode == 0


@needs_venv
@pytest.mark.parametrize("moment", [".venv-*", ".venv-*/lib/python*/site-packages/tqdm"])
def test_killed_set_up_starts_over(fresh: Clone, moment: str) -> None:
    process = fresh.start("tools/setup.sh")
    wait_until(lambda: list(fresh.root.glob(moment)), process, pause=0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (fresh.root / ".venv").exists()
    status, said = fresh.run(". ./path.sh")
    assert status == 1 and "run tools/setup.sh" in said
    (fresh.environments()[0] / "left").touch()
    status, said = fresh.run()
    assert status == 0, said
    assert len(fresh.environments()) == 1 and not list(fresh.root.glob(".venv/left"))


@needs_venv
def test_package_of_another_checksum_is_refused(fresh: Clone) -> None:
    with (fresh.wheels / "tqdm-4.66-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"\0")
    status, said = fresh.run()
    assert status == 1 and "THESE PACKAGES DO NOT MATCH THE HASHES" in said
    assert said.endswith("fix that, then run tools/setup.sh again\n") and not (fresh.root / ".venv").exists()


@needs_venv
def test_second_of_two_set_ups_waits(fresh: Clone) -> None:
    both = [fresh.start("tools/setup.sh"), fresh.start("tools/setup.sh")]
    said = "".join(process.communicate(timeout=200)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert said.count("; waiting for its end") == said.count("making .venv-py3") == 1


@needs_venv
def test_python_without_venv_uses_uv(fresh: Clone) -> None:
    shutil.move(fresh.bin / "python3", fresh.bin / "full")
    fresh.command("python3", WITHOUT_VENV)
    install, make = 'exec "$4" -m pip install -q -r requirements.lock', 'exec full -m venv "${@: -1}"'
    fresh.command("uv", f"case $1 in --version) ;; pip) {install} ;; *) {make} ;; esac")
    status, said = fresh.run()
    assert status == 0 and "with uv " in said, said


@pytest.mark.slow
def test_torch_for_the_cpu_takes_uv_and_no_package_of_cuda(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    status, said = clone.run("tools/setup.sh --torch cpu")
    assert status == 1 and said.startswith("setup.sh: error: --torch cpu needs uv") and said.count("\n") == 1
    lock = clone.lock.read_text().splitlines(keepends=True)
    cuda = [
        "cuda-bindings==13.0 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n",
        "nvidia-nccl-cu13==2\n",
        "triton==3\n",
    ]
    clone.lock.write_text("".join([*lock[:1], *cuda, *lock[1:]]))
    env = 'mkdir -p "${@: -1}/bin"; ln -s "$(command -v python3)" "${@: -1}/bin"'
    clone.command("uv", f'case $1 in venv) {env} ;; pip) echo "${{@:6}}"; cat "${{@: -1}}" ;; esac; ')
    said = clone.run("tools/setup.sh --torch cpu")[1].splitlines()
    calls = [number for number, line in enumerate(said) if line.startswith("--compile-bytecode ")]
    assert [said[number].split(" -r")[0] for number in calls] == [
        "--compile-bytecode --torch-backend cpu",
        "--compile-bytecode --require-hashes --no-deps",
    ]
    assert said[calls[0] + 1 : calls[1]] == ["torch==2.11.0", "torchaudio==2.11.0"]
    assert said[calls[1] + 1 : calls[1] + 1 + len(lock) - 2] == [line.strip() for line in lock[2:]]
    link = clone.root / ".venv"
    assert link.readlink().name.endswith("-cpu")
    before = clone.environments()
    clone.run("tools/setup.sh --quiet")  # as a recipe does
    assert clone.environments() == before and link.readlink().name.endswith("-cpu")


def test_root_installs_packages_with_apt(tmp_path: Path) -> None:
    clone = Clone(tmp_path, WITHOUT_VENV)
    clone.command("id", "echo 0")
    clone.command("apt-get", "echo apt-get $* >&2")  # installs nothing
    status, said = clone.run()
    assert status == 1 and f"--no-install-recommends python{VERSION}-venv\n" in said, said


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("mkdir .venv", "was not made by this script"),
        ("df() { printf '\\n/dev/x 9000000 6000000 3000000 67%% /\\n'; }; export -f df", "3 GB free, the environment"),
        ("echo echo 3.9 | tee ../bin/python3{,.1{0..4}} >log; chmod +x ../bin/*", "no Python 3.10 to 3.14 here (tried"),
        ("id() { echo 1000; }; export -f id", f"type: sudo apt-get install python{VERSION}-venv\n"),
        ("export SV_PYTHON=/nowhere/python3", "path.sh: error: SV_PYTHON=/nowhere/python3 is not a python"),
        ("export SV_PYTHON=no-such-python", "path.sh: error: SV_PYTHON=no-such-python is not a python"),
    ],
)  # fmt: skip
def test_refusal_is_one_line(tmp_path: Path, before: str, reason: str) -> None:
    clone = Clone(tmp_path, WITHOUT_VENV)
    status, said = clone.run(f"{before}; tools/setup.sh")
    assert status == 1 and reason in said and said.count("\n") == 1
    assert not clone.environments()


def test_sv_python_is_relative_to_where_the_user_stands(tmp_path: Path) -> None:
    (tmp_path / "env").symlink_to(Path(sys.executable).parent)
    script = (
        "cd ..; start_dir=$PWD; cd clone; . ./path.sh; echo $SV_PYTHON; cd /; . $OLDPWD/path.sh; command -v python3"
    )
    said = Clone(tmp_path).run(script, SV_PYTHON="env/python3")[1]
    assert said.splitlines() == [f"{tmp_path}/env/python3"] * 2


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
