#!/usr/bin/env python3
"""Compute the mean embedding of each speaker: the cohort of score normalization.

Reads   xvector.scp "utt ark:offset", utt2spk (the file or its data dir)
Writes  spk_xvector.scp, and spk_xvector.ark beside it; speakers sorted

Embeddings are averaged without normalization of their length. --exclude leaves out the speakers that calibration and
thresholds are measured on. No test speaker is in the cohort, so these must not be either.
e.g.: steps/compute_spk_means.py --exclude exp/x/heldout_spk \\
        e/vox2_dev/xvector.scp data/vox2_dev e/vox2_dev/spk_xvector.scp
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step
from sv.scoring.inputs import TrainingFiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("xvector_scp", type=Path, help="embeddings")
    parser.add_argument("utt2spk", type=Path, help="the file, or its data dir")
    parser.add_argument("spk_xvector_scp", type=Path, help="written whole or not at all")
    parser.add_argument("--exclude", type=Path, help="list of speakers to leave out, one per line")
    args = parser.parse_args()
    from sv.scoring.speakers import write_speaker_means

    write_speaker_means(TrainingFiles(args.xvector_scp, args.utt2spk, args.exclude), args.spk_xvector_scp)


if __name__ == "__main__":
    run_step(main)
