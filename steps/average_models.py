#!/usr/bin/env python3
"""Average the last models of a training, tensor by tensor, including batch norm statistics.

Reads   <exp-dir>/{system.yaml,config.yaml}, <exp-dir>/models/model_N.pt.
Writes  <exp-dir>/models/avg_model.pt and its .sha256.

Training ends with the same average. The step does nothing if avg_model.pt is already the mean of the same models. If
the training has fewer epochs than --num-avg, all of its models are averaged, with a warning. It is an error if the
training is not complete, or if a model in between is missing.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import WrongCall, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of the trained system")
    parser.add_argument("--num-avg", default="", help="number of models; empty: as the configuration says")
    parser.add_argument("--epoch", default="", help="epoch of the last model; empty: the training's last")
    args = parser.parse_args()
    num_avg, epoch = _number("--num-avg", args.num_avg), _number("--epoch", args.epoch)
    from sv.training.averaging import average

    average(args.exp_dir, num_avg, epoch)


def _number(option: str, text: str) -> int | None:
    if text and not (text.isdecimal() and int(text) > 0):
        raise WrongCall(f"{option} {text}: expected a whole number of at least 1")
    return int(text) if text else None


if __name__ == "__main__":
    run_step(main)
