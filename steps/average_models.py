#!/usr/bin/env python3
"""Average the last models of a training, tensor by tensor, including batch norm statistics.

Reads   <exp-dir>/{system.yaml,config.yaml}, <exp-dir>/models/model_N.pt.
Writes  <exp-dir>/models/avg_model.pt and its .sha256.

Training ends with the same average. The step does nothing if avg_model.pt is already the mean of the same models. If
the training has fewer epochs than the configuration's num_avg, all of its models are averaged, with a warning. It is an
error if --num-avg is above the number of models, if the training is not complete, or if one of the models is missing.
Training keeps the models of the last num_avg epochs, so that a larger num_avg afterwards is such an error.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import check_whole, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of the trained system")
    parser.add_argument("--num-avg", type=int, help="number of models; default: as the configuration says")
    parser.add_argument("--epoch", type=int, help="epoch of the last model; default: the training's last")
    args = parser.parse_args()
    for option, value in (("--num-avg", args.num_avg), ("--epoch", args.epoch)):
        if value is not None:
            check_whole(option, value, 1)
    from sv.training.averaging import average

    average(args.exp_dir, args.num_avg, args.epoch)


if __name__ == "__main__":
    run_step(main)
