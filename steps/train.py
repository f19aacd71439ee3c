#!/usr/bin/env python3
"""Train a network, or continue an interrupted training. Usually steps/train.sh calls this.

Reads   <exp-dir>/system.yaml (steps/make_system.py), <data-dir> (see steps/train.sh).
Writes  <exp-dir>/{config.yaml,spk2id,heldout_spk,train.log,metrics.jsonl,tensorboard/,models/,checkpoints/}.
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import WrongCall, check_whole, run_step

if TYPE_CHECKING:
    from sv.config import Config


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, help="training data, with features")
    parser.add_argument("exp_dir", type=Path, help="folder of the system, with system.yaml")
    parser.add_argument(
        "--gpus",
        default="auto",
        help="0,1: one process on each; auto: the first GPU, if any; none: the CPU",
    )
    parser.add_argument(
        "--num-procs", "--num_procs", type=int, default=1, help="number of processes, if no GPU is used"
    )
    parser.add_argument(
        "--num-threads",
        "--num_threads",
        type=int,
        default=0,
        help="CPU threads of each process; 0: share all cores",
    )
    parser.add_argument(
        "--num-nodes",
        "--num_nodes",
        type=int,
        default=1,
        help="number of machines that train together, each with this command",
    )
    parser.add_argument("--node", type=int, default=1, help="number of this machine, from 1")
    parser.add_argument("--dry-run", choices=["true", "false"], default="false", help="only print the plan")
    args = parser.parse_args()
    check_whole("--num-procs", args.num_procs, 1)
    check_whole("--num-threads", args.num_threads, 0)
    from sv.jobs.gpus import named_gpus

    named_gpus(args.gpus)  # report a wrong name before torch loads
    if not 1 <= args.node <= args.num_nodes:
        raise WrongCall(f"--node {args.node} is not one of --num-nodes {args.num_nodes}, which count from 1")
    return args


def main() -> None:
    args = parse()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch is loaded: threads that wait do not spin
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:  # the older name, by which a user may have set the same
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    from sv.embeddings.experiment import read_system

    config = read_system(args.exp_dir)
    if args.dry_run == "true":
        _show_plan(config, args)
        return
    from sv.training.distributed import is_started, visible_gpus, wants_gpu

    if is_started():
        _train(config, args, int(os.environ.get("LOCAL_WORLD_SIZE", "1")), use_gpu=wants_gpu(args.gpus))
        return
    gpus = visible_gpus(args.gpus)
    num_procs = len(gpus) or args.num_procs
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    if num_procs == args.num_nodes == 1:
        _train(config, args, num_procs, use_gpu=bool(gpus))
        return
    from sv.training.launcher import Nodes, launch

    final = args.exp_dir / "models" / f"model_{config.num_epochs}.pt"
    launch(sys.argv, num_procs, Nodes(args.num_nodes, args.node, args.exp_dir / "rendezvous", final))


def _show_plan(config: "Config", args: argparse.Namespace) -> None:
    from sv.jobs.gpus import count_procs
    from sv.training.plan import plan_training

    procs = count_procs(args.gpus, args.num_procs, args.num_nodes)
    plan = plan_training(config, args.data_dir, args.exp_dir, num_procs=procs)
    print("\n".join(plan.lines()))


def _train(config: "Config", args: argparse.Namespace, num_procs: int, *, use_gpu: bool) -> None:
    from sv.training.distributed import join, keep_freed_memory, reported_once, set_threads
    from sv.training.run import train

    set_threads(args.num_threads, num_procs)
    keep_freed_memory()
    world = join(use_gpu=use_gpu)
    if not world.is_main:
        logging.getLogger().setLevel(logging.ERROR)
    with reported_once(world):
        train(config, args.data_dir, args.exp_dir, world)
    world.leave()


if __name__ == "__main__":
    run_step(main)
