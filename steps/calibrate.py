#!/usr/bin/env python3
"""Calibrate scores to natural-log likelihood ratios on held-out training speakers, and measure thresholds on them.

Reads   <exp-dir>/scores/<prefix><heldout>.score         trials of held-out speakers, scored as the test trials are
        <exp-dir>/scores/<prefix><trials>.score          for each trial list
Writes  <exp-dir>/calibration/<backend>.json             weights
        <exp-dir>/thresholds.json                        where to accept from: EER, minDCF, 1 and 0.1 % false accepts
        <exp-dir>/scores/cali_<prefix><trials>.score     log-likelihood ratios, for compute_metrics.py --llr true

--quality adds measures of both sides to the score: "duration magnitude cohort", as many as wanted.
e.g.: steps/calibrate.py --heldout-data data/train --test-data data/test exp/x heldout.kaldi O.kaldi H.kaldi
"""

import argparse
from pathlib import Path

from sv.errors import UserError, run_step
from sv.io import ScoredTrials, atomic_write, read_scored_trials, sha256_of, write_scores
from sv.scoring.calibration import Calibration, fit
from sv.scoring.metrics import sort_scores
from sv.scoring.origin import mark_derived
from sv.scoring.quality import Doubles, feature_names, features_of
from sv.scoring.thresholds import add_thresholds, find_thresholds


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path)
    parser.add_argument("heldout", help="name of the trial list of held-out speakers, such as heldout.kaldi")
    parser.add_argument("trials", nargs="*", help="names of the trial lists whose scores are calibrated")
    parser.add_argument("--backend", default="cos", help="what calibration and thresholds are filed under")
    parser.add_argument("--prefix", default="", help="of the score files' names")
    parser.add_argument("--quality", default="", help='quality measures, as in "duration magnitude cohort"')
    parser.add_argument("--heldout-data", type=Path, help="data dir of the held-out speakers, for quality measures")
    parser.add_argument("--test-data", type=Path, help="data dir of the test trials, for quality measures")
    parser.add_argument("--mean", type=Path, help="mean that was subtracted; kept for steps/verify.py")
    parser.add_argument("--p-target", type=float, default=0.05, help="prior at which decisions matter most")
    args = parser.parse_args()
    if args.heldout in args.trials:
        raise UserError(f"{args.heldout} is to be calibrated on itself; give a list of held-out speakers first")
    if args.mean and not args.mean.resolve().is_relative_to(args.exp_dir.resolve()):
        raise UserError(f"--mean {args.mean} is not in {args.exp_dir}; the mean stays with the model, copy it there")
    return args


def read_file(path: Path) -> ScoredTrials:
    if not path.is_file():
        raise UserError(f"{path} does not exist; score it first (stages 5 to 7)")
    return read_scored_trials(path)


def features(scores: ScoredTrials, args: argparse.Namespace, data_dir: Path | None) -> Doubles:
    """Of each trial; embeddings are those of the data dir's name in the experiment."""
    scp = args.exp_dir / "embeddings" / data_dir.name / "xvector.scp" if data_dir else None
    return features_of(scores, args.quality.split(), data_dir=data_dir, xvector_scp=scp)


def train(path: Path, args: argparse.Namespace) -> tuple[Calibration, dict]:
    """The calibration, and the thresholds of its log-likelihood ratios."""
    scores = read_file(path)
    is_target, x = scores.labels(), features(scores, args, args.heldout_data)
    try:
        found = fit(x, is_target, feature_names(args.quality.split()), p_target=args.p_target)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    origin = {"scores": path.name, "scores_sha256": sha256_of(path), **found.trained_on}
    if args.mean:
        origin["mean"] = str(args.mean.resolve().relative_to(args.exp_dir.resolve()))
    calibration = Calibration(found.features, found.weights, found.offset, found.p_target, origin)
    llrs = calibration.llrs(x)
    thresholds = find_thresholds(sort_scores(llrs[is_target], llrs[~is_target]), calibration)
    return calibration, {**thresholds, "measured_on": origin}


def main() -> None:
    args = parse()
    folder = args.exp_dir / "scores"
    calibration, thresholds = train(folder / f"{args.prefix}{args.heldout}.score", args)
    tests = {name: read_file(folder / f"{args.prefix}{name}.score") for name in args.trials}
    llrs = {name: calibration.llrs(features(scores, args, args.test_data)) for name, scores in tests.items()}
    path = args.exp_dir / "calibration" / f"{args.backend}.json"
    calibration.save(path)
    add_thresholds(args.exp_dir, args.backend, thresholds)
    for name, scores in tests.items():
        out = folder / f"cali_{args.prefix}{name}.score"
        with atomic_write(out) as f:
            write_scores(f, scores.as_trials(), llrs[name])
        mark_derived(out, [scores.path], path)


if __name__ == "__main__":
    run_step(main)
