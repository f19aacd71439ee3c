#!/usr/bin/env python3
"""Decide whether another round of clustering and training is worth it; part of steps/train_half_labelled.sh.

Reads   <labelled>/utt2spk; <exp-dir>/roundN/{heldout_spk,clusters/clusters.json}, and its embeddings of <labelled>
Writes  <exp-dir>/rounds.json if the rounds have ended: held-out EER and clusters of each round, the best one, and why
        they ended; with --truth also how often its training trusted and corrected the right labels
Prints  the number of the best round if the rounds have ended, else nothing

The EER is that of the averaged model, on all pairs of utterances of the held-out labelled speakers.
e.g.: steps/judge_rounds.py --num-rounds 3 --last 1 data/train exp/x
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, help="data dir of the labelled speakers")
    parser.add_argument("exp_dir", type=Path, help="folder of the experiment, with a folder for each round")
    parser.add_argument("--num-rounds", type=int, default=3, help="maximum number of rounds after round 0")
    parser.add_argument(
        "--last", type=int, required=True, help="number of the latest round; higher rounds are from an earlier run"
    )
    parser.add_argument("--truth", type=Path, help="true speakers of the recordings, to measure the clusters")
    args = parser.parse_args()
    from sv.clustering.rounds import judge_rounds

    best, why = judge_rounds(args.exp_dir, args.labelled, args.num_rounds, args.truth, last=args.last)
    if why:
        print(best)


if __name__ == "__main__":
    run_step(main)
