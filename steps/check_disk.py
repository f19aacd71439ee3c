#!/usr/bin/env python3
"""Compare the free disk with all that stage 2 of a recipe will make, before it makes anything.

Counts features of all sets, also of copies that are not listed yet, and shards; what is there already is subtracted.

e.g.: steps/check_disk.py --config exp/x/system.yaml --fbank fbank --speeds "0.9 1.1" data/vox2_dev data/vox1
"""

import argparse
from pathlib import Path

from sv.audio.shard_parts import ShardParts
from sv.config import Config, load_config
from sv.data.fbank_parts import FbankParts, fbank_bytes
from sv.errors import log, run_step
from sv.jobs.disk import check_free, in_words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train_data", type=Path)
    parser.add_argument("test_data", type=Path)
    parser.add_argument("--speeds", default="", help="of copies of the training data")
    parser.add_argument("--augment", default="", help="types of augmented copies of the training data")
    parser.add_argument("--fbank", type=Path, required=True, help="folder of feature archives")
    parser.add_argument("--config", type=Path, required=True, help="YAML of the system")
    parser.add_argument("--nj", type=int, default=1, help="jobs of a set")
    parser.add_argument("--noise-data", default="")
    parser.add_argument("--reverb-data", default="")
    parser.add_argument("--train-feats", default="ark", help="online: no features for training; shard: shards instead")
    args = parser.parse_args()
    system, train = load_config(args.config), args.train_data
    needed = {}
    if args.train_feats == "ark":
        needed[args.fbank / train.name] = features_to_come(args, system, train)
        for speed in args.speeds.split():
            copy = train.with_name(f"{train.name}_sp{speed}")
            needed[args.fbank / copy.name] = features_to_come(args, system, copy, speed=float(speed))
        for kind in args.augment.split():
            copy = train.with_name(f"{train.name}_{kind}")
            needed[args.fbank / copy.name] = features_to_come(args, system, copy, augment=kind)
    needed[args.fbank / args.test_data.name] = features_to_come(args, system, args.test_data)
    if args.train_feats == "shard" and (train / "wav.scp").is_file():
        rate = system.dataset_args.fbank_args.sample_rate
        shards = ShardParts(data_dir=train, shard_dir=train / "shards", sample_rate=rate)
        needed[shards.folder] = shards.bytes_to_come()
    check_free(needed)
    if (total := sum(needed.values())) > 0:
        log.info("about %s are to come, and the disk has room for them", in_words(total))


def features_to_come(
    args: argparse.Namespace, system: Config, data_dir: Path, *, speed: float = 1.0, augment: str = ""
) -> float:
    """Return the bytes of features that are to be made for a data dir; it may be a copy that is not listed yet."""
    if not (data_dir / "wav.scp").is_file():
        listed = data_dir != args.test_data and (args.train_data / "wav.scp").is_file()
        return fbank_bytes(args.train_data, system.dataset_args.fbank_args) / speed if listed else 0.0
    return FbankParts(
        data_dir=data_dir,
        ark_dir=args.fbank / data_dir.name,
        system=system,
        dither=data_dir != args.test_data,
        augment=augment,
        noise_data=args.noise_data,
        reverb_data=args.reverb_data,
        num_jobs=args.nj,
    ).bytes_to_come()


if __name__ == "__main__":
    run_step(main)
