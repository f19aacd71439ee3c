#!/usr/bin/env python3
"""Mean of embeddings, to be subtracted before scoring; usually of the training data.

Reads   xvector.scp "utt ark:offset".
Writes  a numpy file with one (dim,) float32 array.
"""

import argparse
from pathlib import Path

import numpy as np

from sv.errors import run_step
from sv.io import atomic_write
from sv.scoring.cosine import read_embeddings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("xvector_scp", type=Path)
    parser.add_argument("mean_npy", type=Path, help="written whole or not at all")
    args = parser.parse_args()
    mean = read_embeddings(args.xvector_scp).matrix.mean(axis=0, dtype=np.float64)
    with atomic_write(args.mean_npy, "wb") as f:
        np.save(f, mean.astype(np.float32))


if __name__ == "__main__":
    run_step(main)
