#!/usr/bin/env python3
"""Are two recordings, or the first and each other one, of the same speaker?

Reads   <model>: folder of a trained and calibrated system (stages 3 to 7); audio files of the model's sample rate.
Prints  for each pair: same, different or cannot tell; the log-likelihood ratio (natural), its probability at the prior,
        and the threshold used.

Scored with the cosine, calibrated and decided by the entry "cos" of thresholds.json, whatever other back-ends it has.
"cannot tell": nearer to the threshold than --margin. Silence, too short, clipped and unreadable files are refused.
e.g.: steps/verify.py --model exp/x a.wav b.wav
"""

import argparse
from pathlib import Path

from sv.errors import UserError, run_step
from sv.verifier import MARGIN, Verifier


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, required=True, help="folder of the system")
    parser.add_argument("--threshold", default="eer", help="eer, min_dcf_0.01, min_dcf_0.05, fa_0.01, fa_0.001")
    parser.add_argument("--prior", type=float, default=0.5, help="probability of the same speaker before listening")
    parser.add_argument("--margin", type=float, default=MARGIN, help="of the LLR around the threshold")
    parser.add_argument("--gpus", default="auto", help="auto, none, or the number of a GPU")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if not 0 < args.prior < 1:
        raise UserError(f"--prior {args.prior}: expected a probability between 0 and 1, such as 0.5")
    verifier = Verifier.load(args.model, gpus=args.gpus)
    pairs = [(args.first, other) for other in args.others]
    verdicts = verifier.score_batch(pairs, prior=args.prior, threshold=args.threshold, margin=args.margin)
    for (first, second), verdict in zip(pairs, verdicts, strict=True):
        print(
            f"{verdict.decision}: {first} {second}: LLR {verdict.llr:.2f}, "
            f"probability {verdict.probability:.4f} at prior {verdict.prior:g}, "
            f"threshold {verdict.threshold:.2f} ({verdict.threshold_name})"
        )


if __name__ == "__main__":
    run_step(main)
