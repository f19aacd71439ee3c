#!/usr/bin/env python3
"""Do the Python part of steps/prepare_features.sh: it is called before the jobs, in each job, and after them.

begin  checks settings, data dirs and the free disk for all of them, and prints how many jobs to run: 0 if all is made
part   writes a part of the features of each data dir, or of its shards
join   makes feats.scp, utt2num_frames, utt2dur and fbank.yaml of each, with the VAD vad.scp, or shard.list
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import run_step

if TYPE_CHECKING:
    from sv.jobs.parts import Parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"], help="which part of the work; see above")
    parser.add_argument("test_data", type=Path, help="data dir of the test set")
    parser.add_argument("train_data", nargs="*", help="training data: DIR, or DIR:reverb for an augmented copy")
    parser.add_argument("--num-parts", type=int, default=1, help="number of parts of the work")
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--config", type=Path, required=True, help="YAML of the system; train_feats shard: make shards")
    parser.add_argument("--fbank", type=Path, required=True, help="folder of feature archives")
    parser.add_argument("--noise-data", default="", help="folder of noise for copies")
    parser.add_argument("--reverb-data", default="", help="folder of impulse responses for copies")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    parser.add_argument("--verify", choices=["true", "false"], default="false", help="compare checksums")
    args = parser.parse_args()
    from sv.jobs.parts import act

    act(args.action, list_works(args), args.part, verify=args.verify == "true")


def list_works(args: argparse.Namespace) -> "list[Parts]":
    """Return the features of all data dirs, or shards instead of the training data's."""
    from sv.audio.shard_parts import ShardParts
    from sv.audio.vad_parts import VadParts
    from sv.config import load_config
    from sv.data.fbank_parts import AUGMENT_KINDS, FbankParts

    system, jobs, folders = load_config(args.config), args.num_parts, dict.fromkeys(args.train_data, True)
    rate = system.dataset_args.fbank_args.sample_rate
    works: list[Parts] = []
    pipes = args.allow_pipes == "true"
    for name, dither in {str(args.test_data): False, **folders}.items():
        stem, _, kind = name.rpartition(":")
        folder, augment = (Path(stem), kind) if stem and kind in AUGMENT_KINDS else (Path(name), "")
        if dither and system.train_feats == "shard":
            shards = folder / "shards"
            works.append(
                ShardParts(data_dir=folder, shard_dir=shards, sample_rate=rate, allow_pipes=pipes, num_jobs=jobs)
            )
            continue
        works.append(
            FbankParts(
                data_dir=folder,
                ark_dir=args.fbank / folder.name,
                system=system,
                dither=dither,
                augment=augment,
                noise_data=args.noise_data,
                reverb_data=args.reverb_data,
                allow_pipes=pipes,
                num_jobs=jobs,
            )
        )
        if system.dataset_args.vad:
            works.append(
                VadParts(
                    data_dir=folder,
                    ark_dir=args.fbank / folder.name,
                    config=system.dataset_args.fbank_args,
                    vad=system.dataset_args.vad_args.model_dump(),
                    allow_pipes=pipes,
                    num_jobs=jobs,
                )
            )
    return works


if __name__ == "__main__":
    run_step(main)
