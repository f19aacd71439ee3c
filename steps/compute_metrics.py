#!/usr/bin/env python3
"""Measure the score files of an experiment: EER, minDCF and others, in WeSpeaker's format and in one table.

Reads   <exp-dir>/scores/<prefix><trials>.score for each trial list of <trials-dir>
Writes  <exp-dir>/scores/<result>        the printed lines; replaces an earlier file
        <exp-dir>/results.json           numbers, thresholds and origin, an entry for each trial list and back-end;
                                         with --test-data and --trial2cond also for each part of the list
        <exp-dir>/results.md             the same as a table

Scores without labels, "enroll test score", get the labels of their list, which must have the same trials in the same
order. Score files hold five decimals, and the measures are of these rounded scores. Tied scores are accepted or
rejected together. If the speakers are known, results.json and results.md have 95 % intervals over speakers. Memory does
not grow with the length of the files.
e.g.: steps/compute_metrics.py exp/x vox1_cos_result data/vox1/trials vox1_O_cleaned.kaldi vox1_E_cleaned.kaldi
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists
from sv.metrics.measures import MEASURES


def parse() -> argparse.Namespace:
    priors = ", ".join(measure.title for measure in MEASURES if measure.by_prior)
    of_llrs = ", ".join(measure.title for measure in MEASURES if measure.needs_llr)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of the system")
    parser.add_argument("result", help="name of the file with the printed lines, such as vox1_cos_result")
    parser.add_argument("trials_dir", type=Path, help="folder of the trial lists")
    parser.add_argument("trials", nargs="+", help="names of trial lists, such as vox1_O_cleaned.kaldi")
    parser.add_argument("--backend", default="cos", help="name of the back-end in the results")
    parser.add_argument("--prefix", default="", help="prefix of the score files' names, such as vox2_dev_asnorm300_")
    parser.add_argument(
        "--p-target",
        type=float,
        nargs="+",
        default=[0.01, 0.05],
        help=f"priors of {priors}, at costs of 1; other costs are those at c_miss p / (c_miss p + c_fa (1 - p))",
    )
    parser.add_argument("--llr", choices=["true", "false"], default="false", help=f"calibrated scores: {of_llrs}, too")
    parser.add_argument(
        "--test-data",
        type=Path,
        help="data dir of the test trials, to measure also by duration, sex, age and video, if it has them",
    )
    parser.add_argument(
        "--trial2cond",
        type=Path,
        help='file of lines "enroll test condition ...", to measure also by condition; it is held in memory',
    )
    parser.add_argument("--enroll-map", type=Path, help='lines "model utt1 utt2 ...", if the lists name enroll models')
    parser.add_argument(
        "--utt2spk",
        type=Path,
        help="speakers, for the intervals; default: the file beside <trials-dir>, if there is one",
    )
    parser.add_argument(
        "--intervals", choices=["true", "false"], default="true", help="compute intervals, if the speakers are known"
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    lists = ScoredLists(args.exp_dir, [args.trials_dir / name for name in args.trials], args.backend, args.prefix)
    options = MeasureOptions(
        p_targets=args.p_target,
        llr=args.llr == "true",
        test_data=args.test_data,
        trial2cond=args.trial2cond,
        utt2spk=args.utt2spk,
        intervals=args.intervals == "true",
        enroll_map=args.enroll_map,
    )
    print(measure_lists(lists, args.result, options), end="")


if __name__ == "__main__":
    run_step(main)
