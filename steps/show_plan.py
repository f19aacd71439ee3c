#!/usr/bin/env python3
"""Show what a recipe has done, and the plan of its training, for `--dry-run true` of egs/*/run.sh. Writes nothing.

Reads   the marks of finished features and embeddings; for the training, data dir, configuration and checkpoints.
Prints  finished features and embeddings; iterations, learning rate and margin by epoch; the free disk space.
"""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import run_step

if TYPE_CHECKING:
    from sv.config import Config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of the system")
    parser.add_argument("train_data", type=Path, help="data dir of the training data")
    parser.add_argument(
        "training_set", type=Path, help="data dir that training reads: train_data, or one with its copies"
    )
    parser.add_argument("test_data", type=Path, help="data dir of the test set")
    parser.add_argument("--backend-set", type=Path, help="data dir that back-ends are trained on; default: train_data")
    parser.add_argument("--system", type=Path, required=True, help="resolved configuration (steps/make_system.py)")
    parser.add_argument("--stage", type=int, default=1, help="first stage to run")
    parser.add_argument("--gpus", default="auto", help="numbers, auto or none")
    parser.add_argument("--num-procs", type=int, default=1, help="processes on the CPU")
    parser.add_argument("--num-nodes", type=int, default=1, help="machines or jobs that train together")
    parser.add_argument(
        "--rounds", choices=["true", "false"], default="false", help="the run has recordings without labels"
    )
    parser.add_argument("--new-lists", choices=["true", "false"], default="false", help="stage 1 will make other lists")
    args = parser.parse_args()
    from sv.config import PseudoArgs, load_config
    from sv.jobs.disk import format_bytes, nearest_folder

    config = load_config(args.system)
    if args.rounds == "true":  # round 0 is trained on labels of people
        args.exp_dir, config = args.exp_dir / "round0", config.model_copy(update={"pseudo_args": PseudoArgs()})
    sets, new_lists = (args.train_data, args.test_data), ""
    if args.new_lists == "true":
        new_lists = "to do: stage 1 makes its lists anew"
    print("stage 2: features")
    for folder in sets:
        if folder == args.train_data and config.train_feats != "ark" and args.backend_set in (None, folder):
            made = _read_by_training(folder, config)  # no features: training reads waveforms
            todo = "" if made.is_file() else f"to do: {made.name}"
        else:
            todo = _state(folder / ".done.fbank") or _other_front_end(folder, config)
        print(f"    {folder}: {new_lists or todo or 'done'}")
    print(f"stage 3: training{' (round 0, unless --teacher is given)' * (args.rounds == 'true')}")
    for line in _training(args, config):
        print(f"    {line}")
    print("stage 4: embeddings")
    for folder in (args.backend_set or args.train_data, args.test_data):
        out = args.exp_dir / "embeddings" / folder.name
        print(f"    {out}: {new_lists or _state(out / '.done') or 'done'}")
    print("stages 5 to 8: scores, results and the report are made anew each time")
    disk = nearest_folder(args.exp_dir)
    print(f"free: {format_bytes(shutil.disk_usage(disk).free)} on the disk of {disk}")


def _read_by_training(folder: Path, config: "Config") -> Path:
    """Return the file of a data dir that stage 2 makes for training."""
    return folder / {"ark": "feats.scp", "online": "utt2dur", "shard": "shard.list"}[config.train_feats]


def _state(mark: Path) -> str:
    """Return what is to do about work with this mark, "" for nothing."""
    from sv.jobs import DoneMark

    if not mark.is_file():
        return "to do"
    why = DoneMark.recorded(mark).stale()
    return f"to do: {why}" if why else ""


def _other_front_end(folder: Path, config: "Config") -> str:
    """Return what is to do if a data dir's features are of other settings than the system's, else ""."""
    from sv.embeddings.experiment import front_end_difference

    if not (difference := front_end_difference(folder, config.dataset_args.fbank_args)):
        return ""
    key, there, here = difference
    return f"to do: {key} is {there} there, now {here}"


def _training(args: argparse.Namespace, config: "Config") -> list[str]:
    from sv.jobs.gpus import count_procs

    if args.stage > 3 and not (args.exp_dir / "checkpoints").exists():  # not trained here
        model = args.exp_dir / "models" / "avg_model.pt"
        return [f"{model}: {'imported' if model.is_file() else 'lacking; train, or import a model first'}"]
    needed = _read_by_training(args.training_set, config)
    if (
        not needed.is_file()
        or args.new_lists == "true"
        or (args.stage <= 2 and _other_front_end(args.training_set, config))
    ):
        return [f"{args.exp_dir}: to do; its iterations depend on {needed}, which stage 2 makes"]
    if args.stage <= 1 and (lacking := _lacking_noises(args.train_data.parent, config)):
        return [f"{args.exp_dir}: to do; it augments with {lacking}, which stage 1 makes"]
    from sv.training.plan import plan_training  # loads torch
    from sv.training.teacher import teacher_scp

    if config.teacher and not (scp := teacher_scp(config.teacher, args.training_set)).is_file():
        return [f"{args.exp_dir}: to do; first the teacher's embeddings, {scp}"]

    procs = count_procs(args.gpus, args.num_procs, args.num_nodes)
    return plan_training(config, args.training_set, args.exp_dir, num_procs=procs).lines()


def _lacking_noises(data: Path, config: "Config") -> Path | None:
    """Return the list of noise or rooms that stage 1 makes in the recipe's data folder and that is not there yet."""
    if config.train_feats == "ark" or not config.dataset_args.aug_prob:
        return None
    lists = [Path(folder) / "wav.scp" for folder in (config.noise_data, config.reverb_data) if folder]
    return next((path for path in lists if path.parent.parent == data and not path.is_file()), None)


if __name__ == "__main__":
    run_step(main)
