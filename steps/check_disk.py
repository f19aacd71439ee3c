#!/usr/bin/env python3
"""Compare the free disk with all that stage 2 of a recipe will make, before it makes anything.

Counts features of all sets, of copies that are not listed yet as well, and shards; what is there already is subtracted.

e.g.: steps/check_disk.py --config exp/x/system.yaml --fbank fbank --speeds "0.9 1.1" data/vox2_dev data/vox1
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import make_fbank, make_shards
from sv.errors import log, run_step
from sv.jobs.disk import check_free, in_words


@dataclass(frozen=True)
class PlannedFeatures:
    """Features of one data dir.

    Attributes:
        data_dir: that may not be there yet.
        ark_dir: where its archives go.
        why: they are to be made; "" if they are complete.
        bytes_to_come: about; 0 where nothing is known of the audio.
    """

    data_dir: Path
    ark_dir: Path
    why: str
    bytes_to_come: float


def plan_features(
    train_sets: Sequence[Path],
    test_set: Path,
    *,
    fbank: Path,
    config: Path,
    num_parts: int,
    noise_data: str = "",
    reverb_data: str = "",
    train_feats: str = "ark",
) -> Iterator[PlannedFeatures]:
    """What steps/make_fbank.sh is to do for each set.

    Args:
        train_sets: the original, and copies of it named <original>_sp0.9, <original>_noise and so on.
        test_set: without dither.
        fbank: folder of feature archives.
        config: YAML of the system.
        num_parts: jobs of a set.
        noise_data, reverb_data: folders that copies are augmented from.
        train_feats: where training is not from arks, the test set alone gets any.
    """
    origin = train_sets[0]
    for folder in (*train_sets, test_set) if train_feats == "ark" else (test_set,):
        kind = folder.name.removeprefix(f"{origin.name}_")
        words = ["begin", str(folder), str(fbank / folder.name), "--config", str(config)]
        words += ["--dither", "false" if folder == test_set else "true"]
        if not (folder / "wav.scp").is_file():
            _, front_end, _ = make_fbank.read_task(make_fbank.parse(words))
            speed = re.fullmatch(r"sp(\d+(?:\.\d+)?)", kind)
            listed = folder != test_set and (origin / "wav.scp").is_file()
            size = make_fbank.estimate_bytes(origin, front_end) if listed else 0.0
            size /= float(speed[1]) if speed else 1.0
            yield PlannedFeatures(folder, fbank / folder.name, "its lists are not made yet", size)
            continue
        if kind in make_fbank.KINDS:
            words += ["--augment", kind, "--noise-data", noise_data, "--reverb-data", reverb_data]
        work, front_end, _ = make_fbank.read_task(make_fbank.parse(words))
        size = work.bytes_to_come(num_parts, make_fbank.estimate_bytes(folder, front_end))
        yield PlannedFeatures(folder, fbank / folder.name, work.mark().stale(), size)


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
    copies = [f"sp{speed}" for speed in args.speeds.split()] + args.augment.split()
    planned = plan_features(
        [args.train_data, *(args.train_data.with_name(f"{args.train_data.name}_{copy}") for copy in copies)],
        args.test_data,
        fbank=args.fbank,
        config=args.config,
        num_parts=args.nj,
        noise_data=args.noise_data,
        reverb_data=args.reverb_data,
        train_feats=args.train_feats,
    )
    needed = {features.ark_dir: features.bytes_to_come for features in planned}
    if args.train_feats == "shard" and (args.train_data / "wav.scp").is_file():
        words = ["begin", str(args.train_data), "--config", str(args.config)]
        shards = make_shards.read_task(make_shards.parse(words))
        needed[shards.folder] = make_shards.bytes_to_come(shards, shards.missing())
    check_free(needed)
    if (total := sum(needed.values())) > 0:
        log.info("about %s are to come, and the disk has room for them", in_words(total))


if __name__ == "__main__":
    run_step(main)
