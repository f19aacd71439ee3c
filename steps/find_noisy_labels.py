#!/usr/bin/env python3
"""Rank the utterances of a training set by how suspicious their speaker labels are.

Reads   <exp-dir>/{config.yaml,spk2id,models/avg_model.pt}, <exp-dir>/embeddings/<name of data-dir>/xvector.scp (made by
        steps/extract_embeddings.sh), <data-dir>/utt2spk; <data-dir>/utt2spk_true if the true speakers are known.
        Utterances in bad_utts beside xvector.scp, which could not be read, are left out.
Writes  <exp-dir>/noisy_labels/<name of data-dir>/{loss,cosine}: "utt spk score nearest-other-speaker", the most
        suspicious first. loss: by the loss of the trained head, without held-out speakers, whom it does not know.
        It ends with the probability that the label is right, by two Gaussians on the logarithms of the losses;
        suspected lists the utterances where it is below a half.
        cosine: by the cosine to the mean of the speaker's other utterances, without a speaker's only utterance.
        If the true speakers are known also report.json: the share of wrong labels among the first N, where N is the
        number of wrong labels; and precision and recall of suspected.

e.g.: steps/find_noisy_labels.py exp/resnet34 data/vox2_dev
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import UserError, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of a system that was trained on the data")
    parser.add_argument("data_dir", type=Path, help="training data, whose labels are ranked")
    parser.add_argument("--truth", type=Path, help='"utt spk" of the true speakers (default: utt2spk_true, if any)')
    args = parser.parse_args()
    if args.truth and not args.truth.is_file():
        raise UserError(f"--truth {args.truth} does not exist; give a file with lines 'utterance speaker'")
    from sv.training.label_noise import find_noisy_labels

    find_noisy_labels(args.exp_dir, args.data_dir, args.truth)


if __name__ == "__main__":
    run_step(main)
