#!/usr/bin/env python3
"""Adapt a PLDA to another domain, from embeddings without speaker labels.

Reads   <plda-dir>/{mean.vec,transform.mat,plda}, ours or Kaldi's; xvector.scp of the new domain
Writes  <adapted-dir>, the same files: mean.vec and plda of the new domain, transform.mat as it was

Methods: kaldi splits the excess of the new domain's covariance over the model's, in fixed shares, between the
within-class and the between-class covariance; coral and coral+ align correlations. Each method has default scales.
e.g.: steps/adapt_plda.py --within-scale 0.75 --between-scale 0.25 exp/x/plda e/major/xvector.scp exp/x/plda_adapted
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step
from sv.scoring.backends import true_or_false


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plda_dir", type=Path, help="PLDA to adapt")
    parser.add_argument("xvector_scp", type=Path, help="embeddings of the new domain")
    parser.add_argument("adapted_dir", type=Path, help="folder to write")
    parser.add_argument("--method", default="kaldi", help="kaldi, coral or coral+; default: %(default)s")
    parser.add_argument("--within-scale", type=float, help="share that goes to the within-class covariance")
    parser.add_argument("--between-scale", type=float, help="share that goes to the between-class covariance")
    parser.add_argument("--mean-diff-scale", type=float, help="for kaldi: weight of the shift of the mean")
    parser.add_argument(
        "--length-norm",
        type=true_or_false,
        default=True,
        metavar="true|false",
        help="vectors were scaled before training; for Kaldi's folders, which do not say; default: true",
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    from sv.scoring.plda_backend import adapt_plda_folder

    names = ("within_scale", "between_scale", "mean_diff_scale")
    adapt_plda_folder(
        args.plda_dir,
        args.xvector_scp,
        args.adapted_dir,
        method=args.method,
        options={name: getattr(args, name) for name in names if getattr(args, name) is not None},
        length_norm=args.length_norm,
    )


if __name__ == "__main__":
    run_step(main)
