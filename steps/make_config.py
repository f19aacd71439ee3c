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
from pathlib import Path

from sv.config import Config, Override, save_config
from sv.embeddings.encoder import named_gpus
from sv.errors import run_step
from sv.system import check_start, make_fine_tuning, make_system, system_name

# Option -> the key that it sets, and its help; any other key is set with --set.
FLAGS = {
    "model": ("model", "encoder"),
    "loss": ("loss", "loss"),
    "margin_type": ("loss_args.margin_type", "C, A or M, of sphereface2"),
    "margin": ("margin_update.final_margin", "final margin"),
    "scale": ("loss_args.scale", "s"),
    "lambda": ("loss_args.target_weight", "weight of the target pair in sphereface2"),
    "t": ("loss_args.t", "exponent of sphereface2's g"),
    "train_feats": ("train_feats", "ark, online or shard"),
    "data_type": ("train_feats", "WeSpeaker's name of the same: feat, raw or shard"),
    "noise_data": ("noise_data", "data dir of noise, for online and shard"),
    "reverb_data": ("reverb_data", "data dir of impulse responses, for online and shard"),
    "seed": ("seed", "of initialization, held-out speakers, order and crops"),
    "num_epochs": ("num_epochs", "length of training"),
    "num_avg": ("num_avg", "models averaged in stage 4"),
    "batch_size": ("dataloader_args.batch_size", "utterances a step and process"),
    "lr": ("scheduler_args.initial_lr", "learning rate, before it is scaled with the batch"),
    "head_init": ("head_init", "the head's start from another's model: auto, load, class_means or random"),
    "precision": ("precision", "fp32, bf16 or fp16"),
    "split_head": ("split_head", "true: each training process owns the weight vectors of some speakers"),
    "sync_bn": ("sync_bn", "true: batch norm over the batches of all training processes (GPUs)"),
    "heldout_speakers": ("heldout_speakers", "training speakers set aside to measure the EER"),
}


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
    for name, (key, help_text) in FLAGS.items():
        spellings = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        parser.add_argument(*spellings, dest=f"flag_{name}", default="", metavar="X", help=f"{help_text} ({key})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key; may be repeated")


def system_from(args: argparse.Namespace) -> Config:
    """The resolved configuration that the options ask for."""
    return make_system(args.config, [*_flags(args), *_settings(args)])


def fine_tuning_from(args: argparse.Namespace) -> Config:
    """The resolved configuration that fine-tunes a trained system."""
    return make_fine_tuning(args.config, args.fine_tune, _flags(args), _settings(args))


def _flags(args: argparse.Namespace) -> list[Override]:
    given = {name: getattr(args, f"flag_{name}") for name in FLAGS}
    said = {name: f"--{name.replace('_', '-')} {value}" for name, value in given.items() if value}
    return [Override(FLAGS[name][0], given[name], words) for name, words in said.items()]


def _settings(args: argparse.Namespace) -> list[Override]:
    return [Override.of(word) for word in args.set if word]


if __name__ == "__main__":
    run_step(main)
