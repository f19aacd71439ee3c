#!/usr/bin/env python3
"""Adapt a PLDA to another domain, of which there are embeddings but no speakers.

Reads   <plda-dir>/{mean.vec,transform.mat,plda}, ours or Kaldi's; xvector.scp of the new domain
Writes  <adapted-dir>, the same files: mean.vec and plda of the new domain, transform.mat as it was

kaldi: what the new domain's covariance exceeds the model's goes to both by fixed shares; coral, coral+: correlation
alignment. Scales left out keep the method's defaults.
e.g.: steps/adapt_plda.py --within-scale 0.75 --between-scale 0.25 exp/x/plda e/major/xvector.scp exp/x/plda_adapted
"""

import argparse
from pathlib import Path

import numpy as np

from sv.errors import UserError, log, run_step
from sv.io import sha256_of
from sv.scoring.cosine import read_embeddings
from sv.scoring.plda_adapt import adapt_plda, adaptations
from sv.scoring.plda_files import Backend, read_backend, write_backend
from sv.scoring.projection import Projection


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plda_dir", type=Path)
    parser.add_argument("xvector_scp", type=Path, help="of the new domain")
    parser.add_argument("adapted_dir", type=Path)
    parser.add_argument("--method", default="kaldi", help=f"{', '.join(adaptations.names())}; default: %(default)s")
    parser.add_argument("--within-scale", type=float, help="share that goes to the within-class covariance")
    parser.add_argument("--between-scale", type=float, help="share that goes to the between-class covariance")
    parser.add_argument("--mean-diff-scale", type=float, help="of kaldi: weight of the shift of the mean")
    parser.add_argument(
        "--length-norm", choices=["true", "false"], default="true", help="of Kaldi's folders, which do not tell"
    )
    args = parser.parse_args()
    if args.adapted_dir.resolve() == args.plda_dir.resolve():
        raise UserError(f"{args.adapted_dir} would overwrite the PLDA it is made from; give another folder")
    return args


def main() -> None:
    args = parse()
    names = ("within_scale", "between_scale", "mean_diff_scale")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    backend = read_backend(args.plda_dir, length_norm=args.length_norm == "true")
    vectors = read_embeddings(args.xvector_scp)
    mean = vectors.matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
    old = backend.projection
    if len(mean) != len(old.mean):
        raise UserError(
            f"{args.xvector_scp}: embeddings have dimension {len(mean)}, the PLDA was trained on {len(old.mean)}; "
            "extract them with the same model (stage 4)"
        )
    projection = Projection(mean, old.matrix, old.length_norm)
    projected = projection.apply(vectors, source=args.xvector_scp)
    adapted = adapt_plda(backend.plda, projected, args.method, options)
    about = {
        "adapted_from_sha256": sha256_of(args.plda_dir / "plda"),
        "method": args.method,
        **adaptations.resolve(args.method, options),
        "xvector_scp_sha256": sha256_of(args.xvector_scp),
    }
    write_backend(args.adapted_dir, Backend(projection, adapted), about)
    log.info("PLDA adapted to %d embeddings in %s", len(vectors.ids), args.adapted_dir)


if __name__ == "__main__":
    run_step(main)
