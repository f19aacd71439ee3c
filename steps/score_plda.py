#!/usr/bin/env python3
"""Score trials by the log-likelihood ratio of PLDA.

Reads   trials "enroll test target|nontarget" (or without label), xvector.scp "utt ark:offset", and
        <plda-dir>/{mean.vec,transform.mat,plda}, of steps/train_plda.py, steps/adapt_plda.py or Kaldi
Writes  scores "enroll test score target|nontarget", in the order of the trials; .done.NAME beside: their origin

With --enroll-map, "enroll" is a model of one or more utterances: as in Kaldi's x-vector recipes the mean of their
embeddings as they are, and their number counts in the ratio.
"""

import argparse
from pathlib import Path

import numpy as np

from sv.errors import run_step
from sv.io import Vectors, read_enroll_map
from sv.metrics.provenance import mark_scores
from sv.scoring.cosine import mean_of_each, read_embeddings
from sv.scoring.plda import PldaScorer
from sv.scoring.plda_files import read_backend
from sv.scoring.score_list import score_list


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=Path)
    parser.add_argument("xvector_scp", type=Path)
    parser.add_argument("plda_dir", type=Path)
    parser.add_argument("scores", type=Path, help="written whole or not at all")
    parser.add_argument("--enroll-map", type=Path, help='lines "model utt1 utt2 ...", as Kaldi\'s spk2utt')
    parser.add_argument(
        "--normalize-length",
        choices=["true", "false"],
        default="true",
        help="scale vectors to the length that the model expects, as Kaldi's ivector-plda-scoring does",
    )
    parser.add_argument(
        "--length-norm", choices=["true", "false"], default="true", help="of Kaldi's folders, which do not tell"
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    normalize = args.normalize_length == "true"
    backend = read_backend(args.plda_dir, length_norm=args.length_norm == "true")
    utts_of = read_enroll_map(args.enroll_map) if args.enroll_map else None
    vectors = read_embeddings(args.xvector_scp)

    def latent(of: Vectors, counts: np.ndarray | None, source: Path) -> np.ndarray:
        return backend.plda.latent(backend.projection.apply(of, source=source), counts, normalize=normalize)

    models, enroll, counts = None, None, None
    if utts_of:
        models = mean_of_each(vectors, utts_of, source=args.xvector_scp, where=args.enroll_map)
        counts = np.array([len(utts) for utts in utts_of.values()])
        enroll = latent(models, counts, args.enroll_map)
    scorer = PldaScorer(backend.plda, latent(vectors, None, args.xvector_scp), enroll, counts)
    score_list(
        args.trials,
        args.scores,
        lambda block: [scorer(block)],
        known=vectors.ids,
        known_enroll=models.ids if models else None,
        source=args.xvector_scp,
        enroll_source=args.enroll_map,
    )
    model = {f"plda_{name}": args.plda_dir / name for name in ("mean.vec", "transform.mat", "plda")}
    settings = {"normalize_length": normalize, "length_norm": backend.projection.length_norm}
    mark_scores(args.scores, args.trials, args.xvector_scp, {"enroll_map": args.enroll_map, **model}, settings)


if __name__ == "__main__":
    run_step(main)
