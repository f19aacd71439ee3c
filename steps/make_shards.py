#!/usr/bin/env python3
"""Do the Python part of steps/make_shards.sh: it is called before the jobs, in each job, and after them.

begin  checks data dir and free disk, and prints how many jobs to run: 0 if the shards are made
part   makes every --num-parts-th of the shards, unless it is complete
join   writes <data-dir>/shard.list
check  compares every utterance of every shard with its checksum
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.audio.shard_parts import ShardParts, check_shards
from sv.errors import check_rate, run_step
from sv.jobs.parts import act


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join", "check"], help="which part of the work; see above")
    parser.add_argument("data_dir", type=Path, help="data dir with wav.scp")
    parser.add_argument(
        "shard_dir", type=Path, nargs="?", help="folder for this data dir only (default: <data-dir>/shards)"
    )
    parser.add_argument("--num-parts", type=int, default=1, help="number of parts of the work")
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--sample-rate", type=int, default=16000, help="Hz, of all audio")
    parser.add_argument("--config", type=Path, help="YAML of a system, whose sample rate is used instead")
    parser.add_argument("--utts-per-shard", type=int, default=1000, help="utterances in each shard")
    parser.add_argument(
        "--format",
        choices=["same", "flac", "wav"],
        default="same",
        help="format of the audio in the shards; same: that of the files, if possible",
    )
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    parser.add_argument("--verify", choices=["true", "false"], default="false", help="compare checksums")
    args = parser.parse_args()
    check_rate("--sample-rate", args.sample_rate)
    if args.action == "check":
        return check_shards(args.data_dir)
    sample_rate = args.sample_rate
    if args.config:
        from sv.config import load_config  # pydantic takes a tenth of a second

        sample_rate = load_config(args.config).dataset_args.fbank_args.sample_rate
    work = ShardParts(
        data_dir=args.data_dir,
        shard_dir=args.shard_dir or args.data_dir / "shards",
        sample_rate=sample_rate,
        utts_per_shard=args.utts_per_shard,
        audio_format=args.format,
        allow_pipes=args.allow_pipes == "true",
        num_jobs=args.num_parts,
    )
    act(args.action, [work], args.part, verify=args.verify == "true")


if __name__ == "__main__":
    run_step(main)
