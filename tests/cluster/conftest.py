"""A real Grid Engine and a real Slurm, started for the tests and stopped after them (gridengine.sh, slurm.sh)."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[1] / "tools"
PACKAGES = {"gridengine": "gridengine-exec", "slurm": "slurmctld"}


@dataclass(frozen=True)
class Cluster:
    """A scheduler that runs.

    Attributes:
        name: gridengine or slurm.
        submitter: queue.pl or slurm.pl.
    """

    name: str
    submitter: Path

    def command(self, *words: object) -> list[str]:
        return [str(word) for word in (self.submitter, *words)]

    def submit(self, folder: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the submitter in a folder, and return it with its output."""
        environment = {**os.environ, **env}
        return subprocess.run(
            self.command(*words), cwd=folder, capture_output=True, text=True, timeout=120, env=environment
        )

    def jobs(self) -> list[str]:
        """Lines of all jobs in the queue."""
        command = ["qstat", "-u", "*"] if self.name == "gridengine" else ["squeue", "-h"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def script(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([HERE / f"{self.name}.sh", action], capture_output=True, text=True, timeout=250)


def start(cluster: Cluster) -> None:
    """Start a scheduler, or skip the tests that need it and say why."""
    if cluster.script("status").returncode == 0:
        return
    if os.geteuid() != 0:
        pytest.skip(f"{cluster.name} does not run, and only root can start it: tests/cluster/{cluster.name}.sh start")
    query = ["dpkg-query", "-W", "-f=${db:Status-Status}", PACKAGES[cluster.name]]
    try:
        installed = subprocess.run(query, capture_output=True, text=True).stdout == "installed"
    except FileNotFoundError:
        pytest.skip(f"{cluster.name}: its packages are Debian's, and there is no dpkg here")
    if not installed:
        pytest.skip(f"{cluster.name} is not installed; type: tests/cluster/{cluster.name}.sh install")
    started = cluster.script("start")
    assert started.returncode == 0, started.stderr
    mark(cluster).touch()


def mark(cluster: Cluster) -> Path:
    """Exists while a scheduler runs that a test has started."""
    return Path(tempfile.gettempdir()) / f"sv-{cluster.name}-started-by-tests"


def stop_unused(cluster: Cluster, lock: TextIO) -> None:
    """Stop a scheduler that tests have started, and its jobs, unless a process that tests holds its lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if mark(cluster).exists():
        mark(cluster).unlink()
        stopped = cluster.script("stop")
        assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="session")
def start_cluster() -> Iterator[Callable[[str], Cluster]]:
    """Start a scheduler by name; stopped at the end, by the last of the processes that test."""
    users: dict[Cluster, TextIO] = {}

    def start_one(name: str) -> Cluster:
        cluster = Cluster(name, TOOLS / {"gridengine": "queue.pl", "slurm": "slurm.pl"}[name])
        if cluster not in users:
            lock = open(mark(cluster).with_suffix(".users"), "w")  # noqa: SIM115
            stop_unused(cluster, lock)  # tests that were killed have left it, with jobs
            fcntl.flock(lock, fcntl.LOCK_SH)
            users[cluster] = lock
            start(cluster)
        return cluster

    yield start_one
    for cluster, lock in users.items():
        with lock:
            stop_unused(cluster, lock)


@pytest.fixture(params=["gridengine", "slurm"])
def cluster(request: pytest.FixtureRequest, start_cluster: Callable[[str], Cluster]) -> Cluster:
    return start_cluster(request.param)
