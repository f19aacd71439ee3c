#!/usr/bin/env python3
"""Print tables of experiments in rounds (steps/train_half_labelled.sh), in Markdown.

Reads   rounds.json of each <exp-dir>, and results.json of its best round; folders are named <row>-seed<N>
Prints  cosine EER of the best round, the share of the oracle's gain over the baseline that is recovered, and means over
        seeds; the clusters of each round; with --against paired tests of that row against the others of its folder and
        seed

e.g.: steps/summarize_rounds.py exp/semi/40/*
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import WrongCall, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "exp_dirs", type=Path, nargs="+", metavar="exp-dir", help="folders of experiments, named <row>-seed<N>"
    )
    parser.add_argument("--baseline", default="labelled-C", help="row with a gain of 0")
    parser.add_argument("--oracle", default="oracle-C", help="row with the full gain")
    parser.add_argument("--against", default="", help="row that is compared with the others")
    parser.add_argument("--test-data", type=Path, help="data dir of the test trials, for the tests")
    args = parser.parse_args()
    if args.against and not args.test_data:
        raise WrongCall("--against takes --test-data DIR, whose utt2spk names the speakers")
    from sv.clustering.summary import Experiment, paired_rows, results_table, rounds_table

    found = [Experiment.read(path) for path in args.exp_dirs]
    print(results_table(found, args.baseline, args.oracle))
    print(rounds_table(found))
    if args.against:
        print(paired_rows(found, args.against, args.test_data), end="")


if __name__ == "__main__":
    run_step(main)
