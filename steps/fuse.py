#!/usr/bin/env python3
"""Fuse the scores of several systems into log-likelihood ratios, by logistic regression on held-out training speakers.

Reads   --heldout: score files of the held-out speakers' trials, one for each system
        --scores: score files of the test trials, the systems in the same order
        All files of --heldout are over the same trials, and so are all files of --scores.
Writes  <out>             "enroll test llr target|nontarget", for compute_metrics.py --llr true
        <out>.json        weights

No weight is below 0. The systems must have the same held-out speakers: the same seed and number. Memory does not grow
with the number of test trials.
e.g.: steps/fuse.py --heldout exp/{a,b}/scores/heldout.kaldi.score --scores exp/{a,b}/scores/O.kaldi.score \\
        -- exp/fused/scores/O.kaldi.score
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import check_probability, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--heldout",
        type=Path,
        nargs="+",
        required=True,
        metavar="SCORES",
        help="score files of trials of held-out speakers, one for each system",
    )
    parser.add_argument(
        "--scores", type=Path, nargs="+", required=True, metavar="SCORES", help="score files to fuse, in the same order"
    )
    parser.add_argument("out", type=Path, help="written whole or not at all")
    parser.add_argument("--p-target", type=float, default=0.05, help="prior that the fusion is optimized for")
    args = parser.parse_args()
    check_probability("--p-target", args.p_target)
    from sv.scoring.fusion import fuse_files

    fuse_files(args.heldout, args.scores, args.out, p_target=args.p_target)


if __name__ == "__main__":
    run_step(main)
