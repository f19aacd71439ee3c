#!/usr/bin/env python3
"""Train two-covariance PLDA as Kaldi does, after LDA, whitening and length normalization of the embeddings.

Reads   xvector.scp "utt ark:offset", utt2spk (the file or its data dir)
Writes  <plda-dir>/{mean.vec,transform.mat,plda}, which Kaldi's ivector-plda-scoring reads; .done, with the options

--exclude leaves out the speakers that calibration and thresholds are measured on.
e.g.: steps/train_plda.py --lda-dim 150 --exclude exp/x/heldout_spk e/vox2_dev/xvector.scp data/vox2_dev exp/x/plda
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step
from sv.scoring.backends import true_or_false
from sv.scoring.inputs import TrainingFiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("xvector_scp", type=Path, help="embeddings of the training data")
    parser.add_argument("utt2spk", type=Path, help="the file, or its data dir")
    parser.add_argument("plda_dir", type=Path, help="folder to write")
    parser.add_argument(
        "--lda-dim", type=int, default=0, help="dimensions that LDA keeps, below the number of speakers; 0: no LDA"
    )
    parser.add_argument(
        "--whiten",
        type=true_or_false,
        default=False,
        metavar="true|false",
        help="make the total covariance the identity",
    )
    parser.add_argument(
        "--length-norm", type=true_or_false, default=True, metavar="true|false", help="scale to length sqrt(dim)"
    )
    parser.add_argument("--num-iters", type=int, default=10, help="iterations of EM; default: %(default)s")
    parser.add_argument("--exclude", type=Path, help="list of speakers to leave out, one per line")
    args = parser.parse_args()
    from sv.scoring.plda_backend import train_plda_folder

    train_plda_folder(
        TrainingFiles(args.xvector_scp, args.utt2spk, args.exclude),
        args.plda_dir,
        lda_dim=args.lda_dim,
        whiten=args.whiten,
        length_norm=args.length_norm,
        num_iters=args.num_iters,
    )


if __name__ == "__main__":
    run_step(main)
