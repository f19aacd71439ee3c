#!/usr/bin/env python3
"""Compare systems on the same trials: one table, paired tests of the first against each other one, one report.

Reads   <exp-dir>/{results.json,scores,...} of each; --test-data: its utt2spk, for the tests over speakers.
Writes  rows for RESULTS.md on stdout; with --report FILE, one page with all systems.

A test draws the same speakers for both systems, whose score files must be over the same trials.
e.g.: steps/compare.py --test-data data/test --report compare.html exp/a exp/b
"""

import argparse
from itertools import chain
from pathlib import Path

from sv.errors import UserError, run_step
from sv.io import DataDir, check_same_trials, read_scored_trials
from sv.report import write_report
from sv.report.gather import ScoreSet, System, read_system
from sv.scoring.results import markdown_table
from sv.scoring.significance import Difference, compare
from sv.scoring.trial_speakers import Speakers


def differences(first: ScoreSet, second: ScoreSet, data: DataDir) -> list[Difference]:
    one, other = read_scored_trials(first.path), read_scored_trials(second.path)
    check_same_trials(one, other)
    speakers = Speakers(data.utt2spk, data.path / "utt2spk")
    return compare(speakers.trials(one), speakers.trials(other))


def print_tests(systems: list[System], data: DataDir) -> None:
    """A row for each measure of each list and back-end that the first system shares with another."""
    print("\n| trials | back-end | measure | first | second | difference [95 %] | p |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for first in systems[0].scores:
        for second in chain.from_iterable(system.scores for system in systems[1:]):
            if (first.trials, first.backend) != (second.trials, second.backend):
                continue
            for d in differences(first, second, data):
                where = f"{first.trials.removesuffix('.kaldi')} | {first.backend}: {first.system}, {second.system}"
                gap = f"{d.second - d.first:+.3f} [{d.interval[0]:+.3f}, {d.interval[1]:+.3f}]"
                p_value = f"{d.p_value:.3f}" if d.p_value >= 0.001 else "< 0.001"
                print(f"| {where} | {d.name} | {d.first:.3f} | {d.second:.3f} | {gap} | {p_value} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dirs", type=Path, nargs="+", metavar="exp-dir")
    parser.add_argument("--test-data", type=Path, help="data dir of the test trials")
    parser.add_argument("--report", type=Path, help="page to write")
    args = parser.parse_args()
    if len({path.name for path in args.exp_dirs}) < max(2, len(args.exp_dirs)):
        raise UserError("give two or more folders, of different names")
    systems = [read_system(path, args.test_data.name if args.test_data else "") for path in args.exp_dirs]
    print(markdown_table({system.name: system.results for system in systems}), end="")
    if args.test_data:
        print_tests(systems, DataDir(args.test_data))
    if args.report:
        write_report(systems, args.report, args.test_data)


if __name__ == "__main__":
    run_step(main)
