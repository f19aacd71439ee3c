#!/usr/bin/env python3
"""Tell whether the first recording and each of the others are of the same speaker.

Reads   <model>: folder of a trained and calibrated system (stages 3 to 7); audio files of the model's sample rate.
Prints  for each pair: same, different or cannot tell; the log-likelihood ratio (natural log), the probability of the
        same speaker given the prior, and the threshold used.

Scores are calibrated cosines, compared with the entry "cos" of thresholds.json. "cannot tell" means nearer to the
threshold than --margin. Files that are silent, too short, clipped or unreadable are refused.
e.g.: steps/verify.py --model exp/x a.wav b.wav
"""

import argparse
from pathlib import Path

from sv.errors import UserError, run_step


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, required=True, help="folder of the system")
    parser.add_argument("--threshold", default="eer", help="eer, min_dcf_0.01, min_dcf_0.05, fa_0.01, fa_0.001")
    parser.add_argument("--prior", type=float, default=0.5, help="probability of the same speaker before listening")
    parser.add_argument("--margin", type=float, help="least distance of the LLR from the threshold (default: log 3)")
    parser.add_argument("--gpus", default="auto", help="auto, none, or the number of a GPU")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if not 0 < args.prior < 1:
        raise UserError(f"--prior {args.prior}: expected a probability between 0 and 1, such as 0.5")
    from sv.verifier import MARGIN, Verifier

    margin = MARGIN if args.margin is None else args.margin
    verifier = Verifier.load(args.model, gpus=args.gpus)
    pairs = [(args.first, other) for other in args.others]
    verdicts = verifier.score_batch(pairs, prior=args.prior, threshold=args.threshold, margin=margin)
    for (first, second), verdict in zip(pairs, verdicts, strict=True):
        print(
            f"{verdict.decision}: {first} {second}: LLR {verdict.llr:.2f}, "
            f"probability {verdict.probability:.4f} at prior {verdict.prior:g}, "
            f"threshold {verdict.threshold:.2f} ({verdict.threshold_name})"
        )


if __name__ == "__main__":
    run_step(main)
