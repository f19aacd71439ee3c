#!/usr/bin/env python3
"""Score trials by the cosine of their two embeddings.

Reads   trials "enroll test target|nontarget" (or without label), xvector.scp "utt ark:offset" (a vector an utterance).
Writes  scores "enroll test score target|nontarget", in the order of the trials; .done.NAME beside: their origin.

With --enroll-map, "enroll" is a model of one or more utterances: the mean of their embeddings, each of unit length.
"""

import argparse
from pathlib import Path

from sv.errors import run_step
from sv.io import read_enroll_map
from sv.metrics.provenance import mark_scores
from sv.scoring.cosine import cosine_scores, enroll_models, read_embeddings, read_mean, unit_vectors
from sv.scoring.score_list import score_list


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=Path)
    parser.add_argument("xvector_scp", type=Path)
    parser.add_argument("scores", type=Path, help="written whole or not at all")
    parser.add_argument("--mean", type=Path, help="numpy file (dim,) to subtract first: see compute_mean.py")
    parser.add_argument("--enroll-map", type=Path, help='lines "model utt1 utt2 ...", as Kaldi\'s spk2utt')
    return parser.parse_args()


def main() -> None:
    args = parse()
    mean = read_mean(args.mean) if args.mean else None
    utts_of = read_enroll_map(args.enroll_map) if args.enroll_map else None
    unit = unit_vectors(read_embeddings(args.xvector_scp), mean=mean, source=args.xvector_scp)
    models = enroll_models(unit, utts_of, source=args.xvector_scp, where=args.enroll_map) if utts_of else None
    score_list(
        args.trials,
        args.scores,
        lambda block: [cosine_scores(block, unit, models)],
        known=unit.ids,
        known_enroll=models.ids if models else None,
        source=args.xvector_scp,
        enroll_source=args.enroll_map,
    )
    mark_scores(args.scores, args.trials, args.xvector_scp, {"mean": args.mean, "enroll_map": args.enroll_map})


if __name__ == "__main__":
    run_step(main)
