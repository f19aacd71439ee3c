#!/usr/bin/env python3
"""Make data dirs and trial lists of CN-Celeb 1 and 2 (OpenSLR 82; Li et al., 2022, arXiv 2012.12468), as unpacked.

Reads   --cnceleb1 DIR: data/SPEAKER/GENRE-SESSION-NUMBER.{flac,wav}, dev/dev.lst, eval/enroll/SPEAKER-enroll.*,
        eval/test/SPEAKER-GENRE-SESSION-NUMBER.*, eval/lists/{enroll.map,trials.lst}
        --cnceleb2 DIR: data/SPEAKER/GENRE-SESSION-NUMBER.*; without it, CN-Celeb 1 alone is trained on
Writes  <data>/train/{wav.scp,utt2spk,spk2utt}: the speakers of dev.lst and of CN-Celeb 2. Utterances below
        --min-duration are joined with their neighbours of the same speaker and genre into
        <data>/joined/SPEAKER/FIRST-combN.flac, N utterances from FIRST on; what is there already is made again only
        if the utterances have another length in all
        <data>/test/{wav.scp,utt2spk,spk2utt,utt2genre}; the genres of a file of several are joined by "+"
        <data>/test/enroll.map: utterances of the enroll models, for --enroll-map: model SPEAKER has those of the
        corpus's enroll.map, model SPEAKER-enroll has the one file in which the corpus has joined them
        <data>/test/trials/CNC-Eval-{Avg,Concat}.kaldi: the corpus's trials with either kind of model

An utterance is named SPEAKER-GENRE-SESSION-NUMBER. All but the sound itself is checked before anything is written.
"""

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import _path  # noqa: F401
import numpy as np
import soundfile

from sv.audio.files import info, read_file
from sv.errors import UserError, log, run_step, tell
from sv.io import DataDir, atomic_write, check_id, write_table
from sv.jobs import folder_lock

AGAIN = "unpack the corpus again"


@dataclass(frozen=True)
class Test:
    """The checked parts of the evaluation.

    Attributes:
        wav_scp: utterance -> path, of tests, enroll utterances and joined enroll utterances.
        genres: of each of these.
        models: enroll model -> utterances.
        trials: lines of each list, by its name.
    """

    wav_scp: Mapping[str, str]
    genres: Mapping[str, str]
    models: Mapping[str, Sequence[str]]
    trials: Mapping[str, Sequence[str]]


def read_lines(path: Path, columns: int) -> list[list[str]]:
    """Return the words of each line.

    Raises:
        UserError: no such file, an empty one, or a line with fewer words than `columns`.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the folder CN-Celeb_flac as it is unpacked (--cnceleb1)")
    lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    for number, words in enumerate(lines, start=1):
        if len(words) < columns:
            raise UserError(f"{path}:{number}: {len(words)} words where at least {columns} are expected; {AGAIN}")
    if not lines:
        raise UserError(f"{path} is empty; {AGAIN}")
    return lines


def find_files(folder: Path) -> dict[str, str]:
    """Return the audio files of a folder, sorted: name without ending -> path; hidden ones are left out."""
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; {AGAIN}")
    shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found = {path.stem: str(path) for path in shown if path.suffix in (".flac", ".wav")}
    if not found:
        raise UserError(f"{folder} holds no .flac or .wav; {AGAIN}")
    return dict(sorted(found.items()))


def find_training(data: Path, speakers: Iterable[str]) -> dict[str, str]:
    """Return the utterances of these speakers: SPEAKER-GENRE-SESSION-NUMBER -> path."""
    found = {}
    for spk in speakers:
        for stem, path in find_files(data / spk).items():
            if "-" not in stem:
                raise UserError(f"{path}: the name is not GENRE-SESSION-NUMBER; {AGAIN}, or remove it")
            found[check_id(f"{spk}-{stem}", path)] = path
    return found


def speakers_of(cnceleb2: Path) -> list[str]:
    """Return the speakers of CN-Celeb 2: all folders of data/ that are not hidden."""
    if not (cnceleb2 / "data").is_dir():
        raise UserError(f"{cnceleb2 / 'data'} does not exist; give the folder CN-Celeb2_flac (--cnceleb2)")
    entries = os.scandir(cnceleb2 / "data")
    return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def group_short(utts: Iterable[str], seconds: Mapping[str, float], least: float) -> list[list[str]]:
    """Group successive utterances of a speaker and genre until each group has `least` seconds.

    What is left at the end of a speaker's genre joins the group before it, if there is one.
    """
    groups: list[list[str]] = []
    for _, members in groupby(utts, key=lambda utt: utt.split("-")[:2]):
        first = len(groups)
        for utt in members:
            if len(groups) > first and total(groups[-1], seconds) < least:
                groups[-1].append(utt)
            else:
                groups.append([utt])
        if len(groups) > first + 1 and total(groups[-1], seconds) < least:
            rest = groups.pop()
            groups[-1] += rest
    return groups


def total(utts: Iterable[str], seconds: Mapping[str, float]) -> float:
    """Return the seconds of all of them."""
    return sum(seconds[utt] for utt in utts)


def join_files(paths: Sequence[str], samples: int, joined: Path) -> None:
    """Write a FLAC file of several files, one after the other, with `samples` in all; one that has them is kept."""
    if joined.is_file() and info(str(joined)).samples == samples:
        return
    sounds = [read_file(path) for path in paths]
    if len({rate for _, rate in sounds}) > 1:
        raise UserError(f"{paths[0]} and those after it have different sample rates; {AGAIN}")
    with atomic_write(joined, "wb") as f:
        soundfile.write(f, np.concatenate([sound for sound, _ in sounds]), sounds[0][1], format="FLAC")


def join_short(utts: Mapping[str, str], folder: Path, least: float, num_threads: int) -> dict[str, str]:
    """Join short utterances into files of `folder`, and return all that are to be trained on: utterance -> path."""
    with ThreadPoolExecutor(num_threads) as pool:
        found = dict(zip(utts, pool.map(info, utts.values()), strict=True))
        groups = group_short(sorted(utts), {utt: about.duration_s for utt, about in found.items()}, least)
        wav_scp = {group[0]: utts[group[0]] for group in groups if len(group) == 1}
        several = {f"{group[0]}-comb{len(group)}": group for group in groups if len(group) > 1}
        files = {name: folder / name.partition("-")[0] / f"{name}.flac" for name in several}
        paths = [[utts[utt] for utt in group] for group in several.values()]
        samples = [sum(found[utt].samples for utt in group) for group in several.values()]
        for _ in pool.map(join_files, paths, samples, files.values()):
            pass  # raises what the thread raised, and leaves the rest
    log.info("%d utterances, of which %d hold several", len(groups), len(several))
    return wav_scp | {name: str(path) for name, path in files.items()}


def find_test(cnceleb1: Path) -> Test:
    """Find what CN-Celeb 1 has in eval/.

    Raises:
        UserError: lists and files contradict one another.
    """
    lists = cnceleb1 / "eval" / "lists"
    tests, enrolls = find_files(cnceleb1 / "eval" / "test"), find_files(cnceleb1 / "eval" / "enroll")
    wav_scp = {check_id(utt, path): path for utt, path in {**tests, **enrolls}.items()}
    models: dict[str, list[str]] = {utt: [utt] for utt in enrolls}
    files: dict[str, dict[str, str]] = {}  # by speaker
    for number, (model, *names) in enumerate(read_lines(lists / "enroll.map", 2), start=1):
        spk = models_speaker(model)
        if spk not in files:
            files[spk] = find_files(cnceleb1 / "data" / spk)
        stems = [Path(name).stem for name in names]
        missing = [name for name, stem in zip(names, stems, strict=True) if stem not in files[spk]]
        if missing or model not in enrolls:
            what = f"{missing[0]} is not in {cnceleb1}/data" if missing else f"{model} is not in {cnceleb1}/eval/enroll"
            raise UserError(f"{lists / 'enroll.map'}:{number}: {what}; {AGAIN}")
        models[spk] = [f"{spk}-{stem}" for stem in stems]
        wav_scp |= {f"{spk}-{stem}": files[spk][stem] for stem in stems}
    if unknown := [model for model in enrolls if models_speaker(model) not in models]:
        raise UserError(f"{lists / 'enroll.map'} has no line for {unknown[0]}, which is in eval/enroll; {AGAIN}")
    if unnamed := [path for utt, path in wav_scp.items() if "-" not in utt]:
        raise UserError(f"{unnamed[0]}: the name is not SPEAKER-GENRE-SESSION-NUMBER; {AGAIN}, or remove it")
    genres = {utt: utt.split("-")[1] for utt in wav_scp}
    genres |= {model: "+".join(sorted({genres[u] for u in models[models_speaker(model)]})) for model in enrolls}
    return Test(wav_scp, genres, models, make_trials(lists / "trials.lst", tests, models))


def models_speaker(model: str) -> str:
    """Return the speaker of the corpus's model SPEAKER-enroll."""
    return model.removesuffix("-enroll")


def make_trials(path: Path, tests: Mapping[str, str], models: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the lines of both lists, of lines "SPEAKER-enroll test/NAME.wav 1|0".

    Raises:
        UserError: an unknown model or test utterance; a label that contradicts the speakers.
    """
    made: dict[str, list[str]] = {"CNC-Eval-Avg.kaldi": [], "CNC-Eval-Concat.kaldi": []}
    for number, (model, test, label, *_) in enumerate(read_lines(path, 3), start=1):
        utt, spk = Path(test).stem, models_speaker(model)
        if model not in models or spk not in models or utt not in tests:
            missing = test if utt not in tests else model
            raise UserError(f"{path}:{number}: {missing} is not in the corpus; {AGAIN}")
        if label not in ("0", "1") or (label == "1") != (utt.partition("-")[0] == spk):
            raise UserError(f"{path}:{number}: label {label} for {model} and {test}; get the list again")
        word = "target" if label == "1" else "nontarget"
        for lines, name in zip(made.values(), (spk, model), strict=True):
            lines.append(f"{name} {utt} {word}\n")
    return made


def write_data_dir(folder: Path, wav_scp: Mapping[str, str], more: Mapping[str, Mapping[str, str]]) -> None:
    """Write the tables of a set."""
    utt2spk = {utt: utt.partition("-")[0] for utt in wav_scp}
    DataDir.write(folder, {"wav.scp": wav_scp, "utt2spk": utt2spk, **more})
    tell("%s: %d speakers, %d utterances", folder, len(set(utt2spk.values())), len(utt2spk))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of data dirs")
    parser.add_argument("--cnceleb1", type=Path, required=True, metavar="DIR", help="CN-Celeb_flac")
    parser.add_argument("--cnceleb2", type=Path, metavar="DIR", help="CN-Celeb2_flac")
    parser.add_argument("--min-duration", type=float, default=5.0, help="seconds; 0: join nothing")
    parser.add_argument("--nj", type=int, default=16, help="threads that read and join files")
    args = parser.parse_args()
    cnceleb1 = args.cnceleb1.absolute()
    test = find_test(cnceleb1)
    utts = find_training(cnceleb1 / "data", [spk for spk, *_ in read_lines(cnceleb1 / "dev" / "dev.lst", 1)])
    if args.cnceleb2:
        cnceleb2 = args.cnceleb2.absolute()
        utts |= find_training(cnceleb2 / "data", speakers_of(cnceleb2))
    both = {utt.partition("-")[0] for utt in utts} & {utt.partition("-")[0] for utt in test.wav_scp}
    if both:
        raise UserError(f"{len(both)} speakers are in training and test, the first {min(both)}; {AGAIN}")
    with folder_lock(args.data, "prepared"):
        wav_scp = join_short(utts, args.data.absolute() / "joined", args.min_duration, args.nj)
        write_data_dir(args.data / "train", wav_scp, {})
        write_data_dir(args.data / "test", test.wav_scp, {"utt2genre": test.genres})
        write_table(args.data / "test" / "enroll.map", {name: " ".join(found) for name, found in test.models.items()})
        for name, lines in test.trials.items():
            with atomic_write(args.data / "test" / "trials" / name, keep_same=True) as f:
                f.writelines(lines)


if __name__ == "__main__":
    run_step(main)
