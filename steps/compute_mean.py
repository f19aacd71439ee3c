#!/usr/bin/env python3
"""Compute the mean of embeddings, usually of the training data; scoring subtracts it.

Reads   xvector.scp "utt ark:offset".
Writes  a numpy file with one (dim,) float32 array.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("xvector_scp", type=Path, help="embeddings")
    parser.add_argument("mean_npy", type=Path, help="written whole or not at all")
    args = parser.parse_args()
    from sv.scoring.cosine import write_mean

    write_mean(args.xvector_scp, args.mean_npy)


if __name__ == "__main__":
    run_step(main)
