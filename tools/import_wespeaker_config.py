#!/usr/bin/env python3
"""Make a configuration of ours from WeSpeaker's, so that a system of theirs can be trained on, fine-tuned or used here.

Reads   <config>, theirs: a file of conf/, or the config.yaml that their training left with the model.
Writes  <output>, ours, with every key; what was left out, and why, on stderr.

Keys that ask for what there is not here, and unknown ones, are refused, all at once. Keys that are ours alone get their
defaults: heldout_speakers sets some training speakers aside, where WeSpeaker trains on all of them (0).
e.g.: tools/import_wespeaker_config.py voxceleb_resnet34/config.yaml exp/theirs/config.yaml
"""

import argparse
from pathlib import Path

from sv.config import save_config
from sv.errors import UserError, log, run_step
from sv.io import read_yaml
from sv.training.wespeaker import import_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    if not args.config.is_file():
        raise UserError(f"{args.config} does not exist; give a configuration of WeSpeaker's")
    config, found = import_config(read_yaml(args.config), str(args.config))
    for key, why in found.left_out.items():
        log.info("left out: %s (%s)", key, why)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_config(config, args.output)


if __name__ == "__main__":
    run_step(main)
