#!/usr/bin/env python3
"""Choose the settings of egs/own from the number of speakers of a corpus; refuse a corpus that is too small.

Reads   <corpus> or --csv, as local/prepare_folder.py, without opening the audio, except with --leave-out-bad true: then
        files that it will leave out are not counted; or what that has made, <data>/{train,test}/spk2utt, if --prepared
        true
Prints  "TEST HELDOUT EMBED_DIM TOP_N LDA_DIM NUM_EPOCHS NEW OTHER...": speakers to test on, those of the others that
        are held out for calibration, dimension of the embeddings, nearest speakers of the cohort for AS-norm,
        dimensions that LDA keeps, epochs of training, true if <data> lacks lists of these files (asked with --dry-run
        true), names of the speakers that are not tested on

e.g.: local/plan_corpus.py --corpus /corpora/calls egs/own/data
"""

import argparse
import logging
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import _path  # noqa: F401

from local.corpus_folder import scan_folder
from local.corpus_list import Row, read_csv
from local.prepare_folder import (
    RECIPE_RATE_OPTION,
    SEED,
    check_rows,
    choose_test_speakers,
    refuse_or_leave_out,
    speaker_ids,
)
from sv.errors import UserError, WrongCall, counted, log, run_step, tell
from sv.io import DataDir

MIN_SPEAKERS = 12
EMBED_DIMS = (32, 64, 128)
NUM_EPOCHS = (15, 30, 60, 120)
CROPS = 7680  # that a training should see: 240 batches of 32
SAFE = 0.7  # of the utterances that training speakers have on average
FEW = 40  # training speakers, below which an encoder that starts from nothing learns little
MIN_TRAIN = 6
HELP = (
    "import a trained model (steps/import_model.py), calibrate it (steps/calibrate.py --on DATA_DIR) and compare "
    "recordings (steps/verify.py)"
)


class Sizes(NamedTuple):
    """Numbers of speakers, and what follows from them."""

    test: int
    heldout: int
    embed_dim: int
    top_n: int
    lda_dim: int
    num_epochs: int


def choose_sizes(utts: Mapping[str, int], test: int = 0, copies: int = 0, heldout: int | None = None) -> Sizes:
    """Choose the sizes from the number of utterances of each speaker.

    A fifth of the speakers is tested on and 15 % held out, 100 at most of each; they need two utterances. PLDA needs
    more utterances than dimensions, beyond one a speaker that is trained on. AS-norm takes half of these speakers, 300
    at most; LDA keeps nine tenths of their number. Few utterances are trained on for more epochs.

    Args:
        utts: utterances by speaker.
        test: number of speakers to test on; 0: chosen.
        copies: of the training data, which make an epoch longer.
        heldout: number of speakers to calibrate with; None: chosen.

    Raises:
        UserError: there are too few speakers or utterances.
    """
    total, fit = len(utts), sum(number > 1 for number in utts.values())
    room = max(0, min(fit, total - MIN_TRAIN))  # of those to test on and those to calibrate with
    given, test = test, test or min(100, max(3, round(total / 5)))
    if heldout is None:
        heldout = min(100, max(2, round(total * 0.15)))
    elif total >= MIN_SPEAKERS and heldout > room - test >= 0:
        raise UserError(
            f"heldout_speakers={heldout}: of {total} speakers, {fit} of them with two utterances or more, {test} are "
            f"to test on and at least {MIN_TRAIN} to train on; give {room - test} at most"
        )
    train = total - test - heldout
    most = room - heldout
    if total >= MIN_SPEAKERS and 2 <= most < given:
        raise UserError(
            f"--test-speakers {given}: of {total} speakers, {fit} of them with two utterances or more, {heldout} are "
            f"to calibrate with and at least {MIN_TRAIN} to train on; give {most} at most"
        )
    if total < MIN_SPEAKERS or test > most:
        raise UserError(
            f"{counted(total, 'speaker')}, {fit} with two utterances or more: too few to train on, to "
            f"calibrate with {heldout} and to test on {test}; {MIN_SPEAKERS} are the least; {HELP}"
        )
    spare = round(SAFE * train / total * (sum(utts.values()) - total))  # the draw is not known yet
    fitting = [dim for dim in EMBED_DIMS if dim < spare]
    if not fitting:
        raise UserError(
            f"{sum(utts.values())} utterances of {total} speakers are too few to train on; about "
            f"{math.ceil(min(EMBED_DIMS) / SAFE * total / train) + total + 1} are the least; {HELP}"
        )
    dim, crops = max(fitting), (1 + copies) * sum(utts.values()) * train / total  # crops of an epoch
    epochs = next((number for number in NUM_EPOCHS if number * crops >= CROPS), max(NUM_EPOCHS))
    return Sizes(test, heldout, dim, min(300, train // 2), min(dim - 1, 100, train * 9 // 10 - 1), epochs)


def read_rows(args: argparse.Namespace) -> list[Row]:
    """Return the utterances of the corpus; with --leave-out-bad true those that can be used.

    Raises:
        WrongCall: no corpus is given.
        UserError: it has no speakers, or no utterance can be used.
    """
    if not args.corpus and not args.csv:
        raise WrongCall(
            "give --corpus DIR, a folder with a folder for each speaker, or --csv FILE (local/prepare_folder.py)"
        )
    sample_rate = 16000
    if args.config and args.leave_out_bad == "true":
        from sv.config import Override, load_config  # pydantic takes a tenth of a second

        config = load_config(args.config, [Override.of(word) for word in args.set.split()])
        sample_rate = config.dataset_args.fbank_args.sample_rate
    level = log.level
    log.setLevel(logging.ERROR)  # local/prepare_folder.py says it
    ignored = args.ignore_columns.split()
    corpus = args.corpus and Path(os.path.abspath(args.corpus))
    rows = read_csv(args.csv, corpus, sample_rate, ignored) if args.csv else scan_folder(corpus)
    log.setLevel(level)
    if not args.csv and len({row.spk for row in rows}) == 1:
        check_single_folder(args.corpus / rows[0].spk)
    if args.leave_out_bad == "false":
        return rows
    good, faults = check_rows(rows, sample_rate, RECIPE_RATE_OPTION)
    if not good:
        refuse_or_leave_out(faults, len(rows), leave_out=True)
    if faults:
        tell("%d of %d utterances cannot be used, the first: %s", len(faults), len(rows), faults[0])
    return good


def has_lists(data: Path, rows: Sequence[Row], others: set[str]) -> bool:
    """Tell whether train and test of `data` list these files, and train the speakers that are not tested on."""
    parts = [data / name for name in ("train", "test")]
    if not all((part / "wav.scp").is_file() and (part / "utt2spk").is_file() for part in parts):
        return False
    paths, listed = {row.path for row in rows}, {path for part in parts for path in DataDir(part).wav_scp.values()}
    return listed == paths and set(DataDir(parts[0]).spk2utt) == others


def check_single_folder(folder: Path) -> None:
    """Raise UserError if the only folder of a corpus that has audio holds several folders: it may hold the speakers."""
    inside = sum(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir())
    if inside > 1:
        raise UserError(
            f"{folder.parent}: 1 speaker, too few; but {folder.name} holds {inside} folders; give that one "
            f"(--corpus {folder}), if each of them is a speaker"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of train and test")
    parser.add_argument("--corpus", type=Path, help="folder with a folder for each speaker")
    parser.add_argument("--csv", type=Path, help="list of files and speakers")
    parser.add_argument("--ignore-columns", default="", help="as for local/prepare_folder.py")
    parser.add_argument("--test-speakers", type=int, default=0, help="number of test speakers; 0: chosen")
    parser.add_argument("--heldout-speakers", type=int, help="number of held-out speakers; default: chosen")
    parser.add_argument(
        "--copies", type=int, default=0, help="copies of the training data, at other speeds or augmented"
    )
    parser.add_argument("--prepared", choices=["true", "false"], default="false", help="read <data>, not the corpus")
    parser.add_argument(
        "--leave-out-bad", choices=["true", "false"], default="false", help="do not count utterances that are left out"
    )
    parser.add_argument("--config", type=Path, help="YAML of the system, for --leave-out-bad; default: 16 kHz")
    parser.add_argument("--set", default="", metavar='"KEY=VALUE ..."', help="keys that change it")
    parser.add_argument("--dry-run", choices=["true", "false"], default="false", help="see NEW above")
    args = parser.parse_args()
    new = False
    if args.prepared == "true":
        parts = [DataDir(args.data / name, "prepare it first (stage 1)") for name in ("train", "test")]
        utts = Counter(spk for part in parts for spk in part.utt2spk.values())
        sizes = choose_sizes(utts, len(parts[1].spk2utt), args.copies, args.heldout_speakers)
        others = set(parts[0].spk2utt)
    else:
        rows = read_rows(args)
        utts = Counter(row.spk for row in rows)
        sizes = choose_sizes(utts, args.test_speakers, args.copies, args.heldout_speakers)
        ids = speaker_ids({row.spk for row in rows})
        spk_of = {str(number): ids[row.spk] for number, row in enumerate(rows)}
        utts = Counter(spk_of.values())
        others = set(utts) - choose_test_speakers(spk_of, sizes.test, SEED)
        new = args.dry_run == "true" and not has_lists(args.data, rows, others)
    train = len(utts) - sizes.test - sizes.heldout
    speakers = (len(utts), sizes.test, sizes.heldout, train)
    tell("%d speakers: %d to test on, %d to calibrate with, %d to train on", *speakers)
    if train < FEW:
        log.warning(
            "%d speakers are few to train on, expect large errors; %s, or fine-tune it (--checkpoint)", train, HELP
        )
    print(*sizes, str(new).lower(), *sorted(others, key=str.encode))


if __name__ == "__main__":
    run_step(main)
