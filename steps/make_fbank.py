#!/usr/bin/env python3
"""Do the Python part of steps/make_fbank.sh: it is called before the jobs, in each job, and after them.

begin  checks settings, data dir and free disk, and prints how many jobs to run: 0 if the features are made
part   writes <ark-dir>/fbank.PART.{ark,scp,utt2num_frames,utt2dur}
join   makes feats.scp, utt2num_frames, utt2dur and fbank.yaml of all parts

With --augment it also writes utt2augment, the augmentation of each utterance.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import WrongCall, run_step, suggest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"], help="which part of the work; see above")
    parser.add_argument("data_dir", type=Path, help="data dir with wav.scp")
    parser.add_argument("ark_dir", type=Path, help="folder for this data dir only")
    parser.add_argument("--num-parts", type=int, default=1, help="number of parts of the work")
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--config", type=Path, help="YAML of a system, with dataset_args.fbank_args")
    parser.add_argument(
        "--dither", choices=["true", "false"], default="false", help="add noise of one 16-bit step, for training"
    )
    parser.add_argument("--augment", default="", help="augmentation of the audio: noise, reverb, ...")
    parser.add_argument("--noise-data", default="", help="folder of noise for the augmentation")
    parser.add_argument("--reverb-data", default="", help="folder of impulse responses for the augmentation")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    parser.add_argument("--verify", choices=["true", "false"], default="false", help="compare checksums")
    args = parser.parse_args()
    from sv.config import Config, load_config
    from sv.data.fbank_parts import AUGMENT_KINDS, FbankParts
    from sv.jobs.parts import act

    if args.augment and args.augment not in AUGMENT_KINDS:
        raise WrongCall(f"--augment {args.augment!r}{suggest(args.augment, AUGMENT_KINDS)}")
    work = FbankParts(
        data_dir=args.data_dir,
        ark_dir=args.ark_dir,
        allow_pipes=args.allow_pipes == "true",
        system=load_config(args.config) if args.config else Config(),
        dither=args.dither == "true",
        augment=args.augment,
        noise_data=args.noise_data,
        reverb_data=args.reverb_data,
        num_jobs=args.num_parts,
    )
    act(args.action, [work], args.part, verify=args.verify == "true")


if __name__ == "__main__":
    run_step(main)
