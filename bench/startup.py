#!/usr/bin/env python3
"""Count the Python processes of a recipe, and what each imports: a process costs CPU time before it computes anything.

Prints a table with a row a script: processes, how many of them load torch, scipy.stats and matplotlib, and their CPU
seconds. Worker processes that a script forks are not counted.

e.g.: bench/startup.py -- bash egs/mini/run.sh --data /tmp/d --exp-dir /tmp/e --corpora /tmp/c
      bench/startup.py --help-of steps local tools      # CPU seconds of --help of each script
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "scipy.stats", "matplotlib")

# Python runs a sitecustomize.py of PYTHONPATH as it starts; this one reports the process as it ends.
REPORT = f"""
import atexit, json, os, sys
def report():
    used = os.times()
    row = dict(script=os.path.basename(sys.argv[0]), cpu=used.user + used.system,
               loaded=[name for name in {HEAVY!r} if name in sys.modules])
    with open(os.environ["SV_STARTUP_LOG"], "a") as f:
        f.write(json.dumps(row) + "\\n")
atexit.register(report)
"""


def main() -> None:
    """Count the processes of a recipe, or time --help of scripts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--help-of", nargs="+", metavar="DIR", help="time --help of the scripts of these folders")
    parser.add_argument("command", nargs="*", help="command of a recipe, after --")
    args = parser.parse_args()
    if args.help_of:
        time_help(args.help_of)
    elif args.command:
        count_processes(args.command)
    else:
        parser.error("give a command behind --, or --help-of")


def count_processes(command: list[str]) -> None:
    """Run a command and print a row for each script that it started, the most expensive first."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(REPORT)
        log = Path(folder) / "log"
        path = f"{folder}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
        status = subprocess.call(command, env={**os.environ, "PYTHONPATH": path, "SV_STARTUP_LOG": str(log)})
        rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    groups: dict[str, list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        groups[str(row["script"])].append(row)
    print(f"| script | processes | {' | '.join(HEAVY)} | CPU s |\n| --- | ---: |{' ---: |' * len(HEAVY)} ---: |")
    for name, group in sorted(groups.items(), key=lambda item: -_cpu(item[1])):
        print(_row(name, group))
    print(_row("all", rows))
    sys.exit(status)


def _cpu(group: list[dict[str, object]]) -> float:
    return sum(float(str(row["cpu"])) for row in group)


def _row(name: str, group: list[dict[str, object]]) -> str:
    loads = [sum(heavy in str(row["loaded"]) for row in group) for heavy in HEAVY]
    return f"| {name} | {len(group)} | {' | '.join(map(str, loads))} | {_cpu(group):.1f} |"


def time_help(folders: list[str]) -> None:
    """Print the CPU seconds of --help of each Python script, the most expensive first."""
    found = []
    for path in sorted(path for folder in folders for path in (ROOT / folder).glob("*.py")):
        if not os.access(path, os.X_OK):
            continue  # a module
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, path, "--help"], stdout=subprocess.DEVNULL, env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        found.append((seconds, str(path.relative_to(ROOT))))
    print("| script | CPU s of --help |\n| --- | ---: |")
    for seconds, name in sorted(found, reverse=True):
        print(f"| {name} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
