#!/usr/bin/env python3
"""Make data dirs and trial lists of speechocean762 (OpenSLR 101; Zhang et al., 2021, arXiv 2104.01378).

Reads   <corpus>/{train,test}/{wav.scp,utt2spk,spk2gender,spk2age}, columns separated by tabs (as distributed) or
        blanks, and the files that wav.scp names, WAVE/SPEAKER0001/000010011.{WAV,flac}, relative to <corpus>
Writes  <data>/{train,test}/{wav.scp,utt2spk,spk2utt,spk2gender,spk2age}, with the corpus's ids: 000010011 is of
        speaker 0001, so utterances sort like their speakers, as Kaldi needs
        <data>/test/trials/{O,H}.kaldi (local/make_trials.py), which prints their SHA-256

Everything is checked before anything is written.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import _path  # noqa: F401

from local.make_trials import NUM_NONTARGET, NUM_TARGET, SEED, draw_trials, speaker_groups, write_trials
from sv.errors import UserError, check_seed, run_step, tell
from sv.io import DataDir, read_table
from sv.jobs import folder_lock


@dataclass(frozen=True)
class Set:
    """The checked tables of one set."""

    wav_scp: Mapping[str, str]  # utterance -> absolute path
    utt2spk: Mapping[str, str]
    spk2gender: Mapping[str, str]
    spk2age: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write the tables, and spk2utt."""
        tables = {"spk2gender": self.spk2gender, "spk2age": self.spk2age}
        DataDir.write(folder, {**tables, "utt2spk": self.utt2spk, "wav.scp": self.wav_scp})
        tell("%s: %d speakers, %d utterances", folder, len(self.spk2gender), len(self.utt2spk))


def read_set(corpus: Path, name: str) -> Set:
    """Read one of the corpus's two sets.

    Raises:
        UserError: a table or a file is missing, tables contradict each other, or utterances do not sort like their
            speakers.
    """
    folder = corpus / name
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; give the folder that holds WAVE/, train/ and test/ (--corpus)")
    data = DataDir(folder)
    for utt in sorted(data.wav_scp.keys() ^ data.utt2spk.keys()):
        where = "wav.scp" if utt in data.utt2spk else "utt2spk"
        raise UserError(f"{folder / where}: utterance {utt} is missing; unpack the corpus again")
    for before, utt in pairwise(sorted(data.utt2spk)):
        if data.utt2spk[before] > data.utt2spk[utt]:
            raise UserError(f"{folder / 'utt2spk'}: {before} and {utt} do not sort like their speakers; rename them")
    per_speaker: dict[str, dict[str, str]] = {}
    for table in ("spk2gender", "spk2age"):
        values = read_table(data.require(table, "unpack the corpus again"))
        for spk in data.spk2utt:
            if spk not in values:
                raise UserError(f"{folder / table}: speaker {spk} is missing; unpack the corpus again")
        per_speaker[table] = {spk: values[spk] for spk in data.spk2utt}
    paths = {utt: str(find_audio(corpus, path, folder / "wav.scp")) for utt, path in data.wav_scp.items()}
    return Set(paths, data.utt2spk, per_speaker["spk2gender"], per_speaker["spk2age"])


def find_audio(corpus: Path, path: str, table: Path) -> Path:
    """Find the file that a line of wav.scp names, with its own ending or with that of a FLAC or WAV copy."""
    named = corpus / path
    for candidate in (named, named.with_suffix(".flac"), named.with_suffix(".wav")):
        if candidate.is_file():
            return candidate
    raise UserError(f"{named} does not exist, though {table} names it; unpack the corpus again")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder that holds WAVE/, train/ and test/")
    parser.add_argument("data", type=Path, help="folder of data dirs")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the trial lists")
    parser.add_argument("--num-target", type=int, default=NUM_TARGET, help="maximum number of target trials")
    parser.add_argument("--num-nontarget", type=int, default=NUM_NONTARGET, help="number of non-target trials")
    args = parser.parse_args()
    check_seed(args.seed)
    corpus = Path(os.path.abspath(args.corpus))
    if not corpus.is_dir():
        raise UserError(f"{corpus} does not exist; give --corpus, or fetch it with --download true")
    train, test = read_set(corpus, "train"), read_set(corpus, "test")
    both = set(train.utt2spk.values()) & set(test.utt2spk.values())
    if both:
        raise UserError(f"{corpus}: {len(both)} speakers are in train and test, the first {min(both)}; unpack it again")
    speakers = dict.fromkeys(test.utt2spk.values())
    groups = speaker_groups(speakers, test.spk2gender, test.spk2age, corpus / "test")
    sizes = {"num_target": args.num_target, "num_nontarget": args.num_nontarget}
    trials = draw_trials(test.utt2spk, groups, seed=args.seed, **sizes)
    with folder_lock(args.data, "prepared"):
        train.write(args.data / "train")
        test.write(args.data / "test")
        write_trials(args.data / "test" / "trials", trials)


if __name__ == "__main__":
    run_step(main)
