#!/usr/bin/env python3
"""Score one list of trials by a back-end, from files in any place. steps/score.py scores all lists of a system.

Reads   trials "enroll test target|nontarget" (or without label), xvector.scp "utt ark:offset" (one vector an
        utterance), and what the back-end needs
Writes  scores "enroll test score target|nontarget" in the order of the trials; .done.NAME beside: their origin.
        Normalized scores have four more columns, "enroll_mag test_mag enroll_cohort_mean test_cohort_mean": lengths of
        the embeddings after the mean is subtracted, means of each side's scores with the cohort

With --enroll-map, "enroll" is a model of one or more utterances. For cosine scores it is the mean of their embeddings,
each scaled to unit length. For PLDA it is the mean of their unscaled embeddings, and the number of utterances enters
the likelihood ratio, as in Kaldi's x-vector recipes.
e.g.: steps/score_trials.py --mean e/vox2_dev/mean_vec.npy data/vox1/trials/vox1_O_cleaned.kaldi e/vox1/xvector.scp \\
        scores/O.score
      steps/score_trials.py --backend asnorm --top-n 300 --mean e/vox2_dev/mean_vec.npy \\
        --cohort e/vox2_dev/spk_xvector.scp data/vox1/trials/vox1_O_cleaned.kaldi e/vox1/xvector.scp scores/O.score
      steps/score_trials.py --backend plda --plda-dir exp/x/plda data/vox1/trials/vox1_O_cleaned.kaldi \\
        e/vox1/xvector.scp scores/O.score
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import WrongCall, run_step
from sv.scoring.backends import BACKENDS, backend_lines, find_backends, flags, values_of
from sv.scoring.inputs import Inputs, flag_of


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=backend_lines(), formatter_class=formatter)
    parser.add_argument("trials", type=Path, help="trial list")
    parser.add_argument("xvector_scp", type=Path, help="embeddings of its utterances")
    parser.add_argument("scores", type=Path, help="written whole or not at all")
    parser.add_argument("--backend", default="cos", help="default: %(default)s")
    parser.add_argument("--enroll-map", type=Path, help='lines "model utt1 utt2 ...", as Kaldi\'s spk2utt')
    for flag, about in flags("needs", "options"):
        parser.add_argument(flag, **about)
    args = parser.parse_args()
    backend, *others = find_backends(args.backend)
    if others:
        raise WrongCall(f"--backend {args.backend}: one back-end writes one file of scores; name one")
    unread = {file.name for other in BACKENDS.values() for file in other.needs} - {file.name for file in backend.needs}
    for name in sorted(unread):
        if getattr(args, name):
            raise WrongCall(f"{flag_of(name)}: --backend {args.backend} does not read it; leave it out")
    from sv.scoring.score_list import score_list

    inputs = Inputs(args.xvector_scp, values_of(backend.needs, vars(args)), args.enroll_map)
    score_list(args.trials, args.scores, backend.scorer(inputs, vars(args)))


if __name__ == "__main__":
    run_step(main)
