#!/usr/bin/env python3
"""EER and minDCF of an experiment's score files, printed as WeSpeaker prints them, and gathered.

Reads   <exp-dir>/scores/<prefix><trials>.score for each trial list of <trials-dir>
Writes  <exp-dir>/scores/<result>        the printed lines; written anew, not appended
        <exp-dir>/results.json           numbers, thresholds and origin, an entry for each trial list and back-end;
                                         with --test-data and --trial2cond those of each part of the list, which the
                                         report shows, too
        <exp-dir>/results.md             the same as a table

The numbers are those of the score files, that is of scores rounded to five decimals; tied scores are accepted or
rejected together. Where the speakers are known, results.json and results.md have 95 % intervals over speakers. A file
is read once, and not held: memory does not grow with its length.
e.g.: steps/compute_metrics.py exp/x vox1_cos_result data/vox1/trials vox1_O_cleaned.kaldi vox1_E_cleaned.kaldi
"""

import argparse
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sv.errors import UserError, run_step
from sv.io import DataDir, atomic_write, read_table, sha256_of
from sv.metrics.breakdown import Conditions, Trial2Cond
from sv.metrics.error_rates import check_costs
from sv.metrics.provenance import origin_of
from sv.metrics.results import entry_of, git_commit, merge_results, printed_lines
from sv.metrics.score_files import measure_file
from sv.metrics.trial_speakers import Speakers


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path)
    parser.add_argument("result", help="name of the file with the printed lines, such as vox1_cos_result")
    parser.add_argument("trials_dir", type=Path)
    parser.add_argument("trials", nargs="+", help="names of trial lists, such as vox1_O_cleaned.kaldi")
    parser.add_argument("--backend", default="cos", help="what the results are filed under")
    parser.add_argument("--prefix", default="", help="of the score files' names, such as vox2_dev_asnorm300_")
    parser.add_argument(
        "--p-target",
        type=float,
        nargs="+",
        default=[0.01, 0.05],
        help="priors of minDCF, at costs of 1; other costs are those at the prior c_miss p / (c_miss p + c_fa (1 - p))",
    )
    parser.add_argument(
        "--llr", choices=["true", "false"], default="false", help="calibrated scores: actDCF, Cllr, too"
    )
    parser.add_argument("--test-data", type=Path, help="data dir: also by duration, sex, age and video, what it has")
    parser.add_argument(
        "--trial2cond", type=Path, help='also by condition, of lines "enroll test condition ..." (held whole)'
    )
    parser.add_argument("--utt2spk", type=Path, help="for the intervals; default: beside <trials-dir>, if it is there")
    parser.add_argument("--replicates", type=int, default=200, help="draws of speakers for the intervals; 0: none")
    args = parser.parse_args()
    for p_target in args.p_target:
        check_costs(p_target, c_miss=1.0, c_fa=1.0)
    if args.replicates < 0 or args.replicates == 1:
        raise UserError(f"--replicates {args.replicates}: expected 2 or more, such as 200, or 0 for no intervals")
    return args


def read_speakers(args: argparse.Namespace) -> Speakers | None:
    """Of --utt2spk or of the data dir that the trial lists are in; None: no intervals."""
    path = args.utt2spk or args.trials_dir.parent / "utt2spk"
    if args.replicates == 0 or not (args.utt2spk or path.is_file()):
        return None
    return Speakers(read_table(path), path)


def common_origin(exp_dir: Path) -> dict[str, Any]:
    """What all entries of this call share."""
    config = exp_dir / "config.yaml"
    return {
        "config_sha256": sha256_of(config) if config.is_file() else None,
        "commit": git_commit(Path(__file__).resolve().parent),
        "command": shlex.join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def main() -> None:
    args = parse()
    if not args.exp_dir.is_dir():
        raise UserError(f"{args.exp_dir} does not exist; train and score first (stages 3 to 5)")
    origin, speakers = common_origin(args.exp_dir), read_speakers(args)
    conditions = [Conditions(DataDir(args.test_data)).of] if args.test_data else []
    conditions += [Trial2Cond(args.trial2cond).of] if args.trial2cond else []
    options = {"llr": args.llr == "true", "speakers": speakers, "conditions": conditions, "replicates": args.replicates}
    lines, entries = "", {}
    for name in args.trials:
        scores, trials = args.exp_dir / "scores" / f"{args.prefix}{name}.score", args.trials_dir / name
        if not scores.is_file():
            raise UserError(f"{scores} does not exist; score it first (stage 5)")
        metrics, interval, parts = measure_file(scores, args.p_target, **options)
        files = {"score_file": str(scores), "trials_file": str(trials.resolve())}  # the report looks for it
        about = {**files, **origin_of(scores, trials), **origin}
        entries[name] = {args.backend: entry_of(metrics, about, interval, parts)}
        lines += printed_lines(scores.name, metrics, parts)
    with atomic_write(args.exp_dir / "scores" / args.result) as f:
        f.write(lines)
    merge_results(args.exp_dir, entries)
    print(lines, end="")


if __name__ == "__main__":
    run_step(main)
