#!/usr/bin/env python3
"""Mean embedding of each speaker: the cohort of score normalization.

Reads   xvector.scp "utt ark:offset", utt2spk (the file or its data dir)
Writes  spk_xvector.scp, and spk_xvector.ark beside it; speakers sorted

Embeddings are averaged as they are, over whole utterances. --exclude leaves out speakers on whom calibration and
thresholds are to be measured: in their own trials they would stand in the cohort, which no test speaker does.
e.g.: steps/compute_spk_means.py --exclude exp/x/heldout_spk \\
        e/vox2_dev/xvector.scp data/vox2_dev e/vox2_dev/spk_xvector.scp
"""

import argparse
from pathlib import Path

from sv.errors import log, run_step
from sv.io import ArkWriter
from sv.scoring.speakers import read_by_speaker, speaker_means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("xvector_scp", type=Path)
    parser.add_argument("utt2spk", type=Path, help="the file, or its data dir")
    parser.add_argument("spk_xvector_scp", type=Path, help="written whole or not at all")
    parser.add_argument("--exclude", type=Path, help="list of speakers to leave out, one a line")
    args = parser.parse_args()
    means = speaker_means(read_by_speaker(args.xvector_scp, args.utt2spk, args.exclude))
    with ArkWriter(args.spk_xvector_scp.with_suffix(".ark"), args.spk_xvector_scp) as writer:
        for speaker, mean in zip(means.ids, means.matrix, strict=True):
            writer.write(speaker, mean)
    log.info("means of %d speakers in %s", len(means.ids), args.spk_xvector_scp)


if __name__ == "__main__":
    run_step(main)
