#!/usr/bin/env python3
"""Do the Python part of steps/extract_embeddings.sh: it is called before the jobs, in each job, and after them.

begin  checks model, features and --gpus, and prints how many jobs to run: 0 if the embeddings are made. If jobs share
       GPUs, it also prints how many may run at a time, as an option of run.pl
part   writes the embeddings of part N of M to <out-dir>/parts
join   makes <out-dir>/xvector.{ark,scp} of all parts

With --train-data each does the same for the training data, and join also writes the mean of their embeddings; the data
dir is then a test set, and begin warns if the system was trained on its speakers.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import check_whole, run_step

if TYPE_CHECKING:
    from sv.embeddings.parts import Extraction

JOBS_A_GPU = 4  # each of them holds the model


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"], help="which part of the work; see above")
    parser.add_argument("exp_dir", type=Path, help="folder with config.yaml and models/")
    parser.add_argument("data_dir", type=Path, help="data dir with feats.scp (or what --feats takes)")
    parser.add_argument("out_dir", type=Path, help="folder of the embeddings")
    parser.add_argument("--model", type=Path, help="state dict; default: <exp-dir>/models/avg_model.pt")
    parser.add_argument("--num-parts", type=int, default=1, help="number of parts of the work")
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--gpus", default="none", help='none, auto, or "0,1": part N takes the N-th of these in turn')
    parser.add_argument("--num-threads", type=int, default=1, help="threads of each part, on the CPU")
    parser.add_argument(
        "--backend",
        choices=["auto", "onnx", "torch"],
        default="auto",
        help="what computes on the CPU; auto: onnx for long work",
    )
    parser.add_argument(
        "--max-frames", type=int, default=0, help="longer utterances are cut into equal chunks; 0: never"
    )
    parser.add_argument(
        "--batch-frames",
        type=int,
        default=0,
        help="on a GPU: maximum frames of a batch of equally long utterances; 0: one by one",
    )
    parser.add_argument(
        "--feats",
        choices=["ark", "online", "shard", "auto"],
        default="ark",
        help="read features, or compute them from waveforms; auto: read them if they are those of the model",
    )
    parser.add_argument(
        "--skip-bad", choices=["true", "false"], default="false", help="leave out utterances that cannot be read"
    )
    parser.add_argument("--train-data", type=Path, help="training data")
    parser.add_argument(
        "--train-feats", choices=["ark", "online", "shard"], help="how to read --train-data; default: as in training"
    )
    args = parser.parse_args()
    for option, least in (("--num-threads", 1), ("--max-frames", 0), ("--batch-frames", 0)):
        check_whole(option, getattr(args, option[2:].replace("-", "_")), least)
    return args


def list_works(args: argparse.Namespace) -> "list[Extraction]":
    """Return the extraction of <data-dir>, with --train-data that of the training data before it."""
    from sv.embeddings.experiment import how_to_read, read_config
    from sv.embeddings.parts import Extraction

    feats = args.feats
    if feats == "auto":
        feats = how_to_read(args.data_dir, read_config(args.exp_dir).dataset_args.fbank_args)
    work = Extraction(
        args.exp_dir,
        args.data_dir,
        args.out_dir,
        model=args.model,
        max_frames=args.max_frames,
        feats=feats,
        skip_bad=args.skip_bad == "true",
        gpus=args.gpus,
        num_threads=args.num_threads,
        batch_frames=args.batch_frames,
        num_jobs=args.num_parts,
    )
    if not args.train_data:
        return [work]
    out, trained_on = args.exp_dir / "embeddings" / args.train_data.name, work.config.train_feats
    return [
        replace(work, data_dir=args.train_data, out_dir=out, feats=args.train_feats or trained_on, skip_bad=True),
        work,
    ]


def main() -> None:
    args = parse()
    from sv.embeddings.experiment import warn_of_trained_speakers
    from sv.export.extraction import prepare_network
    from sv.jobs.gpus import parse_gpus
    from sv.jobs.parts import act, begin_all

    works, num_jobs = list_works(args), None
    if args.action == "begin":
        if args.train_data:
            warn_of_trained_speakers(args.exp_dir, args.data_dir)
        num_jobs = begin_all(works, verify=True)
        prepare_network(works, num_jobs, args.backend)
        num_gpus = len(parse_gpus(args.gpus)) if num_jobs else 0
        print(num_jobs, *(["--max-jobs-run", JOBS_A_GPU * num_gpus] if num_gpus else []))
    else:
        act(args.action, works, args.part)
    if args.train_data and (num_jobs == 0 or args.action == "join"):
        from sv.scoring.cosine import write_mean

        write_mean(works[0].scp, works[0].out_dir / "mean_vec.npy")


if __name__ == "__main__":
    run_step(main)
