#!/usr/bin/env python3
"""Trials among the training speakers that were set aside, for calibration and thresholds; the test set is not touched.

Reads   <exp-dir>/heldout_spk, <data-dir>/utt2spk (of the training data); utterances of its embeddings/<data>/bad_utts
        are left out.
Writes  <exp-dir>/calibration/<name> "enroll test target|nontarget": all pairs, or as many as asked for by seed.

An utterance never meets itself; where ids are VoxCeleb's (speaker/video/utterance), target trials are of two videos.
Scores are calibrated for trials as hard as these: for a test list whose non-target trials share sex and age,
--same "spk2gender spk2age" (tables of the data dir; ages by band).
"""

import argparse
from pathlib import Path

from sv.errors import UserError, log, run_step
from sv.io import DataDir, atomic_write
from sv.jobs.bad_utts import read_bad_utts
from sv.scoring.calibration_trials import draw_calibration_trials, read_groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--name", default="heldout.kaldi", help="of the list")
    parser.add_argument(
        "--same", default="", help="tables that must say the same of both speakers of a non-target trial"
    )
    parser.add_argument("--num-target", type=int, default=30_000)
    parser.add_argument("--num-nontarget", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    path = args.exp_dir / "heldout_spk"
    if not path.is_file():
        raise UserError(f"{path} does not exist; train with heldout_speakers of 2 or more (stage 3)")
    heldout = set(path.read_text(encoding="utf-8").split())
    utts = {utt: spk for utt, spk in DataDir(args.data_dir).utt2spk.items() if spk in heldout}
    missing = sorted(heldout - set(utts.values()))
    if not heldout or missing:
        what = f"speaker {missing[0]} is not in {args.data_dir / 'utt2spk'}" if missing else "is empty"
        raise UserError(f"{path}: {what}; give the data dir that the system was trained on")
    sizes = {"num_target": args.num_target, "num_nontarget": args.num_nontarget}
    group = read_groups(args.data_dir, args.same.split(), heldout) if args.same else None
    if group and len(set(group.values())) == len(heldout):
        log.warning(
            "no two of %d held-out speakers have the same %s: non-target trials of any two", len(heldout), args.same
        )
        group = None
    for utt in read_bad_utts(args.exp_dir / "embeddings" / args.data_dir.name / "bad_utts"):
        utts.pop(utt, None)
    trials = draw_calibration_trials(utts, seed=args.seed, group=group, **sizes)
    out = args.exp_dir / "calibration" / args.name
    with atomic_write(out) as f:
        f.writelines(f"{a} {b} {'target' if same else 'nontarget'}\n" for a, b, same in trials)
    log.info("%d trials of %d held-out speakers in %s", len(trials), len(heldout), out)


if __name__ == "__main__":
    run_step(main)
