#!/usr/bin/env python3
"""What a recipe's stages would do, without doing it: `--dry-run true` of egs/*/run.sh.

Prints each stage with what is done and what is to do, and why; the iterations of an epoch, learning rate and margin by
epoch; the disk that is needed and that is free. Reads what the stages read, and writes nothing.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from steps.check_disk import plan_features
from steps.make_config import add_system_options, system_from
from steps.train import count_procs
from sv.config import Config
from sv.embeddings.encoder import MAX_FRAMES
from sv.embeddings.parts import Extraction
from sv.errors import UserError, run_step
from sv.io import DataDir
from sv.jobs.disk import existing, in_words
from sv.scoring.norm import check_method
from sv.scoring.projection import check_lda_dim
from sv.training.plan import plan_training

TRAINED_FROM = {"ark": "feats.scp", "online": "utt2dur", "shard": "shard.list"}  # by stage 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path)
    parser.add_argument("train_set", type=Path, help="data dir that training reads")
    parser.add_argument("test_set", type=Path)
    parser.add_argument("--stage", type=int, required=True)
    parser.add_argument("--stop-stage", type=int, required=True)
    parser.add_argument("--fbank", type=Path, required=True, help="folder of feature archives")
    parser.add_argument("--features", nargs="+", type=Path, required=True, help="data dirs that train_set is made of")
    parser.add_argument("--nj", type=int, default=1, help="jobs that make features")
    parser.add_argument("--gpus", default="auto")
    parser.add_argument("--num-procs", type=int, default=1)
    parser.add_argument("--num-nodes", type=int, default=1)
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--trials", nargs="*", default=[], help="trial lists in <test-set>/trials; none: all there are")
    parser.add_argument("--score-norm-method", default="asnorm")
    parser.add_argument("--top-n", type=int, default=300)
    parser.add_argument("--lda-dim", type=int, default=0)
    add_system_options(parser)
    args = parser.parse_args()
    config = system_from(args)
    count_procs(args)
    stages = {
        1: show_lists,
        2: show_features,
        3: show_training,
        4: show_embeddings,
        5: show_scores,
        6: show_normalization,
        7: show_plda,
        8: show_report,
    }
    for stage in range(max(args.stage, 1), min(args.stop_stage, 8) + 1):
        print("\n    ".join([f"stage {stage}:", *stages[stage](config, args)]))
    folder = existing(args.exp_dir)
    print(f"free: {in_words(shutil.disk_usage(folder).free)} on the disk of {folder}")


def show_lists(config: Config, args: argparse.Namespace) -> Iterator[str]:
    for folder in (args.features[0], args.test_set):
        if (folder / "utt2spk").is_file():
            data = DataDir(folder)
            yield f"{folder}: {len(data.utt2spk)} utterances, {len(set(data.utt2spk.values()))} speakers; read again"
        else:
            yield f"{folder}: to do, there is no utt2spk"


def show_features(config: Config, args: argparse.Namespace) -> Iterator[str]:
    planned = plan_features(
        args.features,
        args.test_set,
        fbank=args.fbank,
        config=args.config,
        num_parts=args.nj,
        noise_data=args.flag_noise_data,
        reverb_data=args.flag_reverb_data,
        train_feats=config.train_feats,
    )
    total = 0.0
    for features in planned:
        size = max(0.0, features.bytes_to_come)
        about = f"; about {in_words(size)}" if size else ""
        yield f"{features.data_dir}: {f'to do, {features.why}{about}' if features.why else 'done'}"
        total += size
    if total:
        yield f"about {in_words(total)} in all"


def show_training(config: Config, args: argparse.Namespace) -> Iterator[str]:
    needed = args.train_set / TRAINED_FROM[config.train_feats]
    if not needed.is_file():
        yield f"{args.exp_dir}: to do, there is no {needed} yet, on which the iterations depend"
        return
    init = Path(args.checkpoint) if args.checkpoint else None
    yield from plan_training(config, args.train_set, args.exp_dir, num_procs=count_procs(args), init=init).lines()


def show_embeddings(config: Config, args: argparse.Namespace) -> Iterator[str]:
    for folder in (args.features[0], args.test_set):
        out = args.exp_dir / "embeddings" / folder.name
        of_training = folder != args.test_set
        feats = config.train_feats if of_training else "ark"
        work = Extraction(args.exp_dir, folder, out, max_frames=MAX_FRAMES, feats=feats, skip_bad=of_training)
        try:
            why = work.stale()
        except UserError as error:
            why = str(error)
        yield f"{out}: {'to do, ' + why if why else 'done'}"


def show_scores(config: Config, args: argparse.Namespace) -> Iterator[str]:
    folder = args.test_set / "trials"
    found = sorted(path.name for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
    missing = [name for name in args.trials if found and name not in found]
    if missing:
        raise UserError(f"--trials {missing[0]}: {folder} has {', '.join(found)}")
    yield f"cosine scores of {', '.join(args.trials or found) or f'the lists in {folder}'}: made anew each time"


def show_normalization(config: Config, args: argparse.Namespace) -> Iterator[str]:
    speakers = count_training_speakers(config, args)
    if speakers:
        check_method(args.score_norm_method, args.top_n, speakers, source="the cohort of training speakers")
    yield f"score normalization ({args.score_norm_method}): made anew each time"


def show_plda(config: Config, args: argparse.Namespace) -> Iterator[str]:
    speakers = count_training_speakers(config, args)
    if speakers and args.lda_dim:
        check_lda_dim(args.lda_dim, num_speakers=speakers, dim=int(config.model_args["embed_dim"]))
    yield "PLDA and calibration: made anew each time"


def show_report(config: Config, args: argparse.Namespace) -> Iterator[str]:
    yield "report: made anew each time"


def count_training_speakers(config: Config, args: argparse.Namespace) -> int:
    """Those of the cohort and of the PLDA; 0 while the lists are not there."""
    if not (args.features[0] / "utt2spk").is_file():
        return 0
    return max(0, len(set(DataDir(args.features[0]).utt2spk.values())) - config.heldout_speakers)


if __name__ == "__main__":
    run_step(main)
