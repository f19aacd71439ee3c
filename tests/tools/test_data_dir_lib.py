"""Properties of all data-dir tools: usage, checks of their sources, no overwriting."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.waiting import wait_until

TOOLS = Path(__file__).resolve().parents[2] / "tools"
Snapshot = Callable[[Path], dict[str, bytes]]
Say = Callable[..., str]

TARGETS: dict[str, list[object]] = {
    "subset_data_dir.sh": ["nowhere", 2, "new"],
    "copy_data_dir.sh": ["nowhere", "new"],
    "combine_data.sh": ["new", "nowhere"],
    "split_data.sh": ["nowhere", 2],
    "perturb_data_dir_speed.sh": [0.9, "nowhere", "new"],
    "fix_data_dir.sh": ["nowhere"],
}


@pytest.mark.parametrize("name", TARGETS)
def test_wrong_calls(tmp_path: Path, name: str, tool: Callable[..., CompletedProcess[str]], error: Say) -> None:
    done = tool(name)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Usage: tools/{name} ")
    assert f"e.g.: tools/{name} " in done.stderr
    assert error(name, *"abcd"[: 1 if name != "fix_data_dir.sh" else 2], status=2) == (
        f"{name}: error: wrong number of arguments: {2 if name == 'fix_data_dir.sh' else 1}"
    )
    assert error(name, "--unknown", "x", status=2).startswith(f"{name}: error: unknown option --unknown")
    message = error(name, *TARGETS[name])
    assert message == f"{name}: error: nowhere is not a data dir; prepare it first (stage 1)\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "fix_data_dir.sh"])
def test_sources_are_checked_first(data_dir: Path, name: str, error: Say, snapshot: Snapshot) -> None:
    (data_dir / "utt2spk").write_text("b s1\na s1\n")
    before = snapshot(data_dir)
    words = ["data" if word == "nowhere" else word for word in TARGETS[name]]
    message = error(name, *words)
    assert message.startswith("validate_data_dir.sh: error: data/utt2spk:2: not sorted: a comes after b")
    assert not (data_dir.parent / "new").exists()
    assert snapshot(data_dir) == before


@pytest.mark.parametrize("name", ["subset_data_dir.sh", "copy_data_dir.sh", "combine_data.sh"])
def test_source_is_not_overwritten(data_dir: Path, name: str, error: Say) -> None:
    words = ["data" if word in ("nowhere", "new") else word for word in TARGETS[name]]
    message = error(name, *words)
    assert message == f"{name}: error: data is both source and destination; name another destination\n"


SECOND_SORT_HANGS = f"""#!/bin/sh
if [ -e "$MARK.first" ]; then
  touch "$MARK"
  exec sleep 300
fi
touch "$MARK.first"
exec {shutil.which("sort")} "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_killed_run_leaves_nothing_half_done(data_dir: Path, ok: Say, snapshot: Snapshot, name: str) -> None:
    folder = data_dir.parent
    (folder / "bin").mkdir()
    (folder / "bin/sort").write_text(SECOND_SORT_HANGS)  # the first is of the check of the source
    (folder / "bin/sort").chmod(0o755)
    ok("copy_data_dir.sh", "data", "new")
    before = snapshot(folder / "new")
    mark = folder / "sorting"
    process = subprocess.Popen(
        [TOOLS / "perturb_data_dir_speed.sh", "0.9", "data", "new"],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "MARK": str(mark)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until(mark.exists, process)
    assert list((folder / "new").glob(".work*"))
    os.killpg(process.pid, signal.Signals[name])
    assert process.wait(timeout=30) != 0
    assert {k: v for k, v in snapshot(folder / "new").items() if ".work" not in k} == before
    ok("copy_data_dir.sh", "data", "new")
    assert snapshot(folder / "new") == before
    assert not list((folder / "new").glob(".work*"))
