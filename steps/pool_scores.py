#!/usr/bin/env python3
"""Measure the scores of the folds of a cross-validation as one list: as they are, calibrated, and fused.

Reads   <fold-exp>/{results.json,scores} of each fold
        <trials-dir>: the trial lists of all folds, joined in their order, and utt2spk beside it (local/make_folds.sh)
Writes  <exp-dir>/{results.json,results.md,scores}, which steps/compare.py takes: every list and back-end that all folds
        have, as cos and cos_cali, and fused

The scores of a fold are calibrated, and fused, on those of all other folds (cross-fitting). Compare these: raw scores
of two networks need not have the same threshold.
e.g.: steps/pool_scores.py data/folds/pooled/trials exp/pooled/x exp/fold1/x exp/fold2/x
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import check_probability, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials_dir", type=Path, metavar="trials-dir", help="folder of the joined trial lists")
    parser.add_argument("exp_dir", type=Path, metavar="exp-dir", help="folder to write")
    parser.add_argument("folds", type=Path, nargs="+", metavar="fold-exp", help="folders of the systems of the folds")
    parser.add_argument("--p-target", type=float, default=0.05, help="prior that the calibration is optimized for")
    parser.add_argument("--enroll-map", type=Path, help='lines "model utt1 utt2 ..." of all folds; see score_trials.py')
    args = parser.parse_args()
    check_probability("--p-target", args.p_target)
    from sv.scoring.pooling import pool_scores

    more = {"p_target": args.p_target, "enroll_map": args.enroll_map}
    print(pool_scores(args.exp_dir, args.folds, args.trials_dir, **more), end="")


if __name__ == "__main__":
    run_step(main)
