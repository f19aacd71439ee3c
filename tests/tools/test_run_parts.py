"""tools/run_parts.sh: begin, the jobs, join; with the options that a script sets."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Call = Callable[..., tuple[subprocess.CompletedProcess[str], list[str]]]

STEP = """#!/usr/bin/env bash
echo "$@" >>calls
if [ "$1" = "$FAILS" ]; then exit 1; fi
if [ "$1" = begin ]; then echo "$PLAN"; fi
"""
SCRIPT = """#!/usr/bin/env bash
# Usage: script.sh
set -euo pipefail
nj=3
cmd="run.pl --max-retries 0"
say() { echo "$@" >&2; }
. "$ROOT/tools/run_parts.sh"
before_jobs=(touch before)
begin_options=(--gpus none)
run_parts "${LOGS:-log}/x.JOB.log" ./step "${DATA:-data}" --gpus auto
echo "$num_jobs jobs"
"""


@pytest.fixture
def call(run: Run, root: Path, tmp_path: Path) -> Call:
    for name, text in (("step", STEP), ("script.sh", SCRIPT)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def call(
        plan: str, fails: str = "", data: str = "data", logs: str = "log"
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        env = {"PLAN": plan, "FAILS": fails, "ROOT": str(root), "DATA": data, "LOGS": logs}
        done = run("./script.sh", cwd=tmp_path, env=env)
        return done, (tmp_path / "calls").read_text().splitlines()

    return call


def test_begin_the_jobs_and_join(call: Call, tmp_path: Path) -> None:
    done, calls = call("2 --max-jobs-run 1")
    assert done.returncode == 0 and done.stdout == "2 jobs\n" and (tmp_path / "before").exists()
    assert done.stderr == "2 job(s), logs: log/x.JOB.log\n"
    assert calls == [
        "begin data --gpus auto --num-parts 3 --gpus none",
        "part data --gpus auto --part 1 --num-parts 2",
        "part data --gpus auto --part 2 --num-parts 2",
        "join data --gpus auto --num-parts 2",
    ]


def test_a_path_may_contain_the_name_of_the_job_number(call: Call, tmp_path: Path) -> None:
    done, calls = call("1", data="JOB7", logs="JOB7/_JOB")
    assert done.returncode == 0, done.stderr
    assert calls[1] == "part JOB7 --gpus auto --part 1 --num-parts 1"
    assert [path.name for path in (tmp_path / "JOB7/_JOB").iterdir()] == ["x.1.log"]


def test_one_process_where_all_is_done(call: Call, tmp_path: Path) -> None:
    done, calls = call("0")
    assert done.returncode == 0 and done.stdout == "0 jobs\n" and len(calls) == 1 and not (tmp_path / "before").exists()


@pytest.mark.parametrize(("fails", "count"), [("begin", 1), ("part", 2), ("join", 3)])
def test_a_failure_ends_it(call: Call, fails: str, count: int) -> None:
    done, calls = call("1", fails)
    assert done.returncode != 0 and not done.stdout and len(calls) == count


@pytest.mark.slow
def test_on_a_terminal_a_failure_is_told_and_ends_it(call: Call, tmp_path: Path, root: Path) -> None:
    call("1")  # makes the script
    command = f"cd '{root}' && . ./path.sh && ln -sf '{root}/tools' '{tmp_path}' && cd '{tmp_path}' && ./script.sh"
    words = ["script", "-qec", command, "/dev/null"]
    env = {**os.environ, "PLAN": "1", "FAILS": "part", "ROOT": str(root)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "run.pl: error: 1 of 1 job failed" in done.stdout and "jobs" not in done.stdout
