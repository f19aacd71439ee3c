#!/usr/bin/env python3
"""One part of the work of steps/extract_embeddings.sh, which calls this before, for and after its jobs.

begin  checks model and features, prints how many parts to run: 0 if the embeddings are there already
part   writes the embeddings of part N of M to <out-dir>/parts
join   makes <out-dir>/xvector.{ark,scp} of all parts
"""

import argparse
from pathlib import Path

from sv.errors import UserError, log, run_step
from sv.experiment import check_front_end, find_model, read_config
from sv.io import ArkWriter
from sv.scoring.parts import Extraction, clear, join


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"])
    parser.add_argument("exp_dir", type=Path, help="folder with config.yaml and models/")
    parser.add_argument("data_dir", type=Path, help="data dir with feats.scp")
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--model", type=Path, help="state dict; default: <exp-dir>/models/avg_model.pt")
    parser.add_argument("--num-parts", type=int, default=1)
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--gpus", default="none", help='none, auto, or "0,1": part N takes the N-th, and round again')
    parser.add_argument("--num-threads", type=int, default=1, help="of a part, on the CPU")
    parser.add_argument("--max-frames", type=int, default=0, help="cut longer utterances; 0: never")
    parser.add_argument("--batch-frames", type=int, default=0, help="on a GPU: utterances of equal length together")
    return parser.parse_args()


def begin(work: Extraction, args: argparse.Namespace) -> int:
    """Check now all that would fail in every part; returns the number of parts to run."""
    why = work.mark().stale()
    if not why:
        return 0
    from sv.data import read_index  # these two import torch, which takes seconds
    from sv.inference import load_encoder

    log.info("%s: %s", work.out_dir, why)
    check_front_end(args.exp_dir, work.config.dataset_args.fbank_args, args.data_dir)
    read_index(args.data_dir)
    load_encoder(args.exp_dir, work.model_file)
    clear(work)
    return min(args.num_parts, len(work.feats))


def extract_part(work: Extraction, args: argparse.Namespace) -> None:
    import torch

    from sv.data import read_index
    from sv.inference import choose_device, load_encoder
    from sv.scoring.extraction import embed_rows

    mark, (ark, scp) = work.part_mark(args.part, args.num_parts), work.part_files(args.part, args.num_parts)
    if not mark.stale(verify=True):
        log.info("%s is there already", scp)
        return
    torch.set_num_threads(args.num_threads)
    encoder = load_encoder(args.exp_dir, work.model_file, choose_device(args.gpus, args.part))
    index, rows = read_index(args.data_dir), work.part_rows(args.part, args.num_parts)
    log.info("utterances %d to %d of %s on %s", rows.start + 1, rows.stop, args.data_dir, encoder.device)
    batch_frames = args.batch_frames if encoder.device.type == "cuda" else 0
    embeddings = embed_rows(encoder, index, rows, max_frames=args.max_frames, batch_frames=batch_frames)
    with ArkWriter(ark, scp) as writer:
        for row, embedding in zip(rows, embeddings, strict=True):
            writer.write(index.utts[row], embedding)
    mark.write([ark, scp], {ark: writer.sha256})


def main() -> None:
    args = parse()
    if not 1 <= args.part <= args.num_parts:
        raise UserError(f"--part {args.part} of --num-parts {args.num_parts}; parts count from 1")
    config, model_file = read_config(args.exp_dir), find_model(args.exp_dir, args.model)
    work = Extraction(config, model_file, args.data_dir, args.out_dir, args.max_frames)
    if args.action == "begin":
        print(begin(work, args))
    elif args.action == "part":
        extract_part(work, args)
    else:
        log.info("%d embeddings in %s", join(work, args.num_parts), work.scp)


if __name__ == "__main__":
    run_step(main)
