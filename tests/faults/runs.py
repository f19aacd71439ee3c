"""A small run of the mini recipe, stage by stage: its processes, and all that it leaves."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
STAGES = range(9)
LAST = STAGES[-1]
LIMIT_S = 300.0  # of one stage; longer is a hang
TOKEN = "SV_FAULTS_RUN"  # in the environment of a run, by which its processes are found
OPTIONS = [
    *["--num-epochs", "3", "--top-n", "5", "--lda-dim", "5", "--num-threads", "1"],
    "--set",
    "num_avg=2 dataloader_args.batch_size=16 heldout_speakers=3 model_args.embed_dim=32 save_minutes=0.000001 "
    "model_args.m_channels=4 model_args.feat_dim=40 dataset_args.fbank_args.num_mel_bins=40 "
    "dataset_args.num_frms=80 dataset_args.min_num_frames=80 "
    "eval_epoch_interval=1 margin_update.increase_start_epoch=1 margin_update.fix_start_epoch=2",
]


def command(folder: Path, stage: int, last: int | None = None, *, verify: bool = False) -> list[str]:
    """Return the command of one stage, or of all from it to `last`; stage 0 makes a smaller corpus than the recipe's.

    Args:
        verify: what is there is compared with its checksums.
    """
    options = ["--verify", str(verify).lower()]
    if stage == 0:
        return ["local/make_mini_corpus.py", "--num-train", "12", "--num-test", "6", *options, str(folder / "corpora")]
    words = ["--corpora", folder / "corpora", "--data", folder / "data", "--exp-dir", folder / "exp"]
    stages = ["--stage", str(stage), "--stop-stage", str(last or stage)]
    stages += ["--nj", "2" if stage <= 2 else "1"]  # jobs load torch; archives of features come out as by the first run
    return ["egs/mini/run.sh", *stages, *map(str, words), *options, *OPTIONS]


class Run:
    """A command with all the processes that it starts.

    Args:
        words: the command.
        log: what it says is added to this file.
    """

    def __init__(self, words: list[str], log: Path) -> None:
        self.token = uuid.uuid4().hex
        script = 'cd "$0" && . ./path.sh && exec "$@"'
        with open(log, "a") as out:
            self.process = subprocess.Popen(
                ["bash", "-c", script, str(ROOT), *words],
                env={**os.environ, TOKEN: self.token},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # this may run under nohup
            )

    def processes(self) -> list[int]:
        """All that live, the descendants whose parents have died among them."""
        mark = f"{TOKEN}={self.token}".encode()
        return [pid for pid in _pids() if mark in _environment(pid)]

    def kill(self, mode: str, draw: random.Random) -> None:
        alive = self.processes()
        if mode == "recipe":
            chosen = [self.process.pid]
        elif mode == "worker":
            chosen = [draw.choice([pid for pid in alive if pid != self.process.pid] or [self.process.pid])]
        else:
            chosen = alive
        for pid in chosen:
            _kill(pid)

    def end(self, seconds: float) -> str:
        """Wait for every process; "" or what went wrong, and then they are killed."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            self.process.poll()
            if self.process.returncode is not None and not self.processes():
                return ""
            time.sleep(0.05)
        left = {pid: words_of(pid) for pid in self.processes()}
        for pid in left:
            _kill(pid)
        self.process.wait()
        return f"still at work after {seconds:.0f} s: {left}"


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def words_of(pid: int) -> str:
    """The command line of a process, its beginning."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except OSError:
        return ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def run_whole(folder: Path, stage: int) -> float:
    """Run a stage to its end; seconds."""
    begin = time.monotonic()
    run = Run(command(folder, stage), folder / "log")
    trouble = run.end(LIMIT_S)
    if trouble or run.process.returncode:
        tail = "\n".join((folder / "log").read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(
            f"stage {stage}: {trouble or f'exit status {run.process.returncode}'}; the log ends:\n{tail}"
        )
    return time.monotonic() - begin


@dataclass(frozen=True)
class Place:
    """A folder for runs, with copies of what an undisturbed run left.

    Attributes:
        folder: has `run`, `before/STAGE`, `halfway` (through the training) and `calm` (the end).
        seconds: how long each stage took.
    """

    folder: Path
    seconds: list[float] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """All runs are made in this one place, since some results hold paths."""
        return self.folder / "run"

    @property
    def calm(self) -> Path:
        return self.folder / "calm"

    @classmethod
    def prepare(cls, folder: Path) -> "Place":
        """Run the recipe to its end."""
        place = cls(folder)
        place.run.mkdir(parents=True)
        for stage in STAGES:
            shutil.copytree(place.run, place.before(stage))
            place.seconds.append(run_whole(place.run, stage))
            if stage == 3:
                shutil.copytree(place.run, folder / "trained")
                place.restore(place.before(3))
                place.train_halfway()
                place.run.rename(folder / "halfway")
                (folder / "trained").rename(place.run)
        shutil.copytree(place.run, place.calm)
        return place

    def before(self, stage: int) -> Path:
        return self.folder / "before" / str(stage)

    def train_halfway(self) -> None:
        """Kill the training when it has left two checkpoints."""
        run = Run(command(self.run, 3), self.run / "log")
        wait_until(lambda: len(list(self.run.glob("exp/checkpoints/step_*.pt"))) > 1, run.process)
        run.kill("group", random.Random(0))
        run.end(20.0)

    def restore(self, copy: Path) -> None:
        for path in self.run.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(copy, self.run, dirs_exist_ok=True)

    def go(self, words: Sequence[str]) -> tuple[int, str]:
        """Run a command to its end; its exit status, and what it said.

        Raises:
            RuntimeError: it hangs, or leaves processes.
        """
        log = self.run / "log"
        before = log.stat().st_size if log.exists() else 0
        run = Run(list(words), log)
        if trouble := run.end(LIMIT_S):
            raise RuntimeError(trouble)
        return run.process.returncode, log.read_bytes()[before:].decode(errors="replace")

    def finish(self, first: int, *, verify: bool = False, within: Sequence[str] = ()) -> tuple[int, str]:
        """Run all stages from the first one to the last; the report, which nothing is compared with, if it is near."""
        if first == 0:
            status, said = self.go([*within, *command(self.run, 0, verify=verify)])
            if status:
                return status, said
        last = LAST if first >= LAST - 1 else LAST - 1
        return self.go([*within, *command(self.run, max(first, 1), last, verify=verify)])

    def check_equal(self) -> None:
        if different := differences(self.calm, self.run):
            raise RuntimeError(f"not as undisturbed: {', '.join(different[:10])}")


def fingerprint(folder: Path) -> dict[str, object]:
    """Everything that has to come out equal, by its name in the folder; not what a killed `atomic_write` leaves."""
    found: dict[str, object] = {}
    for pattern in ("corpora/**/*.wav", "data/**/*.ark", "exp/**/*.ark", "exp/**/*.npy", "exp/plda*/*"):
        found |= {_name(path, folder): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}
    for pattern in ("corpora/**/*.txt", "data/*/*", "data/*/trials/*", "exp/scores/*", "exp/*_result", "exp/*.md"):
        for path in folder.glob(pattern):
            if path.is_file() and not (path.name.startswith(".") and path.suffix == ".tmp"):
                found[_name(path, folder)] = path.read_text()
    for path in folder.glob("exp/models/*.pt"):
        state = torch.load(path, map_location="cpu", weights_only=True)
        found[_name(path, folder)] = repr(_plain(state))
    results = json.loads((folder / "exp/results.json").read_text())["results"]
    found["results"] = [
        (trials, backend, key, value)
        for trials, entries in results.items()
        for backend, entry in entries.items()
        for key, value in entry.items()
        if key != "date"
    ]
    return found


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder))


def _plain(state: object) -> object:
    """Tensors as their bytes."""
    if isinstance(state, torch.Tensor):
        return (
            str(state.dtype),
            tuple(state.shape),
            state.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes(),
        )
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state


def differences(one: Path, other: Path) -> list[str]:
    """Names of what is not equal in two finished folders."""
    first, second = fingerprint(one), fingerprint(other)
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
