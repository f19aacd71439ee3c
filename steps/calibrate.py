#!/usr/bin/env python3
"""Calibrate scores to natural-log likelihood ratios on held-out training speakers, and measure thresholds on them.
With --on DATA_DIR, calibrate on your own recordings instead; this works with any model, imported ones too.

Reads   <exp-dir>/scores/<prefix><heldout>.score         trials of held-out speakers, scored as the test trials are
        <exp-dir>/scores/<prefix><trials>.score          for each trial list
Writes  <exp-dir>/calibration/<backend>.json             weights
        <exp-dir>/thresholds.json                        thresholds: at the EER, minDCF, 1 and 0.1 % false accepts
                                                         (the last two need 100 and 1,000 non-target trials)
        <exp-dir>/scores/cali_<prefix><trials>.score     log-likelihood ratios, for compute_metrics.py --llr true

        with --on DATA_DIR: its embeddings in <exp-dir>/calibration/<data>/, trials among its speakers in
        calibration/<data>.kaldi, their cosines in scores/<data>.kaldi.score, and weights and thresholds of these

--quality adds quality measures of both sides to the score, some of "duration magnitude cohort". The score files get
their names, as in cali_duration_<prefix><trials>.score, so that scores calibrated without them are kept. Give such a
calibration its own --backend, too. Memory does not grow with the number of test trials.
e.g.: local/prepare_folder.py recordings data/own && steps/calibrate.py --on data/own exp/x
      steps/calibrate.py --heldout-data data/train --test-data data/test exp/x heldout.kaldi O.kaldi H.kaldi
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import check_probability, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of the system")
    parser.add_argument("heldout", nargs="?", help="name of the trial list of held-out speakers, such as heldout.kaldi")
    parser.add_argument("trials", nargs="*", help="names of the trial lists whose scores are calibrated")
    parser.add_argument("--on", type=Path, metavar="DATA_DIR", help="labelled recordings to embed and calibrate on")
    parser.add_argument(
        "--backend", default="", help="name of the calibration and its thresholds; default: the scores' back-end"
    )
    parser.add_argument("--prefix", default="", help="prefix of the score files' names")
    parser.add_argument("--quality", default="", help='quality measures, as in "duration magnitude cohort"')
    parser.add_argument("--heldout-data", type=Path, help="data dir of the held-out speakers, for quality measures")
    parser.add_argument("--test-data", type=Path, help="data dir of the test trials, for quality measures")
    parser.add_argument("--mean", type=Path, help="mean that is subtracted; default: as in the scores")
    parser.add_argument("--p-target", type=float, default=0.05, help="prior that the calibration is optimized for")
    args = parser.parse_args()
    if (args.on is None) == (args.heldout is None):
        parser.error("give the name of a trial list, or --on DATA_DIR")
    if args.on is not None and (args.prefix or args.quality or args.backend.partition("_")[0] not in ("", "cos")):
        parser.error("--on scores by the cosine alone; leave out --prefix and --quality, and give --backend cos_NAME")
    if args.on is not None and (args.heldout_data or args.test_data):
        parser.error("--on takes no other recordings; leave out --heldout-data and --test-data")
    check_probability("--p-target", args.p_target)
    from sv.scoring.calibration_files import ScoresToCalibrate, calibrate_files

    scores = ScoresToCalibrate(
        args.exp_dir,
        args.backend,
        args.prefix,
        args.mean,
        args.p_target,
        args.quality.split(),
        args.heldout_data,
        args.test_data,
    )
    if args.on is None:
        calibrate_files(scores, args.heldout, list(dict.fromkeys(args.trials)))
        return
    from sv.scoring.own_calibration import calibrate_on

    calibrate_on(scores, args.on)


if __name__ == "__main__":
    run_step(main)
