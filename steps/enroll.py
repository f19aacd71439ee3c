#!/usr/bin/env python3
"""Enroll a speaker from one or more recordings, for steps/identify.py.

Reads   <model>: folder of a trained and calibrated system; audio files of one channel
Writes  <speakers>/<name>.npz  embeddings, durations and the system's fingerprint; replaces an earlier one
e.g.: steps/enroll.py --model exp/x anna a1.wav a2.wav a3.wav
"""

import argparse
import json
from pathlib import Path

import _path  # noqa: F401

from sv.errors import counted, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the speaker")
    parser.add_argument("recordings", nargs="+", metavar="recording", help="audio files of the speaker")
    parser.add_argument("--model", type=Path, required=True, help="folder of the system")
    parser.add_argument("--speakers", type=Path, help="folder of speakers (default: <model>/speakers)")
    parser.add_argument("--gpus", default="auto", help="auto, none, or the number of a GPU")
    parser.add_argument("--json", action="store_true", help="print one object of JSON")
    args = parser.parse_args()
    if Path(args.name).is_file():
        parser.error(f"{args.name} is a file; the name of the speaker comes before the recordings")
    from sv.enrolled import Enrolled, check_name
    from sv.verifier import Verifier

    check_name(args.name)
    folder = args.speakers or args.model / "speakers"
    speaker = Enrolled(Verifier(args.model, gpus=args.gpus), folder).add(args.name, args.recordings)
    file, count = f"{folder / args.name}.npz", len(speaker.recordings)
    seconds = sum(one.duration_s for one in speaker.recordings)
    warnings = list(dict.fromkeys(line for one in speaker.recordings for line in one.warnings))
    if args.json:
        print(json.dumps({"file": file, "recordings": count, "duration_s": seconds, "warnings": warnings}))
    else:
        print(f"{file}: {counted(count, 'recording')}, {seconds:.1f} s", *warnings, sep="\n")


if __name__ == "__main__":
    run_step(main)
