#!/usr/bin/env python3
"""Make one page with everything known about a system; it needs no network connection.

Reads   <exp-dir>/{results.json,scores,metrics.jsonl,config.yaml}, the same score files that were measured;
        --train-data and --test-data for corpus statistics, --test-data for the map of embeddings and playable errors.
Writes  <exp-dir>/report.html, and its plots as PNG into <exp-dir>/report_plots
e.g.: steps/make_report.py --train-data data/train --test-data data/test exp/x
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step, tell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of a system with results")
    parser.add_argument("--train-data", type=Path, help="data dir of the training")
    parser.add_argument("--test-data", type=Path, help="data dir of the test trials")
    args = parser.parse_args()
    from sv.metrics.comparison import read_scored_system
    from sv.report import write_report

    out = args.exp_dir / "report.html"
    write_report([read_scored_system(args.exp_dir)], out, args.test_data, args.train_data)
    tell("report: %s", out)


if __name__ == "__main__":
    run_step(main)
