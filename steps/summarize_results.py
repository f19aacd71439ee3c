#!/usr/bin/env python3
"""Print a table of the results of one or more experiments, in Markdown.

Reads   <exp-dir>/results.json of each, as steps/compute_metrics.py leaves it
e.g.: steps/summarize_results.py egs/mini/exp/*
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step
from sv.metrics.results import markdown_table, read_results, system_names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dirs", type=Path, nargs="+", metavar="exp-dir", help="folders of systems with results")
    args = parser.parse_args()
    results = [read_results(path / "results.json") for path in args.exp_dirs]
    print(markdown_table(dict(zip(system_names(args.exp_dirs), results, strict=True))), end="")


if __name__ == "__main__":
    run_step(main)
