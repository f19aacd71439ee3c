#!/usr/bin/env python3
"""Do the Python part of steps/check_data.sh: it is called before the jobs, in each job, and after them.

begin  compares the tables, and prints how many jobs to run: 0 with --once if an earlier check found no fault
part   decodes a part of the utterances of all data dirs
join   prints the table of hours, speakers and utterances, and the faults
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import check_rate, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"], help="which part of the work; see above")
    parser.add_argument("data_dirs", type=Path, nargs="+", metavar="data-dir", help="data dirs with wav.scp")
    parser.add_argument("--num-parts", type=int, required=True, help="number of parts of the work")
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--sample-rate", type=int, default=16000, help="Hz, of all audio")
    parser.add_argument("--config", type=Path, help="YAML of a system, whose sample rate is used instead")
    parser.add_argument("--min-duration", type=float, default=0.025, help="minimum duration in seconds")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    parser.add_argument(
        "--find-duplicates", choices=["true", "false"], default="false", help="report recordings of the same content"
    )
    parser.add_argument(
        "--once", choices=["true", "false"], default="false", help="skip the check if the same tables had no fault"
    )
    args = parser.parse_args()
    check_rate("--sample-rate", args.sample_rate)
    from sv.audio.data_check import DataCheck
    from sv.config import load_config

    work = DataCheck(
        data_dirs=tuple(args.data_dirs),
        sample_rate=load_config(args.config).dataset_args.fbank_args.sample_rate if args.config else args.sample_rate,
        min_duration_s=args.min_duration,
        find_duplicates=args.find_duplicates == "true",
        allow_pipes=args.allow_pipes == "true",
        once=args.once == "true",
        num_jobs=args.num_parts,
    )
    if args.action == "begin":
        print(work.begin())
    elif args.action == "part":
        work.run(args.part)
    else:
        try:
            work.finish()
        finally:  # the table tells much of faulty data, too
            if work.result.is_file():
                print(work.result.read_text(), end="")


if __name__ == "__main__":
    run_step(main)
