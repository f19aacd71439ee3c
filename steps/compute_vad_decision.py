#!/usr/bin/env python3
"""Do the Python part of steps/compute_vad_decision.sh: it is called before the jobs, in each job, and after them.

begin  checks settings and data dir, and prints how many jobs to run: 0 if all decisions are made
part   writes <ark-dir>/vad.PART.{ark,scp}
join   makes vad.scp of all parts
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.audio.vad_parts import VAD_TYPES, VadParts, parse_vad_settings, read_vad_config
from sv.errors import run_step
from sv.jobs.parts import act


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"], help="which part of the work; see above")
    parser.add_argument("data_dir", type=Path, help="data dir with feats.scp")
    parser.add_argument("ark_dir", type=Path, help="folder for this data dir only")
    parser.add_argument("--num-parts", type=int, default=1, help="number of parts of the work")
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--vad-config", type=Path, help="Kaldi's conf/vad.conf; the following override it")
    for name in VAD_TYPES:
        parser.add_argument(f"--{name.replace('_', '-')}", help="as in Kaldi's compute-vad")
    parser.add_argument("--config", type=Path, help="YAML of a system, used if the data dir has no fbank.yaml")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    args = parser.parse_args()
    from sv.config import FbankConfig, load_config, read_front_end

    texts = read_vad_config(args.vad_config) if args.vad_config else {}
    texts |= {name: getattr(args, name) for name in VAD_TYPES if getattr(args, name) is not None}
    default = load_config(args.config).dataset_args.fbank_args if args.config else FbankConfig()
    work = VadParts(
        data_dir=args.data_dir,
        ark_dir=args.ark_dir,
        allow_pipes=args.allow_pipes == "true",
        config=read_front_end(args.data_dir) or default,
        vad=parse_vad_settings(texts),
        num_jobs=args.num_parts,
    )
    act(args.action, [work], args.part)


if __name__ == "__main__":
    run_step(main)
