#!/usr/bin/env python3
"""Draw trials of the held-out training speakers, for calibration and thresholds. The test set is not used.

Reads   <exp-dir>/heldout_spk, <data-dir>/utt2spk of the training data, <exp-dir>/embeddings/<data>/bad_utts: these
        utterances are left out
Writes  <exp-dir>/calibration/<name> "enroll test target|nontarget": all pairs, or as many as asked for, drawn by --seed

No utterance is paired with itself or with a copy of itself (utt2uniq). If ids are VoxCeleb's (speaker/video/utterance),
target trials are of two videos. A calibration is valid for trials as hard as its own. So for a test list whose
non-target trials share sex and age, give --same "spk2gender spk2age" (tables of the data dir; ages by band).
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import check_seed, check_whole, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of the trained system")
    parser.add_argument("data_dir", type=Path, help="training data, with the speakers that were held out")
    parser.add_argument("--name", default="heldout.kaldi", help="name of the list; default: %(default)s")
    parser.add_argument(
        "--same", default="", help="tables that must have the same value for both speakers of a non-target trial"
    )
    parser.add_argument("--num-target", type=int, default=30_000, help="at most; default: %(default)s")
    parser.add_argument("--num-nontarget", type=int, default=60_000, help="at most; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    args = parser.parse_args()
    check_seed(args.seed)
    check_whole("--num-target", args.num_target, 1)
    check_whole("--num-nontarget", args.num_nontarget, 1)
    from sv.scoring.calibration_trials import write_calibration_trials

    draw = {name: getattr(args, name) for name in ("num_target", "num_nontarget", "seed")}
    write_calibration_trials(args.exp_dir, args.data_dir, args.name, same=args.same.split(), draw=draw)


if __name__ == "__main__":
    run_step(main)
