#!/usr/bin/env python3
"""Run a small mini recipe stage by stage, kill it again and again, and compare what it leaves with an undisturbed run.

Each kill is a SIGKILL at a seeded random moment of a stage: of all processes of the run (`group`), of the recipe alone
(`recipe`), or of one of its descendants (`worker`). The stage is then started again by the same command, until its
kills are used up, and a last time to its end. The undisturbed run and the disturbed one have to be equal, bit by bit,
in their archives, weights, embeddings, scores and results.

Usage: tests/faults/kills.py [--kills-per-stage 8] [--seed 1] <folder>
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
MODES = ("group", "recipe", "worker")
STAGES = range(9)
LIMIT_S = 600.0  # of one stage; longer is a hang
TOKEN = "SV_FAULTS_RUN"  # in the environment of a run, by which its processes are found
OPTIONS = [
    *["--num-epochs", "3", "--num-avg", "2", "--batch-size", "16", "--heldout-speakers", "3", "--top-n", "5"],
    *["--lda-dim", "5", "--num-threads", "1"],
    "--set",
    "model_args.embed_dim=32 dataset_args.num_frms=80 dataset_args.min_num_frames=80 save_minutes=0.01 "
    "eval_epoch_interval=1 margin_update.increase_start_epoch=1 margin_update.fix_start_epoch=2",
]


def command(folder: Path, stage: int) -> list[str]:
    """What runs one stage; the corpus is smaller than the recipe's own."""
    if stage == 0:
        return ["local/make_mini_corpus.py", "--num-train", "12", "--num-test", "6", str(folder / "corpora")]
    words = ["--corpora", folder / "corpora", "--data", folder / "data", "--exp-dir", folder / "exp"]
    return ["egs/mini/run.sh", "--stage", str(stage), "--stop-stage", str(stage), *map(str, words), *OPTIONS]


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
        left = {pid: _words(pid) for pid in self.processes()}
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


def _words(pid: int) -> str:
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


def disturb(folder: Path, stage: int, kills: int, seconds: float, draw: random.Random) -> Counter[str]:
    """Kill a stage again and again, then run it to its end.

    Args:
        seconds: how long it takes undisturbed; a kill comes within its first half, for what is done is not done again.

    Returns:
        how often each way of killing met a running stage, "ended before" where none did, and "left processes".

    Raises:
        RuntimeError: processes that stay, or the last run fails.
    """
    counts: Counter[str] = Counter()
    for _ in range(kills):
        mode = draw.choice(MODES)
        run = Run(command(folder, stage), folder / "log")
        try:
            run.process.wait(draw.uniform(0.02, 0.5) * seconds)
            counts["ended before"] += 1
        except subprocess.TimeoutExpired:
            counts[mode] += 1
            run.kill(mode, draw)
        trouble = run.end(LIMIT_S if mode == "worker" else 20.0)
        if trouble:
            raise RuntimeError(f"stage {stage}, killed {mode}: {trouble}")
    run_whole(folder, stage)
    return counts


def fingerprint(folder: Path) -> dict[str, object]:
    """Everything that has to come out equal, by its name in the folder."""
    found: dict[str, object] = {}
    for pattern in ("corpora/**/*.wav", "data/**/*.ark", "exp/**/*.ark", "exp/**/*.npy", "exp/plda*/*"):
        found |= {_name(path, folder): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}
    for pattern in ("corpora/**/*.txt", "data/*/*", "data/*/trials/*", "exp/scores/*", "exp/*_result", "exp/*.md"):
        for path in folder.glob(pattern):
            if path.is_file():
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


def run_both(folder: Path, kills: Callable[[int], int], seed: int) -> tuple[Counter[str], int, list[str]]:
    """An undisturbed run and one that is killed.

    Args:
        folder: new.
        kills: of a stage.

    Returns:
        what the kills met, how many files and results were compared, the names of those that differ.
    """
    draw, here, calm = random.Random(seed), folder / "run", folder / "calm"  # both run in one place: paths are kept
    here.mkdir(parents=True)
    seconds = [run_whole(here, stage) for stage in STAGES]
    here.rename(calm)
    here.mkdir()
    total: Counter[str] = Counter()
    for stage in STAGES:
        counts = disturb(here, stage, kills(stage), seconds[stage], draw)
        print(f"stage {stage}: {seconds[stage]:.1f} s undisturbed; {dict(counts)}", flush=True)
        total += counts
    return total, len(fingerprint(calm)), differences(calm, here)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new, for both runs")
    parser.add_argument("--kills-per-stage", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    total, compared, different = run_both(args.folder.absolute(), lambda _: args.kills_per_stage, args.seed)
    print(f"in all: {dict(total)}; {compared} files and results compared, {len(different)} differ")
    if different:
        sys.exit("kills.py: error: they differ: " + ", ".join(different[:10]))


if __name__ == "__main__":
    main()
