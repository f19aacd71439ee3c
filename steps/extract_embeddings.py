#!/usr/bin/env python3
"""One part of the work of steps/extract_embeddings.sh, which calls this before, for and after its jobs.

begin  checks model, features and --gpus, prints how many parts to run, 0 if the embeddings are there already, and how
       many GPUs they share
part   writes the embeddings of part N of M to <out-dir>/parts
join   makes <out-dir>/xvector.{ark,scp} of all parts
"""

import argparse
from pathlib import Path

from sv.embeddings.parts import Extraction, clear, join
from sv.errors import UserError, log, run_step


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"])
    parser.add_argument("exp_dir", type=Path, help="folder with config.yaml and models/")
    parser.add_argument("data_dir", type=Path, help="data dir with feats.scp (or what --feats takes)")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--model", type=Path, help="state dict; default: <exp-dir>/models/avg_model.pt")
    parser.add_argument("--num-parts", type=int, default=1)
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--gpus", default="none", help='none, auto, or "0,1": part N takes the N-th, and round again')
    parser.add_argument("--num-threads", type=int, default=1, help="of a part, on the CPU")
    parser.add_argument("--max-frames", type=int, default=0, help="cut longer utterances; 0: never")
    parser.add_argument("--batch-frames", type=int, default=0, help="on a GPU: utterances of equal length together")
    parser.add_argument(
        "--feats", choices=["ark", "online", "shard"], default="ark", help="read them, or work them out from waveforms"
    )
    parser.add_argument("--skip-bad", choices=["true", "false"], default="false", help="leave out what can not be read")
    return parser.parse_args()


def begin(work: Extraction, num_parts: int, gpus: str) -> tuple[int, int]:
    """Number of parts to run, 0 if the embeddings are there already; number of GPUs that they share."""
    why = work.stale(verify=True)
    if not why:
        if work.bad_list.is_file():
            log.info("%s: could not be read, and are left out; if mended, remove the list and run again", work.bad_list)
        return 0, 0
    from sv.embeddings.extraction import check_inputs  # imports torch, which takes seconds
    from sv.jobs.gpus import parse_gpus

    log.info("%s: %s", work.out_dir, why)
    check_inputs(work)
    num_gpus = len(parse_gpus(gpus))
    clear(work)
    return min(num_parts, len(work.utts)), num_gpus


def run_part(work: Extraction, args: argparse.Namespace) -> None:
    import torch

    from sv.embeddings.extraction import extract_part
    from sv.jobs.gpus import choose_device

    torch.set_num_threads(args.num_threads)
    device = choose_device(args.gpus, args.part)
    extract_part(work, args.part, args.num_parts, device=device, batch_frames=args.batch_frames)


def main() -> None:
    args = parse()
    if not 1 <= args.part <= args.num_parts:
        raise UserError(f"--part {args.part} of --num-parts {args.num_parts}; parts count from 1")
    where = args.exp_dir, args.data_dir, args.out_dir
    work = Extraction(*where, args.model, args.max_frames, args.feats, args.skip_bad == "true")
    if args.action == "begin":
        print(*begin(work, args.num_parts, args.gpus))
    elif args.action == "part":
        run_part(work, args)
    else:
        log.info("%d embeddings in %s", join(work, args.num_parts), work.scp)


if __name__ == "__main__":
    run_step(main)
