#!/usr/bin/env python3
"""Train a network, or continue a training that was interrupted; steps/train.sh is the usual way to call this.

Reads   <exp-dir>/system.yaml (steps/make_system.py), <data-dir> (see steps/train.sh).
Writes  <exp-dir>/{config.yaml,spk2id,heldout_spk,train.log,metrics.jsonl,tensorboard/,models/,checkpoints/}.
"""

import argparse
import logging
import os
import re
import sys
import time
from pathlib import Path

import torch

from sv.config import Config
from sv.embeddings.experiment import read_system
from sv.errors import UserError, run_step
from sv.jobs.gpus import count_procs
from sv.training.distributed import PeersLost, World, is_started, join, visible_gpus
from sv.training.memory import keep_freed_memory
from sv.training.run import train

_OTHERS_FIRST_S = 10  # a process other than the main one lets that one speak first: both often fail for one reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("exp_dir", type=Path)
    parser.add_argument(
        "--gpus", default="auto", help="0,1: those, a process each; auto: one if there is one; none: CPU"
    )
    parser.add_argument("--num-procs", "--num_procs", type=int, default=1, help="processes, where no GPU is used")
    parser.add_argument(
        "--num-threads", "--num_threads", type=int, default=0, help="threads of each on the CPU; 0: all cores, shared"
    )
    parser.add_argument(
        "--num-nodes", "--num_nodes", type=int, default=1, help="machines that train together, each by this command"
    )
    parser.add_argument("--node", type=int, default=1, help="which of them this is, from 1")
    parser.add_argument("--dry-run", choices=["true", "false"], default="false", help="tell what it would do, no more")
    args = parser.parse_args()
    if args.num_procs < 1 or args.num_threads < 0:
        raise UserError(f"--num-procs {args.num_procs} --num-threads {args.num_threads}: 1 and 0 are the least")
    if not 1 <= args.node <= args.num_nodes:
        raise UserError(f"--node {args.node} is not one of --num-nodes {args.num_nodes}, which count from 1")
    config = read_system(args.exp_dir)
    if args.dry_run == "true":
        _show_plan(config, args)
        return
    if is_started():
        num_procs, use_gpu = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), _wants_gpu(args.gpus)
    else:
        gpus = visible_gpus(args.gpus)
        num_procs, use_gpu = len(gpus) or args.num_procs, bool(gpus)
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        if num_procs > 1 or args.num_nodes > 1:
            from sv.training.launcher import Nodes, launch  # takes half a second to import

            final = args.exp_dir / "models" / f"model_{config.num_epochs}.pt"
            launch(sys.argv, num_procs, Nodes(args.num_nodes, args.node, args.exp_dir / "rendezvous", final))
            return
    _set_threads(args.num_threads, num_procs)
    keep_freed_memory()
    _train(config, args, join(use_gpu=use_gpu))


def _train(config: Config, args: argparse.Namespace, world: World) -> None:
    if not world.is_main:
        logging.getLogger().setLevel(logging.ERROR)
    try:
        train(config, args.data_dir, args.exp_dir, world)
    except (UserError, OSError):
        if not world.is_main:
            time.sleep(_OTHERS_FIRST_S)
        raise
    except RuntimeError as error:
        if world.size == 1 or not re.search("(?i)gloo|nccl|connection|peer|socket|store", str(error)):
            raise
        if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":  # one node:
            time.sleep(2 * _OTHERS_FIRST_S)  # the process that failed speaks first, and its end usually ends this one
        raise PeersLost(f"process {world.rank} lost the other training processes ({str(error)[:200]})") from error
    world.leave()


def _show_plan(config: Config, args: argparse.Namespace) -> None:
    from sv.training.plan import plan_training

    procs = count_procs(args.gpus, args.num_procs, args.num_nodes)
    plan = plan_training(config, args.data_dir, args.exp_dir, num_procs=procs)
    print("\n".join(plan.lines()))


def _wants_gpu(gpus: str) -> bool:
    """Of a process that was started with others: its GPUs have been made visible, or are the launcher's choice."""
    return gpus not in ("", "none", "cpu") and torch.cuda.is_available()


def _set_threads(num_threads: int, num_procs: int) -> None:
    if num_threads:
        torch.set_num_threads(num_threads)
    elif num_procs > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // num_procs))


if __name__ == "__main__":
    run_step(main)
