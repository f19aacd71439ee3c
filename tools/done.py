#!/usr/bin/env python3
"""Check or write the mark of finished work (see sv/jobs/done.py).

Usage: tools/done.py check MARK [--options TEXT] [--inputs FILE ...] [--outputs FILE ...] [--verify true|false]
       tools/done.py write MARK [--options TEXT] [--inputs FILE ...] [--outputs FILE ...]
`check` exits with status 0 if the work is done, else it says why not and exits with status 3.
"""

import argparse
import sys
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step
from sv.jobs.done import DoneMark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["check", "write"], help="check the mark, or write it")
    parser.add_argument("mark", type=Path, help="file of the mark")
    parser.add_argument("--options", default="", help="text of all options that decide the result")
    parser.add_argument("--inputs", nargs="*", type=Path, default=[], help="input files that decide the outputs")
    parser.add_argument("--outputs", nargs="*", type=Path, default=[], help="files that the work made")
    parser.add_argument("--verify", choices=["true", "false"], default="false", help="also compare checksums")
    args = parser.parse_args()
    mark = DoneMark(args.mark, {"options": args.options}, tuple(args.inputs))
    if args.action == "write":
        mark.write(args.outputs)
    elif why := mark.stale(verify=args.verify == "true"):
        print(why, file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    run_step(main)
