#!/usr/bin/env python3
"""Train two-covariance PLDA as Kaldi does, after LDA, whitening and length normalization of the embeddings.

Reads   xvector.scp "utt ark:offset", utt2spk (the file or its data dir)
Writes  <plda-dir>/{mean.vec,transform.mat,plda}, which Kaldi's ivector-plda-scoring reads; .done, with the options

--exclude leaves out speakers on whom calibration and thresholds are to be measured.
e.g.: steps/train_plda.py --lda-dim 150 --exclude exp/x/heldout_spk e/vox2_dev/xvector.scp data/vox2_dev exp/x/plda
"""

import argparse
from pathlib import Path

import numpy as np

from sv.errors import UserError, log, run_step
from sv.io import sha256_of
from sv.scoring.plda import train_plda
from sv.scoring.plda_files import Backend, write_backend
from sv.scoring.projection import make_projection
from sv.scoring.speakers import class_stats, read_by_speaker


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("xvector_scp", type=Path)
    parser.add_argument("utt2spk", type=Path, help="the file, or its data dir")
    parser.add_argument("plda_dir", type=Path)
    parser.add_argument(
        "--lda-dim", type=int, default=0, help="dimensions LDA keeps, below the number of speakers; 0: no LDA"
    )
    parser.add_argument("--whiten", choices=["true", "false"], default="false", help="make the total covariance 1")
    parser.add_argument("--length-norm", choices=["true", "false"], default="true", help="scale to length sqrt(dim)")
    parser.add_argument("--num-iters", type=int, default=10, help="of EM")
    parser.add_argument("--exclude", type=Path, help="list of speakers to leave out, one a line")
    args = parser.parse_args()
    if args.num_iters < 1:
        raise UserError(f"--num-iters is {args.num_iters}; give 1 or more")
    return args


def main() -> None:
    args = parse()
    labelled = read_by_speaker(args.xvector_scp, args.utt2spk, args.exclude)
    whiten, length_norm = args.whiten == "true", args.length_norm == "true"
    vectors, speaker = labelled.vectors, labelled.speaker
    mean = vectors.matrix.mean(axis=0, dtype=np.float64)
    stats = class_stats(vectors.matrix, speaker)
    log.info("%d utterances of %d speakers, dimension %d", stats.num_utts, len(labelled.speakers), stats.dim)
    projection = make_projection(stats, mean, lda_dim=args.lda_dim, whiten=whiten, length_norm=length_norm)
    projected = projection.apply(vectors, source=args.xvector_scp)
    plda = train_plda(class_stats(projected, speaker), num_iters=args.num_iters)
    options = {
        "lda_dim": args.lda_dim,
        "whiten": whiten,
        "num_iters": args.num_iters,
        "exclude_sha256": sha256_of(args.exclude) if args.exclude else None,
        "xvector_scp_sha256": sha256_of(args.xvector_scp),
    }
    write_backend(args.plda_dir, Backend(projection, plda), options)
    log.info("PLDA of dimension %d in %s", plda.dim, args.plda_dir)


if __name__ == "__main__":
    run_step(main)
