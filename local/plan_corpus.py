#!/usr/bin/env python3
"""Choose the sizes of egs/own from the speakers of a corpus, and say them; refuse a corpus that is too small.

Reads   <corpus> or --csv, as local/prepare_folder.py, without opening the audio; or what that has made,
        <data>/{train,test}/spk2utt, if --prepared true
Prints  "TEST HELDOUT EMBED_DIM TOP_N LDA_DIM NUM_EPOCHS OTHERS": speakers to test on, those of the others that are held
        out for calibration, dimension of the embeddings, nearest speakers of the cohort for AS-norm, dimensions that
        LDA keeps, epochs of training, speakers that are not tested on

e.g.: local/plan_corpus.py --corpus /corpora/calls egs/own/data
"""

import argparse
import logging
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import _path  # noqa: F401

from local.corpus_folder import scan_folder
from local.corpus_list import read_csv
from sv.errors import UserError, log, run_step, tell
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


def choose_sizes(utts: Mapping[str, int], test: int = 0, copies: int = 0) -> Sizes:
    """Choose the sizes from the number of utterances of each speaker.

    A fifth of the speakers is tested on and 15 % held out, 100 at most of each; they need two utterances. PLDA needs
    more utterances than dimensions, beyond one a speaker that is trained on. AS-norm takes half of these speakers, 300
    at most; LDA keeps nine tenths of their number. Few utterances are trained on for more epochs.

    Args:
        utts: utterances by speaker.
        test: number of speakers to test on; 0: chosen.
        copies: of the training data, which make an epoch longer.

    Raises:
        UserError: there are too few speakers or utterances.
    """
    total, fit = len(utts), sum(number > 1 for number in utts.values())
    given, test = test, test or min(100, max(3, round(total / 5)))
    heldout = min(100, max(2, round(total * 0.15)))
    train = total - test - heldout
    most = min(fit, total - MIN_TRAIN) - heldout
    if total >= MIN_SPEAKERS and 2 <= most < given:
        raise UserError(
            f"--test-speakers {given}: of {total} speakers, {fit} of them with two utterances or more, {heldout} are "
            f"to calibrate with and at least {MIN_TRAIN} to train on; give {most} at most"
        )
    if total < MIN_SPEAKERS or test > most:
        raise UserError(
            f"{total} speaker{'s' * (total != 1)}, {fit} with two utterances or more: too few to train on, to "
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


def count_utts(args: argparse.Namespace) -> tuple[Counter[str], int]:
    """Return the utterances of each speaker, and how many speakers are tested on; 0: to be chosen."""
    if args.prepared == "true":
        parts = [DataDir(args.data / name, "prepare it first (stage 1)") for name in ("train", "test")]
        return Counter(spk for part in parts for spk in part.utt2spk.values()), len(parts[1].spk2utt)
    if not args.corpus and not args.csv:
        raise UserError(
            "give --corpus DIR, a folder with a folder for each speaker, or --csv FILE (local/prepare_folder.py)"
        )
    level = log.level
    log.setLevel(logging.ERROR)  # local/prepare_folder.py says it
    ignored = args.ignore_columns.split()
    rows = read_csv(args.csv, args.corpus, 16000, ignored) if args.csv else scan_folder(args.corpus.absolute())
    log.setLevel(level)
    utts = Counter(row.spk for row in rows)
    if not args.csv and len(utts) == 1:
        check_single_folder(args.corpus / next(iter(utts)))
    return utts, args.test_speakers


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
    parser.add_argument("--ignore-columns", default="", help="as of local/prepare_folder.py")
    parser.add_argument("--test-speakers", type=int, default=0, help="number of speakers to test on; 0: chosen")
    parser.add_argument(
        "--copies", type=int, default=0, help="copies of the training data, at other speeds or augmented"
    )
    parser.add_argument("--prepared", choices=["true", "false"], default="false", help="read <data>, not the corpus")
    args = parser.parse_args()
    utts, test = count_utts(args)
    sizes = choose_sizes(utts, test, args.copies)
    train = len(utts) - sizes.test - sizes.heldout
    speakers, fitting = (len(utts), sizes.test, sizes.heldout, train), (sizes.top_n, sizes.lda_dim, sizes.num_epochs)
    tell("%d speakers: %d to test on, %d to calibrate with, %d to train on", *speakers)
    tell("chosen: embed_dim %d, --top-n %d --lda-dim %d --num-epochs %d", sizes.embed_dim, *fitting)
    if train < FEW:
        log.warning(
            "%d speakers are few to train on, expect large errors; %s, or fine-tune it (--checkpoint)", train, HELP
        )
    print(*sizes, len(utts) - sizes.test)


if __name__ == "__main__":
    run_step(main)
