#!/usr/bin/env python3
"""Compare systems on the same trials: tables, paired tests of the first system against each other one, and a report.

Reads   <exp-dir>/{results.json,scores,...} of each; --test-data: its utt2spk, for the tests over speakers.
Writes  tables for RESULTS.md on stdout: EERs, a row for each system; all measures; the tests
        with --report FILE, one page with all systems

Systems that differ in their seed alone (NAME-seed1, NAME-seed2, ...) are tested as one, by their means; a further table
has means and standard deviations. The intervals of tests are over speakers. They do not include that other seeds would
have other means.

A test leaves out the same speakers for both systems, so their score files must be over the same trials. The files are
read together; for each pair of files at most a million trials of each kind are held. Lists with too few speakers are
not tested, and a line says so. Nothing is printed before everything is checked. Systems are named by their folders:
exp/a/round1 and exp/b/round1 are a/round1 and b/round1.
e.g.: steps/compare.py --test-data data/test --report compare.html exp/a exp/b
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step
from sv.io import DataDir
from sv.metrics.comparison import check_same_lists, paired_tests, read_scored_system
from sv.metrics.results import markdown_table, system_names
from sv.metrics.seeds import eer_table, means_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "exp_dirs",
        type=Path,
        nargs="+",
        metavar="exp-dir",
        help="folders of the systems; the others are tested against the first",
    )
    parser.add_argument("--test-data", type=Path, help="data dir of the test trials")
    parser.add_argument("--report", type=Path, help="page to write")
    args = parser.parse_args()
    if len(args.exp_dirs) < 2:
        parser.error("give two or more folders")
    systems = [read_scored_system(*one) for one in zip(args.exp_dirs, system_names(args.exp_dirs), strict=True)]
    check_same_lists(systems)
    tests = paired_tests(systems, DataDir(args.test_data)) if args.test_data else ""
    if args.report:
        from sv.report import write_report

        write_report(systems, args.report, args.test_data)
    results = {system.name: system.results for system in systems}
    print(*filter(None, [eer_table(results), markdown_table(results), means_table(results), tests]), sep="\n", end="")


if __name__ == "__main__":
    run_step(main)
