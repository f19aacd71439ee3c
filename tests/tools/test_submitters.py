"""queue.pl and slurm.pl without a scheduler: configurations and calls. With one: tests/cluster."""

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(params=["queue.pl", "slurm.pl"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scheduler(tmp_path: Path) -> Path:
    """Commands that stand for a scheduler's: submission fails, and says with which arguments it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for command in ("submit", "qsub", "sbatch"):
        (folder / command).write_text(f'#!/bin/sh\necho "{command}: $@"\nexit 1\n')
    (folder / "qstat").write_text("#!/bin/sh\necho '<job_info></job_info>'\n")
    (folder / "squeue").write_text("#!/bin/sh\n")
    for path in folder.iterdir():
        path.chmod(0o755)
    return folder


def submit(scheduler: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{scheduler}:{os.environ['PATH']}"
    command = [str(TOOLS / name), *words]
    folder = scheduler.parent
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path})


def submitted_as(scheduler: Path, name: str, config: str, *options: str) -> str:
    """The submission command that options become, without what the submitter adds itself."""
    (scheduler.parent / "x.conf").write_text(config)
    done = submit(scheduler, name, "--config", "x.conf", *options, "x.log", "true")
    assert done.returncode == 1
    return done.stderr.partition("it was: ")[2].partition(" -terse" if name == "queue.pl" else " --parsable")[0]


CONFIG = """
# a comment
command submit --now  # and another
option mem=* -l mem_free=$0,ram_free=$0
option mem=0
option num_threads=* -pe smp $0
option num_threads=1
option my_option=* --comment "two words $0"
default gpu=0
option gpu=0
option gpu=* -l gpu=$0 -q g.q
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "submit --now"),
        ("--mem 4G", "submit --now -l mem_free=4G,ram_free=4G"),
        ("--mem 0 --num-threads 1", "submit --now"),
        ("--num_threads 3 -l arch=*64 -l a=b -pe mpi 2", "submit --now -pe smp 3 -l arch=*64 -l a=b -pe mpi 2"),
        ("--gpu 2", "submit --now -l gpu=2 -q g.q"),
        ("--my-option=x", "submit --now --comment two words x"),
    ],
)
def test_options_become_what_kaldis_configuration_says(scheduler: Path, name: str, options: str, expected: str) -> None:
    assert submitted_as(scheduler, name, CONFIG, *options.split()) == expected


def test_defaults_of_the_submitters_own_options(scheduler: Path) -> None:
    (scheduler.parent / "x.conf").write_text("command submit\ndefault max_jobs_run=3\n")
    said = submit(scheduler, "queue.pl", "--config", "x.conf", "JOB=1:9", "x.JOB.log", "true").stderr
    assert "-t 1-9 -tc 3 run.sh" in said
    said = submit(scheduler, "slurm.pl", "--config", "x.conf", "JOB=2:9", "x.JOB.log", "true").stderr
    assert "--array=1-8%3 run.sh" in said


def test_built_in_configuration_can_be_printed_and_used(scheduler: Path, name: str) -> None:
    printed = submit(scheduler, name, "--print-config").stdout
    expected = {"queue.pl": "qsub -w e -S /bin/bash -l gpu=1 -q g.q", "slurm.pl": "sbatch --export=PATH --ntasks=1"}
    assert submitted_as(scheduler, name, printed, "--gpu", "1").startswith(expected[name])


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ("command a\nresource b\n", "", "x.conf:2: neither `command NAME ...`, `option NAME=VALUE ...` nor "),
        ("command a\noption mem -l x\n", "", "x.conf:2: neither"),
        ('command a "b\n', "", 'x.conf:1: a quote does not end: command a "b'),
        ("option mem=* -l $0\n", "", "x.conf has no line that begins with `command`"),
        (
            "command a\n",
            "--mem 1G",
            "--mem 1G: the configuration has no line `option mem=1G ...` nor `option mem=* ...`",
        ),
        (
            "command a\noption gpu=0\n",
            "--gpu 1",
            "--gpu 1: the configuration has no line `option gpu=1 ...`; known are 0",
        ),
        ("command a\n", "--fancy 1", "unknown option --fancy; known are --mem "),
        ("command a\ndefault max_retries=x\n", "", "--max-retries is a whole number, not 'x'"),
        ("command a\n", "--fs-delay -1", "--fs-delay is a whole number, not '-1'"),
    ],
)
def test_wrong_configurations_and_options(scheduler: Path, name: str, config: str, options: str, message: str) -> None:
    (scheduler.parent / "x.conf").write_text(config)
    done = submit(scheduler, name, "--config", "x.conf", *options.split(), "x.log", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{name}: error: {message}")
    assert done.stderr.count("\n") == 1


def test_configuration_that_is_missing(scheduler: Path, name: str) -> None:
    done = submit(scheduler, name, "--config", "nowhere", "x.log", "true")
    assert (done.returncode, done.stderr) == (
        2,
        f"{name}: error: --config nowhere: cannot read: No such file or directory\n",
    )


def test_no_scheduler_here(scheduler: Path, name: str) -> None:
    (scheduler.parent / "x.conf").write_text("command no-such-command\n")
    done = submit(scheduler, name, "--config", "x.conf", "x.log", "true")
    assert done.returncode == 1
    assert (
        "error: no-such-command refuses the job: cannot run no-such-command: No such file or directory" in done.stderr
    )
    assert not (scheduler.parent / "q" / "x").exists()


def test_usage(scheduler: Path, name: str) -> None:
    done = submit(scheduler, name, "x.log")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Usage: {name} [options] [JOB=1:<n>] <log-file> <command>")
