"""Run a small mini recipe stage by stage, kill it again and again, and compare what it leaves with an undisturbed run.

Each kill is a SIGKILL at a seeded random moment of a stage: of all processes of the run (`group`), of the recipe alone
(`recipe`), or of one of its descendants (`worker`). The stage is then started again by the same command, until its
kills are used up, and a last time to its end. The undisturbed run and the disturbed one have to be equal, bit by bit,
in their archives, weights, embeddings, scores and results.

Usage: python3 -m tests.faults.kills [--kills-per-stage 8] [--seed 1] <folder>
"""

import argparse
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.runs import LAST, LIMIT_S, STAGES, Place, Run, command, differences, fingerprint, run_whole

MODES = ("group", "recipe", "worker")


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


def run_killed(place: Place, kills: Callable[[int], int], seed: int) -> tuple[Counter[str], list[str]]:
    """Kill a run where an undisturbed one was made.

    Args:
        kills: of a stage.

    Returns:
        what the kills met, the names of the files and results that differ from the undisturbed ones.
    """
    draw, total = random.Random(seed), Counter[str]()
    place.restore(place.before(0))
    for stage in STAGES if kills(LAST) else STAGES[:-1]:  # the last one makes the report, which is not compared
        counts = disturb(place.run, stage, kills(stage), place.seconds[stage], draw)
        print(f"stage {stage}: {place.seconds[stage]:.1f} s undisturbed; {dict(counts)}", flush=True)
        total += counts
    return total, differences(place.calm, place.run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new, for all runs")
    parser.add_argument("--kills-per-stage", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    place = Place.prepare(args.folder.absolute())
    total, different = run_killed(place, lambda _: args.kills_per_stage, args.seed)
    compared = len(fingerprint(place.calm))
    print(f"in all: {dict(total)}; {compared} files and results compared, {len(different)} differ")
    if different:
        sys.exit("kills.py: error: they differ: " + ", ".join(different[:10]))


if __name__ == "__main__":
    main()
