#!/usr/bin/env python3
"""One part of the work of steps/compute_vad_decision.sh, which calls this before, for and after its jobs.

begin  checks settings and data dir, prints how many parts to run: 0 if the decisions are there already
part   writes <ark-dir>/vad.PART.{ark,scp}
join   makes vad.scp of all parts
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.audio.files import Utterances
from sv.config import FbankConfig, load_config, read_front_end
from sv.errors import UserError, log, run_step
from sv.jobs.parts import FeatureParts

VAD_TYPES = {
    "energy_threshold": float,
    "energy_mean_scale": float,
    "frames_context": int,
    "proportion_threshold": float,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("ark_dir", type=Path, help="for this data dir alone")
    parser.add_argument("--num-parts", type=int, default=1)
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--vad-config", type=Path, help="Kaldi's conf/vad.conf; the following go before it")
    for name in VAD_TYPES:
        parser.add_argument(f"--{name.replace('_', '-')}", help="as in Kaldi's compute-vad")
    parser.add_argument("--config", type=Path, help="YAML of a system, where the data dir has no fbank.yaml")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    return parser.parse_args()


def vad_settings(args: argparse.Namespace) -> dict[str, float]:
    """The keyword arguments of `energy_vad`, from Kaldi's file and, going before it, the options."""
    texts = read_kaldi_config(args.vad_config) if args.vad_config else {}
    texts |= {name: getattr(args, name) for name in VAD_TYPES if getattr(args, name) is not None}
    settings: dict[str, float] = {}
    for name, text in texts.items():
        try:
            settings[name] = VAD_TYPES[name](text)
        except ValueError:
            raise UserError(f"--vad-{name.replace('_', '-')} is {text!r}, not a number") from None
    if settings.get("frames_context", 0) < 0 or not 0 <= settings.get("proportion_threshold", 0) <= 1:
        raise UserError("--vad-frames-context must be 0 or more and --vad-proportion-threshold within 0 to 1")
    return settings


def read_kaldi_config(path: Path) -> dict[str, str]:
    """Lines `--vad-energy-threshold=5.5  # comment`, as {"energy_threshold": "5.5"}."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; name Kaldi's conf/vad.conf with --vad-config")
    settings = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        option, _, value = line.partition("#")[0].strip().partition("=")
        name = option.removeprefix("--vad-").replace("-", "_")
        if option and name not in VAD_TYPES:
            known = ", ".join(f"--vad-{known.replace('_', '-')}" for known in VAD_TYPES)
            raise UserError(f"{path}:{number}: unknown option {option!r}; known: {known}")
        if option:
            settings[name] = value.strip()
    return settings


def frame_settings(args: argparse.Namespace) -> FbankConfig:
    """The front-end of the data dir's features, else that of --config, else the default one."""
    if found := read_front_end(args.data_dir):
        return found
    return load_config(args.config).dataset_args.fbank_args if args.config else FbankConfig()


def begin(work: FeatureParts, args: argparse.Namespace) -> int:
    """Returns the number of parts to run."""
    why = work.mark().stale()
    if not why:
        return 0
    log.info("%s: %s", work.data_dir, why)
    num_parts = min(args.num_parts, work.num_utts)
    work.begin(num_parts)
    return num_parts


def make_part(work: FeatureParts, config: FbankConfig, vad: dict[str, Any], args: argparse.Namespace) -> None:
    import torch

    from sv.audio.features import energy_vad, frame_samples, log_energy

    if not work.part_mark(args.part, args.num_parts).stale():
        log.info("part %d is there already", args.part)
        return
    torch.set_num_threads(1)
    data = work.data(args.part, args.num_parts)
    utterances = Utterances(data, config.sample_rate, args.allow_pipes == "true")
    known_frames = data.utt2num_frames if (data.path / "utt2num_frames").is_file() else {}
    frame_length, _ = frame_samples(config)
    silent = 0

    def compute(utt: str) -> tuple[NDArray[np.float32], tuple[()]]:
        nonlocal silent
        waveform = utterances.read(utt)
        if len(waveform) < frame_length:
            raise UserError(
                f"{utt}: {len(waveform)} samples are less than one frame of {frame_length}; "
                f"remove it from {utterances.source} and run tools/fix_data_dir.sh {data.path}"
            )
        voiced = energy_vad(log_energy(torch.from_numpy(waveform), config).numpy(), **vad)
        if len(voiced) != known_frames.get(utt, len(voiced)):
            raise UserError(
                f"{utt}: {len(voiced)} frames, {known_frames[utt]} in {data.path / 'utt2num_frames'}; "
                f"make the features again (steps/make_fbank.sh {data.path})"
            )
        silent += not voiced.any()
        return voiced, ()

    work.make(args.part, args.num_parts, compute, compress=False)
    if silent:
        log.warning("%d utterances have no frame of speech", silent)


def main() -> None:
    args = parse()
    if not 1 <= args.part <= args.num_parts:
        raise UserError(f"--part {args.part} of --num-parts {args.num_parts}; parts count from 1")
    config, vad = frame_settings(args), vad_settings(args)
    frames = config.model_dump(include={"sample_rate", "frame_length", "frame_shift"})
    work = FeatureParts(args.data_dir, args.ark_dir.absolute(), "vad", {**frames, **vad}, "vad.scp")
    if args.action == "begin":
        print(begin(work, args))
    elif args.action == "part":
        make_part(work, config, vad, args)
    else:
        work.join(args.num_parts)


if __name__ == "__main__":
    run_step(main)
