#!/usr/bin/env python3
"""One part of the work of steps/make_fbank.sh, which calls this before, for and after its jobs.

begin  checks settings, data dir and free disk, prints how many parts to run: 0 if the features are there already
part   writes <ark-dir>/fbank.PART.{ark,scp,utt2num_frames,utt2dur}
join   makes feats.scp, utt2num_frames, utt2dur and fbank.yaml of all parts

With --augment also utt2augment, of what each utterance was given.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from numpy.typing import NDArray

from sv.audio.durations import write_seconds
from sv.audio.files import Utterances, estimate_hours
from sv.config import Config, FbankConfig, load_config
from sv.errors import UserError, log, run_step
from sv.io import atomic_write
from sv.jobs.parts import FeatureParts

if TYPE_CHECKING:
    from sv.data.augmenter import Augmenter


KINDS = ("reverb", "noise", "music", "babble")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Of these words, or of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("ark_dir", type=Path, help="for this data dir alone")
    parser.add_argument("--num-parts", type=int, default=1)
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--config", type=Path, help="YAML of a system, with dataset_args.fbank_args")
    parser.add_argument("--dither", choices=["true", "false"], default="false")
    parser.add_argument("--augment", choices=KINDS, default="", help="add it to the audio")
    parser.add_argument("--noise-data", default="", help="folder of noise for it")
    parser.add_argument("--reverb-data", default="", help="folder of impulse responses for it")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    parser.add_argument("--verify", choices=["true", "false"], default="false", help="compare checksums")
    return parser.parse_args(words)


def begin(work: FeatureParts, config: FbankConfig, args: argparse.Namespace) -> int:
    """Check now what would fail in every part; returns the number of parts to run."""
    verify, num_parts = args.verify == "true", min(args.num_parts, work.num_utts)
    why = work.mark().stale(verify=verify)
    if not why:
        return 0
    from sv.audio.features import mel_banks  # imports torch, which takes seconds

    log.info("%s: %s", work.data_dir, why)
    mel_banks(config)
    work.begin(num_parts, estimate_bytes(work.data_dir, config), verify=verify)
    return num_parts


def estimate_bytes(data_dir: Path, config: FbankConfig) -> float:
    """Of all archives of a data dir: two bytes a value."""
    hours = estimate_hours(data_dir, config.sample_rate)
    return 2 * config.num_mel_bins * 3.6e6 * hours / config.frame_shift


def make_part(work: FeatureParts, config: FbankConfig, args: argparse.Namespace, augmenter: "Augmenter | None") -> None:
    import torch

    from sv.audio.features import Fbank, dither_noise

    if not work.part_mark(args.part, args.num_parts).stale():
        log.info("part %d is there already", args.part)
        return
    torch.set_num_threads(1)
    fbank = Fbank(config)
    utterances = Utterances(work.data(args.part, args.num_parts), config.sample_rate, args.allow_pipes == "true")

    def compute(utt: str) -> tuple[NDArray[np.float32], tuple[object, ...]]:
        waveform = torch.from_numpy(utterances.read(utt))[None]  # (1, samples)
        given: list[str] = []
        if augmenter is not None:
            waveform, what = augmenter.augment(utt, waveform, args.augment)
            given = [what]
        samples = waveform.shape[1]
        frames = fbank.num_frames(samples)
        if frames == 0:
            raise UserError(
                f"{utt}: {samples / config.sample_rate:.4f} s are less than one frame of {config.frame_length:g} ms; "
                f"remove it from {utterances.source} and run tools/fix_data_dir.sh {work.data_dir}"
            )
        noise = dither_noise(utt, samples)[None] if config.dither > 0 else None
        return fbank(waveform, noise)[0].numpy(), (frames, write_seconds(samples / config.sample_rate), *given)

    work.make(args.part, args.num_parts, compute, compress=True)


def make_augmenter(sample_rate: int, args: argparse.Namespace) -> "Augmenter":
    """Of the one type that is wanted.

    Raises:
        UserError: no files of it.
    """
    from sv.data.augmenter import Augmenter  # imports torch, which takes seconds

    system = load_config(args.config) if args.config else Config()
    weights = {kind: float(kind == args.augment) for kind in KINDS}
    return Augmenter(
        system.dataset_args.augment_args.model_copy(update=weights),
        prob=1.0,
        seed=system.seed,
        sample_rate=sample_rate,
        noise_data="" if args.augment == "reverb" else args.noise_data,
        reverb_data=args.reverb_data if args.augment == "reverb" else "",
    )


def join(work: FeatureParts, config: FbankConfig, args: argparse.Namespace) -> None:
    settings = work.data_dir / "fbank.yaml"
    with atomic_write(settings) as f:
        f.write("# Front-end settings of the features in feats.scp, as steps/make_fbank.sh used them\n")
        yaml.safe_dump(config.model_dump(), f, sort_keys=False)
    work.join(args.num_parts, [settings])


def read_task(args: argparse.Namespace) -> tuple[FeatureParts, FbankConfig, "Augmenter | None"]:
    """What the options ask for."""
    config = load_config(args.config).dataset_args.fbank_args if args.config else FbankConfig()
    if args.dither == "false":
        config = config.model_copy(update={"dither": 0.0})
    augmenter, settings = None, config.model_dump()
    if args.augment:
        augmenter = make_augmenter(config.sample_rate, args)
        given = {"type": args.augment, "args": augmenter.args.model_dump(), "files": augmenter.file_fingerprint()}
        settings["augment"] = {**given, "seed": augmenter.seed}
    work = FeatureParts(
        data_dir=args.data_dir,
        ark_dir=args.ark_dir.absolute(),
        name="fbank",
        settings=settings,
        scp="feats.scp",
        tables=("utt2num_frames", "utt2dur", *(["utt2augment"] if args.augment else [])),
    )
    return work, config, augmenter


def main() -> None:
    args = parse()
    if not 1 <= args.part <= args.num_parts:
        raise UserError(f"--part {args.part} of --num-parts {args.num_parts}; parts count from 1")
    work, config, augmenter = read_task(args)
    if args.action == "begin":
        print(begin(work, config, args))
    elif args.action == "part":
        make_part(work, config, args, augmenter)
    else:
        join(work, config, args)


if __name__ == "__main__":
    run_step(main)
