#!/usr/bin/env python3
"""Convert a configuration of WeSpeaker to ours, to continue, fine-tune or use a WeSpeaker system here.

Reads   <config>: a file of WeSpeaker's conf/, or the config.yaml of one of its models.
Writes  <output>: our configuration, with every key; keys that were left out, and why, go to stderr.

Unknown keys and keys for missing features are refused, all in one error. Keys that WeSpeaker lacks get our defaults:
heldout_speakers sets some training speakers aside; 0 trains on all of them, as WeSpeaker does.
e.g.: tools/import_wespeaker_config.py voxceleb_resnet34/config.yaml exp/theirs/config.yaml
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import UserError, log, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="configuration of WeSpeaker")
    parser.add_argument("output", type=Path, help="file to write")
    args = parser.parse_args()
    if not args.config.is_file():
        raise UserError(f"{args.config} does not exist; give a configuration of WeSpeaker's")
    from sv.config import save_config
    from sv.io import read_yaml
    from sv.training.wespeaker_config import import_config

    config, found = import_config(read_yaml(args.config), str(args.config))
    for key, why in found.left_out.items():
        log.info("left out: %s (%s)", key, why)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_config(config, args.output)
    log.info("wrote %s: %s with %s", args.output, config.model, config.loss)


if __name__ == "__main__":
    run_step(main)
