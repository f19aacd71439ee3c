#!/usr/bin/env python3
"""Resolve a system's configuration: a YAML file, changed by options, with every default filled in.

Reads   --config YAML (with its bases); if the system is already trained, <exp-dir>/config.yaml.
Writes  <exp-dir>/system.yaml, which training and all later steps read; prints <exp-dir>.

Without <exp-dir> the folder is ROOT/<model>-<loss>[-<type>][-m<margin>][-online|-shard][-taught]-seed<N>, such as
exp/ResNet34-sphereface2-A-m0.15-seed42.
Another model or loss than the file's replaces the file's model_args (or loss_args and margin) by its own defaults.
With --fine-tune TRAINED the file has the differences to that trained system, and training starts from its model.

e.g.: steps/make_system.py --config egs/voxceleb/conf/resnet34.yaml --set "loss=aam seed=1" exp/aam
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import WrongCall, run_step

if TYPE_CHECKING:
    from sv.config import Config, Override


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "exp_dir", type=Path, nargs="?", help="folder of the system; default: named after it, in --root"
    )
    parser.add_argument("--config", required=True, help="YAML file of the system")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar='"KEY=VALUE ..."',
        help="keys of the configuration (sv/config.py); may be given several times",
    )
    parser.add_argument("--override", action="append", default=[], metavar='"--FLAG KEY=VALUE"', help="for recipes")
    parser.add_argument("--same-config", default="false", help="true: a trained system must have its model and loss")
    parser.add_argument("--noise-data", default="", help="noise to augment waveforms with, if training reads them")
    parser.add_argument(
        "--reverb-data", default="", help="impulse responses to augment waveforms with, if training reads them"
    )
    parser.add_argument(
        "--speeds", default=None, metavar='"FACTOR ..."', help="speeds of copies of waveforms, if training reads them"
    )
    parser.add_argument("--root", type=Path, default=Path("exp"), help="folder of the systems' folders")
    parser.add_argument("--suffix", default="", help="suffix of the folder's name")
    parser.add_argument(
        "--stage", type=int, default=3, help="first stage of the recipe; after stage 3 the system must be trained"
    )
    parser.add_argument("--gpus", default="none", help="--gpus of the recipe; its form is checked")
    parser.add_argument("--fine-tune", type=Path, metavar="TRAINED", help="folder of the system to fine-tune")
    parser.add_argument("--output", type=Path, help="write the configuration here, not to <exp-dir>")
    parser.add_argument("--speakers", type=Path, help="names that a trained system must have been trained on")
    args = parser.parse_args()
    if not args.config:
        raise WrongCall("--config must be given: a YAML file such as egs/voxceleb/conf/resnet34.yaml")
    return args


def main() -> None:
    args = parse()
    from sv.config import Override, load_config, save_config
    from sv.embeddings.experiment import check_same_speakers, read_config
    from sv.jobs.gpus import named_gpus
    from sv.system import (
        check_same_network,
        check_same_training,
        check_start,
        make_fine_tuning,
        make_system,
        system_name,
        trained_system,
    )

    overrides = [*map(_override, args.override), *map(Override.of, " ".join(args.set).split())]
    if args.fine_tune:
        config = make_fine_tuning(args.config, args.fine_tune, overrides)
    else:
        config = make_system(args.config, [*_of_waveforms(args, load_config(args.config, overrides)), *overrides])
    exp_dir = args.exp_dir or args.root / (system_name(config) + args.suffix)
    if args.speakers:
        check_same_speakers(exp_dir, args.speakers.read_text(encoding="utf-8").split())
    if args.stage > 3:
        if args.same_config == "true":
            check_same_network(config, read_config(exp_dir), exp_dir)
        config = trained_system(exp_dir, overrides)
    elif (exp_dir / "config.yaml").is_file():
        check_same_training(config, read_config(exp_dir), exp_dir)  # training has begun: it starts from no file again
    else:
        check_start(config)
    named_gpus(args.gpus)
    save_config(config, args.output or exp_dir / "system.yaml")
    print(exp_dir)


def _override(text: str) -> "Override":
    """Return what an option of a recipe sets: "--margin margin_update.final_margin=0.3"."""
    from sv.config import Override

    flag, _, word = text.partition(" ")
    key, _, value = word.partition("=")
    return Override(key, value, f"{flag} {value}")


def _of_waveforms(args: argparse.Namespace, config: "Config") -> "list[Override]":
    """Return what the options say of waveforms, which training from arks does not read."""
    from sv.config import Override

    if config.train_feats == "ark":
        return []
    found = [
        Override(key, getattr(args, key), f"{key} of the recipe")
        for key in ("noise_data", "reverb_data")
        if getattr(args, key)
    ]
    if args.speeds is not None:
        found.append(Override("dataset_args.speeds", f"[{','.join(args.speeds.split())}]", f"--speeds {args.speeds}"))
    return found


if __name__ == "__main__":
    run_step(main)
