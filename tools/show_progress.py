#!/usr/bin/env python3
"""Draw a progress bar of jobs on the terminal, until the input ends; tools/run_parts.sh pipes their messages through.

Reads   the jobs' logs, "7 to do", then "3 of 7 are done" of each part (sv/io/progress.py); standard input
Writes  standard input and the bar to stderr
"""

import argparse
import re
import select
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import _path  # noqa: F401
from tqdm import tqdm

from sv.io.progress import BAR

WAIT_S = 0.5


def read_progress(logs: Iterable[Path], num_jobs: int) -> tuple[int, int]:
    """Return how many items are done, and how many there are; jobs that have not begun count as the others."""
    done, totals = 0, []
    for path in logs:
        text = path.read_text(encoding="utf-8", errors="replace")
        if begun := re.search(r": (\d+) to do$", text, re.MULTILINE):
            totals.append(int(begun[1]))
            parts = [(int(part[1]), int(part[2])) for part in re.finditer(r": (\d+) of (\d+) are done$", text, re.M)]
            done += sum(count for count, total in parts if count == total)  # of parts that are whole
            done += parts[-1][0] if parts and parts[-1][0] < parts[-1][1] else 0
    return done, sum(totals) + (num_jobs - len(totals)) * (sum(totals) // max(1, len(totals)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, help="path of the logs, with JOB for the number in their name")
    parser.add_argument("num_jobs", type=int, help="number of jobs")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the jobs end, and with them the input
    with tqdm(desc=args.logs.name.partition(".")[0], unit="", **BAR) as bar:
        while True:
            if select.select([sys.stdin], [], [], WAIT_S)[0]:
                line = sys.stdin.readline()
                if not line:
                    return
                bar.write(line, file=sys.stderr, end="")
            else:
                found = args.logs.parent.glob(args.logs.name.replace("JOB", "*"))
                done, bar.total = read_progress(found, args.num_jobs)
                if bar.total:
                    bar.update(done - bar.n)


if __name__ == "__main__":
    main()
