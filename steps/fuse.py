#!/usr/bin/env python3
"""Fuse the scores of several systems into log-likelihood ratios: logistic regression on held-out training speakers.

Reads   --heldout: score files of the held-out speakers' trials, one a system; --scores: those of the test trials, the
        systems in the same order. All of --heldout are over the same trials, so are all of --scores.
Writes  <out>             "enroll test llr target|nontarget", for compute_metrics.py --llr true
        <out>.json        weights

The systems must have the same held-out speakers: the same seed and number. Test trials are never held: memory does not
grow with their number.
e.g.: steps/fuse.py --heldout exp/{a,b}/scores/heldout.kaldi.score --scores exp/{a,b}/scores/O.kaldi.score \\
        -- exp/fused/scores/O.kaldi.score
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from sv.errors import UserError, log, run_step
from sv.io import ScoredTrials, atomic_write, iter_same_trials, write_scores
from sv.io.columns import byte_bar
from sv.metrics.provenance import mark_derived
from sv.scoring.calibration import fit


def features_of(systems: list[ScoredTrials]) -> np.ndarray:
    """(trials, systems), the scores of each."""
    return np.column_stack([scores.values for scores in systems])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heldout", type=Path, nargs="+", required=True, metavar="SCORES")
    parser.add_argument("--scores", type=Path, nargs="+", required=True, metavar="SCORES")
    parser.add_argument("out", type=Path, help="written whole or not at all")
    parser.add_argument("--p-target", type=float, default=0.05, help="prior at which decisions matter most")
    args = parser.parse_args()
    if len(args.heldout) != len(args.scores):
        raise UserError(f"--heldout has {len(args.heldout)} files, --scores {len(args.scores)}; give one a system each")
    known, fused = ({path.resolve() for path in paths} for paths in (args.heldout, args.scores))
    if both := known & fused:
        raise UserError(f"{min(both)} is to be fused by weights of its own trials; give --heldout held-out speakers")
    if args.out.resolve() in known | fused:
        raise UserError(f"{args.out} would overwrite scores that it is made from; give another file")
    names = [f"score of {path}" for path in args.scores]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"--scores: {twice[0].removeprefix('score of ')} comes twice; give each system once")
    heldout = [(systems[0].labels(), features_of(systems)) for systems in iter_same_trials(args.heldout)]
    is_target, features = (np.concatenate(column) for column in zip(*heldout, strict=True))
    try:
        calibration = fit(features, is_target, names, p_target=args.p_target)
    except UserError as error:
        raise UserError(f"{args.heldout[0]}: {error}") from error
    weights = args.out.with_name(f"{args.out.name}.json")
    with atomic_write(args.out) as f, byte_bar(args.scores[0], args.out.name) as bar:
        for systems in iter_same_trials(args.scores):
            write_scores(f, systems[0].as_trials(), calibration.llrs(features_of(systems)))
            bar.update(systems[0].num_bytes)
    calibration.save(weights)
    mark_derived(args.out, args.scores, weights)
    log.info("weights %s", ", ".join(f"{weight:.3f}" for weight in calibration.weights))


if __name__ == "__main__":
    run_step(main)
