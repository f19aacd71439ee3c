#!/usr/bin/env python3
"""Make data dirs of your own corpus: a folder with a folder for each speaker, or a list of files and speakers.

Reads   <corpus>/SPEAKER/.../NAME.{wav,flac,...}, all that libsndfile opens; other files are counted and reported; or
        --csv FILE: path and speaker, and start and end in seconds if an utterance is a part of its file. A header line
        such as `path,speaker,start,end` names the columns; without one, they have this order. Other common names are
        known, as are duration, sex, age, session and language, and SpeechBrain's lists; any other column is refused.
        They are separated by commas, semicolons or tabs; a field in double quotes may hold commas and semicolons.
        Relative paths begin at <corpus>, or at the list's folder if it is not given
Writes  <data>/{wav.scp,utt2spk,spk2utt,utt2dur}, and `segments` if there are parts of files, and spk2gender, spk2age,
        utt2session, utt2lang if the list tells them of all; with --test-speakers N the same in <data>/train and
        <data>/test, which has N speakers; with --trials true trials/O.kaldi in the (test) set (local/make_trials.py),
        whose target trials are of two recordings and, if the list tells the session of all, of two sessions

An utterance is named SPEAKER/.../NAME.wav whatever the file's format, and a part of a file SPEAKER/.../NAME-START-END
in milliseconds. Characters that an id may not hold, such as a blank, become underscores. The header of every file is
read for its rate, channels and length. A whole recording that is listed under two speakers belongs to neither.
If recordings were replaced by others of another length, features of the old ones are made anew in stage 2.
Everything is checked before anything is written, and the result passes tools/validate_data_dir.sh. To find damage
inside files, decode them with steps/check_data.sh.

e.g.: local/prepare_folder.py --test-speakers 40 --trials true /corpora/calls data/calls
      local/prepare_folder.py --csv calls.csv data/calls
"""

import argparse
import hashlib
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path

import _path  # noqa: F401

from local.corpus_folder import scan_folder
from local.corpus_list import Row, read_csv
from local.make_trials import NUM_NONTARGET, NUM_TARGET, draw_trials, write_trials
from local.replaced_audio import withdraw_replaced
from sv.audio.durations import MAX_OVERSHOOT_S, format_seconds
from sv.audio.files import TO_MONO, info
from sv.errors import UserError, check_rate, check_seed, log, run_step, tell
from sv.io import DataDir, base_speaker, check_id
from sv.io.progress import bar
from sv.io.tables import FORBIDDEN_IN_IDS
from sv.jobs import folder_lock

MIN_DURATION_S = 0.025  # one frame of features
SHOWN = 20  # kinds of faults that are printed, with an example each
SEED = 762
RECIPE_RATE_OPTION = "--set dataset_args.fbank_args.sample_rate="
NUM_THREADS = 8  # for opening files
ABOUT = {"sex": "spk2gender", "age": "spk2age", "session": "utt2session", "language": "utt2lang"}  # table of a column


@dataclass(frozen=True)
class Found:
    """A look at a file: its seconds, what is wrong with it or "", and what it is under any name."""

    seconds: float = 0.0
    fault: str = ""
    identity: tuple[int, int] = (0, 0)


def check_rows(rows: Sequence[Row], sample_rate: int, rate_option: str) -> tuple[list[Row], list[str]]:
    """Return the usable rows, with their seconds, and an error message for each of the others."""
    paths = list(dict.fromkeys(row.path for row in rows))
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        looks = pool.map(lambda path: look_at(path, sample_rate, rate_option), paths)
        found = dict(zip(bar(paths, "files"), looks, strict=True))
    twice = shared_recordings(rows, found)
    good, faults = [], []
    for row in rows:
        fault = found[row.path].fault or check_times(row, found[row.path].seconds) or twice.get(row.where, "")
        if fault:
            faults.append(fault if fault.startswith(row.where) else f"{row.where}: {fault}")
        else:
            seconds = found[row.path].seconds
            good.append(replace(row, seconds=min(seconds, row.end_s or seconds) - row.start_s))
    return good, faults


def check_times(row: Row, seconds: float) -> str:
    """Return what is wrong with the times of a row, "" if nothing; the file has `seconds`."""
    end_s = seconds if row.end_s is None else row.end_s
    if end_s > seconds + MAX_OVERSHOOT_S:
        return f"the file ends at {seconds:.2f} s, the utterance at {end_s:.2f} s; mend the list"
    if row.length_s is not None and abs(row.length_s - seconds) > MAX_OVERSHOOT_S:
        return f"the file has {seconds:.2f} s, the list says {row.length_s:.2f} s; give start, or mend the duration"
    if (rest := min(end_s, seconds) - row.start_s) < MIN_DURATION_S:
        return f"{rest:.3f} s of audio, shorter than a frame of {MIN_DURATION_S} s; leave it out"
    return ""


def shared_recordings(rows: Sequence[Row], found: Mapping[str, Found]) -> dict[str, str]:
    """Return what is wrong with rows by `where`: a file whole under one speaker, and under another as well.

    The same part of a file under two speakers is wrong, too; parts of which some overlap are not.
    """
    faults: dict[str, str] = {}
    of_file: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        if not found[row.path].fault:
            of_file.setdefault(found[row.path].identity, []).append(row)
    for same in of_file.values():
        if len({row.spk for row in same}) == 1:
            continue
        spans: dict[tuple[float, float | None], list[Row]] = {}
        for row in same:
            spans.setdefault((row.start_s, row.end_s), []).append(row)
        whole = spans.get((0.0, None), [])
        for row in same:
            rivals = chain(spans[row.start_s, row.end_s] if row.is_part else same, whole)
            if other := next((rival for rival in rivals if rival.spk != row.spk), None):
                faults[row.where] = (
                    f"{row.path} is of {row.spk} here, and of {other.spk} too ({other.where}); keep one of them, or "
                    "give start and end of each (--csv)"
                )
    return faults


def look_at(path: str, sample_rate: int, rate_option: str) -> Found:
    """Read the header of a file; `rate_option` and a number set the sample rate in the command that the user typed."""
    if not os.path.isfile(path):
        return Found(fault=f"{path} does not exist; bring it back or leave it out")
    about = os.stat(path)
    try:
        header = info(path)
    except UserError as error:
        return Found(fault=str(error))
    if header.channels != 1:
        return Found(fault=f"{path}: {header.channels} channels, 1 expected; {TO_MONO}")
    if header.sample_rate != sample_rate:
        mend = f"resample it first, or give {rate_option}{header.sample_rate} if all files have it"
        return Found(fault=f"{path}: {header.sample_rate} Hz, {sample_rate} Hz expected; {mend}")
    return Found(header.duration_s, "", (about.st_dev, about.st_ino))


def refuse_or_leave_out(faults: list[str], total: int, leave_out: bool) -> None:
    """Report unusable utterances.

    Raises:
        UserError: there are some and they may not be left out, or there are no others.
    """
    if not faults:
        return
    kinds: dict[str, list[str]] = {}
    for fault in faults:
        kinds.setdefault(fault.rpartition(": ")[2], []).append(fault)
    refused = len(faults) == total or not leave_out
    for alike in list(kinds.values())[refused:SHOWN]:  # the error has the first
        log.warning("%s%s", alike[0], f" ({len(alike)} such utterances)" if len(alike) > 1 else "")
    if refused:
        remedy = "mend them" if len(faults) == total else "mend them, or give --leave-out-bad true"
        raise UserError(f"{len(faults)} of {total} utterances cannot be used, the first: {faults[0]}; {remedy}")
    log.warning("%d of %d utterances are left out", len(faults), total)


def safe(name: str) -> str:
    """Replace the characters that an id may not hold by underscores."""
    name = "".join("_" if c in FORBIDDEN_IN_IDS or c.isspace() or not c.isprintable() else c for c in name)
    return "/".join("__" if part == ".." else part for part in name.split("/"))


def speaker_ids(speakers: Iterable[str]) -> dict[str, str]:
    """Return the id of each speaker.

    Utterances SPEAKER/... must sort like their speakers. Those of "a" and "a-b" do not, since "-" comes before "/". If
    there are such speakers, all characters up to "/" become underscores. So does the hyphen of a name such as sp1-x, as
    it is that of a speed copy.

    Raises:
        UserError: two speakers would have the same id.
    """
    ids = {spk: safe(spk).replace("/", "_") for spk in sorted(speakers)}
    if any(
        before > after for before, after in pairwise(f"{spk}/" for spk in sorted(set(ids.values()), key=str.encode))
    ):
        ids = {spk: re.sub(r"[!-/]", "_", name) for spk, name in ids.items()}
    ids = {spk: name if base_speaker(name) == name else name.replace("-", "_", 1) for spk, name in ids.items()}
    first: dict[str, str] = {}
    for spk, name in ids.items():
        if first.setdefault(name, spk) != spk:
            raise UserError(f"speakers {first[name]!r} and {spk!r} would both be {name}; rename one of them")
    return ids


def make_tables(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Return the tables: name -> utterance (or recording, in wav.scp if there are segments) -> value.

    Raises:
        UserError: two rows would be the same utterance, or a table cannot hold a path.
    """
    speakers = speaker_ids({row.spk for row in rows})
    names = ["wav.scp", "utt2spk", "utt2dur", *(["segments"] if any(row.is_part for row in rows) else [])]
    tables: dict[str, dict[str, str]] = {name: {} for name in names}
    rows_of: dict[str, Row] = {}
    for row in rows:
        if not row.path.isprintable():
            raise UserError(f"{row.where!r}: a path with a line break or bytes that are not UTF-8; rename it")
        spk = speakers[row.spk]
        utt = check_id(f"{spk}/{safe(row.rest)}{row.suffix}", row.where)
        if (other := rows_of.setdefault(utt, row)) is not row:
            raise UserError(f"{row.where} and {other.where} would both be utterance {utt}; leave one of them out")
        tables["utt2spk"][utt], tables["utt2dur"][utt] = spk, format_seconds(row.seconds)
        recording = utt
        if "segments" in tables:
            recording = check_id(f"{safe(row.name)}.wav", row.where)
            times = (row.start_s, row.start_s + row.seconds)
            tables["segments"][utt] = " ".join([recording, *map(format_seconds, times)])
        if tables["wav.scp"].setdefault(recording, row.path) != row.path:
            there = tables["wav.scp"][recording]
            raise UserError(f"{row.path} and {there} would both be recording {recording}; rename one of them")
    return {**tables, **known_tables(rows, tables["utt2spk"])}


def known_tables(rows: Sequence[Row], utt2spk: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the tables of what the list says of speakers and utterances, of those columns that say it of all.

    Args:
        rows: the utterances.
        utt2spk: their ids, in the same order.

    Raises:
        UserError: two lines say different things of a speaker.
    """
    tables: dict[str, dict[str, str]] = {}
    for column, name in ABOUT.items():
        said: dict[str, tuple[str, str]] = {}
        for row, (utt, spk) in zip(rows, utt2spk.items(), strict=True):
            key = spk if name.startswith("spk2") else utt
            if value := row.about.get(column, ""):
                before, where = said.setdefault(key, (value, row.where))
                if before != value:
                    raise UserError(f"{row.where}: {column} of {key} is {value}, but {before} at {where}; correct one")
        wanted = set(utt2spk.values()) if name.startswith("spk2") else set(utt2spk)
        if said.keys() == wanted:
            tables[name] = {key: safe(value) for key, (value, _) in said.items()}
        elif said:
            log.warning("%s is known for %d of %d: %s is not written", column, len(said), len(wanted), name)
    return tables


def choose_test_speakers(utt2spk: Mapping[str, str], count: int, seed: int) -> set[str]:
    """Return the `count` speakers with the smallest SHA-256 of "SEED SPEAKER", of those with two or more utterances.

    Raises:
        UserError: fewer than two are asked for, there are too few, or fewer than two would be left to train on.
    """
    utts = Counter(utt2spk.values())
    fit = [spk for spk, number in utts.items() if number > 1]
    if not 2 <= count <= min(len(fit), len(utts) - 2):
        raise UserError(
            f"--test-speakers {count}: of {len(utts)} speakers {len(fit)} have two utterances or more; at least 2 must"
            " be tested, and 2 be left to train on"
        )
    return set(sorted(fit, key=lambda spk: hashlib.sha256(f"{seed} {spk}".encode()).digest())[:count])


def part_of(tables: Mapping[str, Mapping[str, str]], speakers: set[str]) -> dict[str, dict[str, str]]:
    """Return the rows of the tables that belong to some speakers."""
    utts = {utt for utt, spk in tables["utt2spk"].items() if spk in speakers}
    part = {
        name: {key: value for key, value in table.items() if key in (speakers if name.startswith("spk2") else utts)}
        for name, table in tables.items()
    }
    if "segments" in part:
        recordings = {value.split()[0] for value in part["segments"].values()}
        part["wav.scp"] = {key: value for key, value in tables["wav.scp"].items() if key in recordings}
    return part


def are_apart(tables: Mapping[str, Mapping[str, str]]) -> Callable[[str, str], bool]:
    """Return a function that tells whether two utterances are of two files and, if sessions are known, two sessions.

    Links to one file are that file.
    """
    segments, session = tables.get("segments", {}), tables.get("utt2session", {})
    file = {recording: os.stat(path)[1:3] for recording, path in tables["wav.scp"].items()}  # inode, device
    file_of = {utt: file[segments[utt].split()[0] if segments else utt] for utt in tables["utt2spk"]}
    return lambda a, b: file_of[a] != file_of[b] and (not session or session[a] != session[b])


def write_data_dir(folder: Path, tables: Mapping[str, Mapping[str, str]]) -> None:
    """Write the tables and spk2utt, and validate them."""
    for name in set(ABOUT.values()) - tables.keys():
        (folder / name).unlink(missing_ok=True)  # of an earlier run
    DataDir.write(folder, tables)
    validate = Path(__file__).resolve().parent.parent / "tools" / "validate_data_dir.sh"
    done = subprocess.run([validate, "--quiet", "--no-feats", folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(done.stderr.strip())
    hours = sum(map(float, tables["utt2dur"].values())) / 3600
    speakers, utts = set(tables["utt2spk"].values()), len(tables["utt2spk"])
    tell("%s: %d speakers, %d utterances, %.2f hours", folder, len(speakers), utts, hours)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "corpus",
        type=Path,
        nargs="?",
        help="folder with a folder for each speaker; with --csv, the folder that relative paths start from",
    )
    parser.add_argument("data", type=Path, help="data dir, or with --test-speakers a folder for train and test")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="list with lines path,speaker[,start,end]")
    parser.add_argument(
        "--ignore-columns", default="", metavar='"NAME ..."', help="columns of the list that are not read"
    )
    parser.add_argument("--sample-rate", type=int, default=16000, help="sample rate of all files in Hz")
    parser.add_argument("--config", type=Path, help="YAML of a system, whose sample rate is used instead")
    parser.add_argument(
        "--leave-out-bad", choices=["true", "false"], default="false", help="leave out unusable utterances"
    )
    parser.add_argument(
        "--test-speakers", type=int, default=0, metavar="N", help="number of test speakers, drawn by the seed"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="seed of test speakers and trials")
    parser.add_argument("--trials", choices=["true", "false"], default="false", help="make trials/O.kaldi")
    parser.add_argument("--num-target", type=int, default=NUM_TARGET, help="maximum number of target trials")
    parser.add_argument("--num-nontarget", type=int, default=NUM_NONTARGET, help="number of non-target trials")
    args = parser.parse_args()
    check_rate("--sample-rate", args.sample_rate)
    if args.corpus is None and args.csv is None:
        parser.error("give the corpus' folder, or a list with --csv")
    check_seed(args.seed)
    return args


def main() -> None:
    args = parse()
    corpus = args.corpus and Path(os.path.abspath(args.corpus))
    rate_option = "--sample-rate "
    if args.config:  # of a recipe
        rate_option = RECIPE_RATE_OPTION
        from sv.config import load_config  # pydantic takes a tenth of a second

        args.sample_rate = load_config(args.config).dataset_args.fbank_args.sample_rate
    if args.csv:
        rows = read_csv(args.csv, corpus, args.sample_rate, args.ignore_columns.split())
    else:
        rows = scan_folder(corpus)
    good, faults = check_rows(rows, args.sample_rate, rate_option)
    refuse_or_leave_out(faults, len(rows), args.leave_out_bad == "true")
    tables = make_tables(good)
    sets, test = {args.data: tables}, args.data
    if args.test_speakers:
        chosen = choose_test_speakers(tables["utt2spk"], args.test_speakers, args.seed)
        others, test = set(tables["utt2spk"].values()) - chosen, args.data / "test"
        sets = {args.data / "train": part_of(tables, others), test: part_of(tables, chosen)}
    sizes = {"num_target": args.num_target, "num_nontarget": args.num_nontarget}
    trials = {}
    if args.trials == "true":
        tested = sets[test]
        trials = draw_trials(tested["utt2spk"], None, seed=args.seed, allowed=are_apart(tested), **sizes)
    with folder_lock(args.data, "prepared"):
        for folder, part in sets.items():
            withdraw_replaced(folder, part["utt2dur"])
            write_data_dir(folder, part)
        write_trials(test / "trials", trials)


if __name__ == "__main__":
    run_step(main)
