#!/usr/bin/env python3
"""Average the last models of a training: every tensor, batch norm's statistics included.

Reads   <exp-dir>/config.yaml, <exp-dir>/models/model_N.pt.
Writes  <exp-dir>/models/avg_model.pt and its .sha256.

A training of fewer epochs than --num-avg has all its models averaged, with a warning; a training that is not complete,
or that left out models in between, is an error.
"""

import argparse
from pathlib import Path

from sv.errors import UserError, run_step
from sv.training.averaging import average


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path)
    parser.add_argument("--num-avg", default="", help="how many models; empty: as the configuration says")
    parser.add_argument("--epoch", default="", help="the last of them; empty: the training's last")
    args = parser.parse_args()
    average(args.exp_dir, _number("--num-avg", args.num_avg), _number("--epoch", args.epoch))


def _number(option: str, text: str) -> int | None:
    if text and not (text.isdecimal() and int(text) > 0):
        raise UserError(f"{option} {text}: expected a whole number from 1 on")
    return int(text) if text else None


if __name__ == "__main__":
    run_step(main)
