#!/usr/bin/env python3
"""Identify the enrolled speaker of each recording.

Reads   <model>: folder of a trained and calibrated system; <speakers>: what steps/enroll.py wrote; audio files of one
        channel
Prints  for each recording: the speaker, or "nobody" or "cannot tell", and the most similar ones with their
        log-likelihood ratios (natural log) and probabilities; or "failed", with the reason
Status  0: each recording is of an enrolled speaker; 3: one or more are of none; 4: some answers are "cannot tell";
        1: some recordings failed, or nothing could be done; 2: wrong call

--prior and --threshold are those of verify.py, for each speaker.
e.g.: steps/identify.py --model exp/x call1.wav call2.wav
"""

import argparse
import json
import sys
from pathlib import Path

import _path  # noqa: F401

from sv.errors import UserError, check_probability, check_whole, run_step

STATUS = {"same": 0, "cannot tell": 4, "different": 3}  # of several recordings, the last that occurs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", metavar="recording", help="audio files, each of one speaker")
    parser.add_argument("--model", type=Path, required=True, help="folder of the system")
    parser.add_argument("--speakers", type=Path, help="folder of speakers (default: <model>/speakers)")
    parser.add_argument("--threshold", help="LLR or name, as for verify.py")
    parser.add_argument("--prior", type=float, default=0.5, help="probability of each speaker before listening")
    parser.add_argument("--top", type=int, default=3, help="number of most similar speakers to print")
    parser.add_argument("--gpus", default="auto", help="auto, none, or the number of a GPU")
    parser.add_argument("--json", action="store_true", help="print an object of JSON for each recording")
    args = parser.parse_args()
    check_probability("--prior", args.prior)
    check_whole("--top", args.top, 1)
    from sv.embeddings.embedder import check_system
    from sv.enrolled import Enrolled, speaker_files
    from sv.verifier import Verifier, check_rule

    folder = args.speakers or args.model / "speakers"
    model = check_system(args.model)
    speaker_files(folder)  # before the model is loaded, which takes seconds
    check_rule(model, prior=args.prior, threshold=args.threshold)
    enrolled = Enrolled(Verifier(model, gpus=args.gpus), folder)
    decisions, failed = set(), 0
    answers = enrolled.identify(args.recordings, prior=args.prior, threshold=args.threshold)
    for recording, found in zip(args.recordings, answers, strict=True):
        values: dict[str, object] = {"recording": recording}
        if isinstance(found, UserError):
            if len(args.recordings) == 1:
                raise found
            failed += 1
            line = f"failed: {recording}: {found}"
            values |= {"decision": "failed", "speaker": None, "error": str(found)}
        else:
            decisions.add(found.decision)
            best = list(found.verdicts.items())[: args.top]
            who = found.speaker or ("nobody" if found.decision == "different" else found.decision)
            ranking = ", ".join(f"{name} LLR {one.llr:.2f}, probability {one.probability:.4f}" for name, one in best)
            line = "; ".join([f"{who}: {recording}: {ranking}", *best[0][1].warnings])
            values |= {"decision": found.decision, "speaker": found.speaker}
            values["best"] = [{"speaker": name, "llr": one.llr, "probability": one.probability} for name, one in best]
            values["warnings"] = best[0][1].warnings
        print(json.dumps(values) if args.json else line, flush=True)
    if failed:
        raise UserError(f"{failed} of {len(args.recordings)} recordings failed; the reason stands in the line of each")
    sys.exit(max(map(STATUS.__getitem__, decisions), key=list(STATUS.values()).index))


if __name__ == "__main__":
    run_step(main)
