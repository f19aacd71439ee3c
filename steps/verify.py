#!/usr/bin/env python3
"""Decide whether the first recording and each of the others are of the same speaker.

Reads   <model>: folder of a trained and calibrated system (stages 3 to 7); audio files of one channel.
Prints  for each pair: same, different or cannot tell; the log-likelihood ratio (natural log), the probability of the
        same speaker given the prior, and the threshold used; or "failed", with the reason.
Status  0: all pairs are of the same speaker; 3: one or more are of different speakers; 4: some answers are "cannot
        tell", all others "same"; 1: some pairs failed, or the model or the list of pairs cannot be used; 2: wrong
        call.

Scores are calibrated cosines. They are compared with the threshold that follows from --prior, or with --threshold.
"cannot tell" means closer to the threshold than --margin. Files that are silent, too short, clipped, unreadable or
without speech fail. A line on stderr warns if the calibration fails on the test trials of results.json.
e.g.: steps/verify.py --model exp/x a.wav b.wav
      steps/verify.py --model exp/x --pairs pairs.txt --json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import UserError, check_probability, counted, run_step

if TYPE_CHECKING:
    from sv.verifier import Verdict

STATUS = {"same": 0, "cannot tell": 4, "different": 3}  # of several pairs, the last that occurs


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "recordings", nargs="*", metavar="recording", help="recordings; the first is compared with each other one"
    )
    parser.add_argument("--pairs", help="file with two recordings in each line, instead of recordings; - for stdin")
    parser.add_argument("--model", type=Path, required=True, help="folder of the system")
    parser.add_argument(
        "--threshold",
        help="LLR, or one of eer, min_dcf_0.01, min_dcf_0.05, fa_0.01, fa_0.001 (default: follows from the prior)",
    )
    parser.add_argument("--prior", type=float, default=0.5, help="probability of the same speaker before listening")
    parser.add_argument(
        "--margin", type=float, help="minimum distance of the LLR from the threshold for an answer (default: log 3)"
    )
    parser.add_argument("--gpus", default="auto", help="auto, none, or the number of a GPU")
    parser.add_argument("--json", action="store_true", help="print an object of JSON for each pair")
    args = parser.parse_args()
    if (len(args.recordings) >= 2) == (args.pairs is not None) or len(args.recordings) == 1:
        parser.error("give two or more recordings, or --pairs alone")
    check_probability("--prior", args.prior)
    return args


def read_pairs(file: str) -> list[tuple[str, str]]:
    """Read pairs, separated by a tab if names may hold spaces.

    Raises:
        UserError: a line has not two columns, or there is none; the message names it.
    """
    name, pairs = "stdin" if file == "-" else file, []
    with sys.stdin if file == "-" else open(file, encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            words = line.strip().split("\t" if "\t" in line else None)
            if len(words) not in (0, 2):
                raise UserError(
                    f"{name}:{number}: {counted(len(words), 'column')}; give two recordings "
                    "(with a tab if names have spaces)"
                )
            pairs += [(words[0], words[1])] if words else []
    if not pairs:
        raise UserError(f"{name}: no pairs; give two recordings in each line")
    return pairs


def describe(verdict: "Verdict", pair: tuple[str, str]) -> str:
    """Describe a verdict in a line."""
    chosen = "" if verdict.threshold_name == "prior" else " by the threshold"
    line = (
        f"{verdict.decision}{chosen}: {pair[0]} {pair[1]}: LLR {verdict.llr:.2f}, "
        f"probability {verdict.probability:.4f} at prior {verdict.prior:g}, "
        f"threshold {verdict.threshold:.2f} ({verdict.threshold_name})"
    )
    return "; ".join([line, *verdict.warnings])


def main() -> None:
    args = parse()
    first, *others = args.recordings or [""]
    pairs = [(first, other) for other in others] if args.pairs is None else read_pairs(args.pairs)
    from dataclasses import asdict

    from sv.verifier import MARGIN, Verifier, check_rule

    rule = {"prior": args.prior, "threshold": args.threshold, "margin": MARGIN if args.margin is None else args.margin}
    check_rule(args.model, **rule)
    verdicts = Verifier(args.model, gpus=args.gpus).score_each(pairs, **rule)
    decisions, failed = set(), 0
    for pair, verdict in zip(pairs, verdicts, strict=True):
        values: dict[str, object] = {"first": pair[0], "second": pair[1]}
        if isinstance(verdict, UserError):
            if len(pairs) == 1:
                raise verdict
            failed += 1
            line = f"failed: {pair[0]} {pair[1]}: {verdict}"
            values |= {"decision": "failed", "same": None, "error": str(verdict)}
        else:
            decisions.add(verdict.decision)
            line = describe(verdict, pair)
            values |= {**asdict(verdict), "same": verdict.same}
        print(json.dumps(values) if args.json else line, flush=True)
    if failed:
        raise UserError(f"{failed} of {len(pairs)} pairs failed; the reason stands in the line of each")
    sys.exit(max(map(STATUS.__getitem__, decisions), key=list(STATUS.values()).index))


if __name__ == "__main__":
    run_step(main)
