"""Do harm to a small run of the mini recipe, go on by the same command, and see that the harm is mended or told.

Faults, each at a seeded random place:

truncate, flip   a file that a stage left loses its end, or a bit of it changes; the recipe goes on from that stage with
                 `--verify true`
checkpoint       the same of the newest checkpoint of a training that was killed
deny             a file that a stage left may not be read; the recipe goes on from the next stage
hang             a process of a running stage stops for good, but not the one that ends what a dead recipe leaves; the
                 recipe is ended by SIGTERM or SIGHUP (bash waits for its child before it obeys a SIGINT)
full             the disk has no room for what a stage writes (a tmpfs, which takes root)

The run has to end equal to an undisturbed one, bit by bit (`equal`), or to stop with a line that names the file or the
disk (`told`); when the file is put back or there is room again, the same command has to end equal. Anything else is
an error: a result that differs, a traceback, a process that stays.

Usage: python3 -m tests.faults.damage [--faults 20] [--seed 1] [--kinds truncate,flip,...] <folder>
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.faults.runs import LAST, STAGES, Place, Run, command, words_of

LEFT = {  # files that a stage leaves and that later ones read
    0: ("corpora/**/*.wav", "corpora/**/*.txt"),
    1: ("data/*/wav.scp", "data/*/utt2spk", "data/*/spk2utt", "data/*/trials/*"),
    2: ("data/**/*.ark", "data/**/*.scp", "data/*/utt2num_frames", "data/*/utt2dur", "data/**/.done.*"),
    3: ("exp/models/model_*.pt", "exp/config.yaml", "exp/heldout_spk"),
    4: ("exp/models/avg_model.pt", "exp/embeddings/**/*.ark", "exp/embeddings/**/*.scp", "exp/embeddings/**/*.npy"),
    5: ("exp/scores/*.score", "exp/results.json"),
    6: ("exp/embeddings/*/spk_xvector.*", "exp/scores/vox2_dev_asnorm*"),
    7: ("exp/plda/*", "exp/scores/*plda*", "exp/scores/fused*", "exp/calibration/*"),
}
PLAIN_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # root, whom permissions bind


def judge(place: Place, status: int, said: str, names: Sequence[str], mend: Callable[[], tuple[int, str]]) -> str:
    """Judge whether a run that met a fault has ended as it must.

    Args:
        status, said: of the run.
        names: of which one stands in the line that tells of it.
        mend: takes the fault away and runs the same command again.

    Returns:
        "equal", or "told: LINE".
    """
    if status == 0:
        place.check_equal()
        return "equal"
    errors = [line for line in said.splitlines() if re.search(r"\berror:", line)]
    told = [line for line in errors if any(name in line for name in names)]
    if not told or "Traceback" in said:
        raise RuntimeError(f"status {status}, and nothing that names {' or '.join(names)}:\n{said[-3000:]}")
    status, said = mend()
    if status:
        raise RuntimeError(f"mended, but: {said[-3000:]}")
    place.check_equal()
    return f"told: {told[0].strip()}"


def draw_file(folder: Path, stages: Sequence[int], draw: random.Random) -> tuple[int, Path]:
    """A file that a stage has left, and the stage."""
    stage = draw.choice(stages)
    patterns = [sorted(path for path in folder.glob(pattern) if path.is_file()) for pattern in LEFT[stage]]
    return stage, draw.choice(draw.choice([paths for paths in patterns if paths]))


def spoil(path: Path, kind: str, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if kind == "truncate":
        del content[draw.randrange(len(content)) :]
    else:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def damage(place: Place, kind: str, draw: random.Random) -> tuple[str, str]:
    place.restore(place.calm)
    stage, path = draw_file(place.run, [*LEFT], draw)
    whole = path.read_bytes()
    spoil(path, kind, draw)

    def mend() -> tuple[int, str]:
        path.write_bytes(whole)
        return place.finish(stage, verify=True)

    where = f"stage {stage}, {path.relative_to(place.run)}"
    return where, judge(place, *place.finish(stage, verify=True), [path.name], mend)


def damage_checkpoint(place: Place, draw: random.Random) -> tuple[str, str]:
    """One before it has to be taken, so nothing is told."""
    place.restore(place.folder / "halfway")
    kind = draw.choice(["truncate", "flip"])
    path = max(place.run.glob("exp/checkpoints/step_*.pt"))
    spoil(path, kind, draw)
    status, said = place.finish(3)
    if status or path.name not in said:
        raise RuntimeError(f"status {status}, {path.name} not told of or not survived:\n{said[-3000:]}")
    place.check_equal()
    return f"{kind}, {path.name}", "equal"


def deny(place: Place, draw: random.Random) -> tuple[str, str]:
    stage = draw.choice([stage for stage in LEFT if stage < LAST])
    place.restore(place.before(stage + 1))
    _, path = draw_file(place.run, [stage], draw)
    mode = path.stat().st_mode
    path.chmod(0)

    def mend() -> tuple[int, str]:
        path.chmod(mode)
        return place.finish(stage + 1)

    bound = PLAIN_USER if os.getuid() == 0 else []
    outcome = judge(place, *place.finish(stage + 1, within=bound), [path.name], mend)
    return f"stage {stage + 1}, {path.relative_to(place.run)}", outcome


def hang(place: Place, draw: random.Random) -> tuple[str, str]:
    stage = draw.choice(STAGES[1:])
    place.restore(place.before(stage))
    run = Run(command(place.run, stage, LAST), place.run / "log")
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.process.wait(draw.uniform(0.5, 6))
    while not (workers := workers_of(run)) and run.process.poll() is None:  # a busy machine starts them late
        time.sleep(0.1)
    name = draw.choice(["SIGTERM", "SIGHUP"])
    if workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(draw.choice(workers), signal.SIGSTOP)
        time.sleep(0.5)
        run.process.send_signal(signal.Signals[name])
    if trouble := run.end(30.0):
        raise RuntimeError(f"stage {stage}, a process stopped, then {name}: {trouble}")
    status, said = place.finish(stage)
    if status:
        raise RuntimeError(f"stage {stage}, begun again after {name}: {said[-3000:]}")
    place.check_equal()
    return f"stage {stage}, {name}", "equal"


def workers_of(run: Run) -> list[int]:
    """Return the processes that a recipe has started, except the one that ends those of a dead recipe."""
    return [pid for pid in run.processes() if pid != run.process.pid and "end_orphans.pl" not in words_of(pid)]


def fill(place: Place, draw: random.Random) -> tuple[str, str]:
    stage = draw.choice(STAGES[1:])
    after = place.before(stage + 1) if stage < LAST else place.calm
    grows = size_of(after) - size_of(place.before(stage))
    with disk(place.run) as set_size:
        place.restore(place.before(stage))
        set_size(used(place.run) + int(draw.uniform(0, 0.7) * grows))

        def mend() -> tuple[int, str]:
            set_size(1 << 30)
            return place.finish(stage)

        outcome = judge(place, *place.finish(stage), ["No space left on device", "are free; free some"], mend)
    return f"stage {stage}", outcome


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def used(folder: Path) -> int:
    usage = shutil.disk_usage(folder)
    return usage.total - usage.free


def resize(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Callable[[int], None]]:
    """A disk of its own for a folder; gives what changes its size in bytes."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={1 << 30}", "tmpfs", folder], check=True)
    try:
        yield partial(resize, folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def may_mount(folder: Path) -> bool:
    """Try whether a disk can be made here."""
    try:
        with disk(folder):
            return True
    except (FileNotFoundError, subprocess.CalledProcessError):
        return False


KINDS: dict[str, Callable[[Place, random.Random], tuple[str, str]]] = {
    "truncate": lambda place, draw: damage(place, "truncate", draw),
    "flip": lambda place, draw: damage(place, "flip", draw),
    "checkpoint": damage_checkpoint,
    "deny": deny,
    "hang": hang,
    "full": fill,
}


def harm(place: Place, kinds: Sequence[str], faults: int, draw: random.Random) -> Counter[str]:
    """So many faults of each kind; how often they had which outcome."""
    counts: Counter[str] = Counter()
    for kind in kinds:
        for _ in range(faults):
            where, outcome = KINDS[kind](place, draw)
            print(f"{kind}: {where}: {outcome}", flush=True)
            counts[f"{kind}: {outcome.partition(':')[0]}"] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new, for all runs")
    parser.add_argument("--faults", type=int, default=20, help="of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    place = Place.prepare(args.folder.absolute())
    counts = harm(place, args.kinds.split(","), args.faults, random.Random(args.seed))
    print("in all:", ", ".join(f"{number} {what}" for what, number in sorted(counts.items())))


if __name__ == "__main__":
    main()
