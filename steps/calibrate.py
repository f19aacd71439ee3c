#!/usr/bin/env python3
"""Calibrate scores to natural-log likelihood ratios on held-out training speakers, and measure thresholds on them.

Reads   <exp-dir>/scores/<prefix><heldout>.score         trials of held-out speakers, scored as the test trials are
        <exp-dir>/scores/<prefix><trials>.score          for each trial list
Writes  <exp-dir>/calibration/<backend>.json             weights
        <exp-dir>/thresholds.json                        where to accept from: EER, minDCF, 1 and 0.1 % false accepts
                                                         (these of 100 and 1,000 non-target trials on)
        <exp-dir>/scores/cali_<prefix><trials>.score     log-likelihood ratios, for compute_metrics.py --llr true

--quality adds measures of both sides to the score: "duration magnitude cohort", as many as wanted. They stand in the
names of the scores, cali_duration_<prefix><trials>.score, so that those calibrated without them stay; so do weights and
thresholds under another --backend. Test trials are never held: memory does not grow with their number.
e.g.: steps/calibrate.py --heldout-data data/train --test-data data/test exp/x heldout.kaldi O.kaldi H.kaldi
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from sv.errors import UserError, run_step
from sv.io import ScoredTrials, atomic_write, iter_scored_trials, read_scored_trials, sha256_of, write_scores
from sv.io.columns import byte_bar
from sv.metrics.error_rates import sort_scores
from sv.metrics.provenance import mark_derived, model_of
from sv.scoring.calibration import Calibration, fit
from sv.scoring.quality import Features
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


def score_file(args: argparse.Namespace, trials: str) -> Path:
    """Of a trial list, scored by the back-end."""
    path: Path = args.exp_dir / "scores" / f"{args.prefix}{trials}.score"
    if not path.is_file():
        raise UserError(f"{path} does not exist; score it first (stages 5 to 7)")
    return path


def make_features(args: argparse.Namespace, data_dir: Path | None) -> Features:
    """Embeddings are those of the data dir's name in the experiment."""
    scp = args.exp_dir / "embeddings" / data_dir.name / "xvector.scp" if data_dir else None
    return Features(args.quality.split(), data_dir=data_dir, xvector_scp=scp)


def train(path: Path, args: argparse.Namespace) -> tuple[Calibration, dict]:
    """The calibration, and the thresholds of its log-likelihood ratios."""
    features, scores = make_features(args, args.heldout_data), read_scored_trials(path)
    is_target, x = scores.labels(), features.of(scores)
    try:
        found = fit(x, is_target, features.names, p_target=args.p_target)
        llrs = found.llrs(x)
        thresholds = find_thresholds(sort_scores(llrs[is_target], llrs[~is_target]), found)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    origin = {"scores": path.name, "scores_sha256": sha256_of(path), **found.trained_on}
    if model := model_of(path):
        origin["model_sha256"] = model
    if args.mean:
        origin["mean"] = str(args.mean.resolve().relative_to(args.exp_dir.resolve()))
    calibration = Calibration(found.features, found.weights, found.offset, found.p_target, origin)
    return calibration, {**thresholds, "measured_on": origin}


def blocks_with_bar(path: Path) -> Iterator[ScoredTrials]:
    with byte_bar(path) as bar:
        for block in iter_scored_trials(path):
            yield block
            bar.update(block.num_bytes)


def main() -> None:
    args = parse()
    heldout, tests = score_file(args, args.heldout), [score_file(args, name) for name in args.trials]
    calibration, thresholds = train(heldout, args)
    features = make_features(args, args.test_data)
    calibrated = [path.with_name("_".join(["cali", *args.quality.split(), path.name])) for path in tests]
    path = args.exp_dir / "calibration" / f"{args.backend}.json"
    with ExitStack() as stack:  # all lists are calibrated, or nothing is written
        for scores, out in zip(tests, calibrated, strict=True):
            f = stack.enter_context(atomic_write(out))
            for block in blocks_with_bar(scores):
                write_scores(f, block.as_trials(), calibration.llrs(features.of(block)))
        calibration.save(path)
        add_thresholds(args.exp_dir, args.backend, thresholds)
    for scores, out in zip(tests, calibrated, strict=True):
        mark_derived(out, [scores], path)


if __name__ == "__main__":
    run_step(main)
