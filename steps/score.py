#!/usr/bin/env python3
"""Score trial lists of a system by back-ends and measure them; with --calibrate-on, calibrate existing scores.

Reads   <test-data>/trials/<trials>; <exp-dir>/embeddings/<set>/xvector.scp of both sets, and what the back-end needs:
        embeddings/<train>/{mean_vec.npy,spk_xvector.scp}, plda/
Writes  <exp-dir>/scores/<prefix><trials>.score, measured in results.{json,md} and scores/<test>_<label>_result
        with --calibrate-on: calibration/<label>.json, thresholds.json, scores/cali_<prefix><trials>.score, measured as
        <label>_cali; without any <trials>, only thresholds. Several back-ends are also fused, as by steps/fuse.py:
        scores/fused_<trials>.score, measured as fused

<label> is the back-end's name; for asnorm it is asnorm<top-n>. <prefix> is "" for cos, plda_ for PLDA, <train>_<label>_
for a normalization. With --prepare true the step first makes what comes from the training data, without the held-out
speakers: the cohort of a normalization, the PLDA, or with --calibrate-on the list of their trials.
e.g.: steps/score.py --backend cos exp/x data/vox2_dev data/vox1 vox1_O_cleaned.kaldi
      steps/score.py --prepare true --backend asnorm --top-n 300 exp/x data/vox2_dev data/vox1 vox1_O_cleaned.kaldi
      steps/score.py --calibrate-on heldout.kaldi --backend "cos asnorm plda" --top-n 300 \\
        exp/x data/vox2_dev data/vox1 vox1_O_cleaned.kaldi
"""

import argparse
import re
from pathlib import Path

import _path  # noqa: F401

from sv.errors import WrongCall, run_step
from sv.scoring.backends import backend_lines, find_backends, flags, true_or_false


def parse() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=backend_lines(), formatter_class=formatter)
    parser.add_argument("exp_dir", type=Path, help="folder of the system")
    parser.add_argument("train_data", type=Path, help="training data, from which mean, cohort and PLDA come")
    parser.add_argument("test_data", type=Path, help="data dir with the trial lists")
    parser.add_argument("trials", nargs="*", help="names of lists in <test-data>/trials")
    parser.add_argument("--backend", default="cos", help='one or more, as in "cos plda"; default: %(default)s')
    parser.add_argument(
        "--prepare",
        type=true_or_false,
        default=False,
        metavar="true|false",
        help="first make what is needed from the training data",
    )
    parser.add_argument(
        "--calibrate-on",
        metavar="LIST",
        help="heldout.kaldi, or heldout_X.kaldi for thresholds under <label>_X: list in <exp-dir>/calibration",
    )
    parser.add_argument(
        "--same",
        default="",
        help="tables that must have the same value for both speakers; see make_calibration_trials.py",
    )
    parser.add_argument(
        "--enroll-map",
        type=Path,
        help='lines "model utt1 utt2 ...", if the lists name enroll models; see score_trials.py',
    )
    for flag, about in flags("options", "training_options"):
        parser.add_argument(flag, **about)
    parser.set_defaults(lda_dim=None)  # an existing PLDA may have any
    args = parser.parse_args()
    args.trials = list(dict.fromkeys(args.trials))
    if not args.trials and not args.calibrate_on:
        raise WrongCall("no trial list to score; give names of lists in <test-data>/trials")
    if args.calibrate_on and not re.fullmatch(r"heldout(_.+)?\.kaldi", args.calibrate_on):
        raise WrongCall(f"--calibrate-on {args.calibrate_on}: it must be heldout.kaldi or heldout_X.kaldi")
    if args.same and not (args.prepare and args.calibrate_on):
        raise WrongCall("--same is for the list that --prepare true --calibrate-on makes; leave it out")
    return args


def main() -> None:
    args = parse()
    known = find_backends(args.backend)
    from sv.scoring.calibration_trials import write_calibration_trials
    from sv.scoring.system import SystemBackend, fuse_and_measure

    folders = args.exp_dir, args.train_data, args.test_data
    given = {name: value for name, value in vars(args).items() if value is not None}
    backends = [SystemBackend(*folders, backend, given, args.enroll_map) for backend in known]
    if not args.calibrate_on:
        for backend in backends:
            if args.prepare:
                backend.prepare()
            print(backend.score_and_measure(args.trials), end="")
        return
    if args.prepare:
        write_calibration_trials(args.exp_dir, args.train_data, args.calibrate_on, same=args.same.split())
    for backend in backends:
        backend.check_scored(args.calibrate_on, args.trials)
    for backend in backends:
        print(backend.calibrate_and_measure(args.calibrate_on, args.trials), end="")
    if len(backends) > 1 and args.trials:
        print(fuse_and_measure(backends, args.calibrate_on, args.trials), end="")


if __name__ == "__main__":
    run_step(main)
