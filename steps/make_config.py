#!/usr/bin/env python3
"""Resolve the configuration of a system: a YAML file, changed by a recipe's options.

Reads   --config YAML.
Writes  --output FILE with every key, or with --print-name the name of the system's folder on stdout,
        <model>-<loss>[-<type>][-m<margin>]-seed<N>, as in ResNet34-sphereface2-A-m0.15-seed42.

An empty option leaves what the file says. A --loss (or --model) other than the file's drops the file's loss_args and
margin (or model_args) for its own. With --fine-tune EXP_DIR the file states differences of that trained system.

e.g.: steps/make_config.py --config egs/voxceleb/conf/resnet34.yaml --loss aam --margin 0.2 --print-name
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sv.config import Config, save_config
from sv.embeddings.encoder import named_gpus
from sv.errors import run_step
from sv.training.system import FLAGS, check_start, make_fine_tuning, make_system, system_name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_system_options(parser)
    parser.add_argument("--fine-tune", type=Path, metavar="EXP_DIR", help="a trained system, which --config changes")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--print-name", action="store_true", help="print the name of the system's folder")
    wanted.add_argument("--output", type=Path, help="write the resolved configuration here")
    parser.add_argument("--checkpoint", default="", help="the model that training starts from, to be checked as well")
    parser.add_argument("--gpus", default="none", help="of the recipe, to be checked as well")
    args = parser.parse_args()
    named_gpus(args.gpus)
    config = fine_tuning_from(args) if args.fine_tune else system_from(args)
    if args.checkpoint or not args.fine_tune:
        check_start(config, Path(args.checkpoint) if args.checkpoint else None)
    if args.print_name:
        print(system_name(config))
    else:
        save_config(config, args.output)


def add_system_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which system it is."""
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the system")
    for name, flag in FLAGS.items():
        spellings = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        parser.add_argument(*spellings, dest=f"flag_{name}", default="", metavar="X", help=f"{flag.help} ({flag.key})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key; may be repeated")


def system_from(args: argparse.Namespace) -> Config:
    """The resolved configuration that the options ask for."""
    return make_system(args.config, *_given(args))


def fine_tuning_from(args: argparse.Namespace) -> Config:
    """The resolved configuration that fine-tunes a trained system."""
    return make_fine_tuning(args.config, args.fine_tune, *_given(args))


def _given(args: argparse.Namespace) -> tuple[dict[str, str], Sequence[str]]:
    return {name: getattr(args, f"flag_{name}") for name in FLAGS}, [word for word in args.set if word]


if __name__ == "__main__":
    run_step(main)
