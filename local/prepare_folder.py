#!/usr/bin/env python3
"""Make data dirs of your own corpus: a folder with a folder for each speaker, or a list of files and speakers.

Reads   <corpus>/SPEAKER/.../NAME.{wav,flac,...}, in any format that libsndfile reads; or
        --csv FILE: path and speaker, and start and end in seconds if an utterance is a part of its file. A header line
        such as `path,speaker,start,end` names the columns; without one, they have this order. They are separated by
        commas, semicolons or tabs. Relative paths begin at <corpus>, or at the list's folder if it is not given
Writes  <data>/{wav.scp,utt2spk,spk2utt,utt2dur}, and `segments` if there are parts of files; with --test-speakers N the
        same in <data>/train and <data>/test, which has N speakers; with --trials true trials/O.kaldi in the (test) set
        (local/make_trials.py)

An utterance is named SPEAKER/.../NAME.wav whatever the file's format, and a part of a file SPEAKER/.../NAME-START-END
in milliseconds. Characters that an id may not hold, such as a blank, become underscores. The header of every file is
read for its rate, channels and length. Everything is checked before anything is written, and the result passes
tools/validate_data_dir.sh. To find damage inside files, decode them with steps/check_data.sh.

e.g.: local/prepare_folder.py --test-speakers 40 --trials true /corpora/calls data/calls
      local/prepare_folder.py --csv calls.csv data/calls
"""

import argparse
import csv
import hashlib
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from local.make_trials import NUM_NONTARGET, NUM_TARGET, draw_trials, write_trials
from sv.audio.durations import MAX_OVERSHOOT_S, format_seconds
from sv.audio.files import ENDINGS, UNREADABLE, info
from sv.errors import UserError, log, run_step
from sv.io import DataDir, check_id
from sv.io.tables import FORBIDDEN_IN_IDS
from sv.jobs import folder_lock

MIN_DURATION_S = 0.025  # one frame of features
SHOWN = 20  # faults that are printed
SEED = 762
NUM_THREADS = 8  # for opening files


@dataclass(frozen=True)
class Row:
    """An utterance of the corpus.

    Attributes:
        where: the file, or the line of the list, for error messages.
        path: absolute path of the file.
        spk: its speaker.
        name: path of the file within the corpus, without its ending.
        start_s, end_s: the part of the file; None is the file's end.
        seconds: duration; 0 until the file's header has been read.
    """

    where: str
    path: str
    spk: str
    name: str
    start_s: float = 0.0
    end_s: float | None = None
    seconds: float = 0.0

    @property
    def is_part(self) -> bool:
        """Whether the utterance is a part of its file."""
        return self.start_s > 0 or self.end_s is not None

    @property
    def rest(self) -> str:
        """The name below the speaker's folder."""
        return self.name.removeprefix(f"{self.spk}/")

    @property
    def suffix(self) -> str:
        """The end of the utterance's id: ".wav", or start and end in milliseconds."""
        start, end = (round(1000 * time) for time in (self.start_s, self.start_s + self.seconds))
        return f"-{start:08d}-{end:08d}" if self.is_part else ".wav"


def scan_folder(root: Path) -> list[Row]:
    """Find all audio files below the speakers' folders; links are followed, hidden names are left out.

    Raises:
        UserError: the folder does not exist, holds no audio, or only formats that must be converted first.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give the one that holds a folder for each speaker")
    rows, unreadable, loose = [], [], []
    for path in walk(root):
        ending = path.rpartition(".")[2].lower()
        spk, slash, rest = os.path.relpath(path, root).partition("/")
        if ending in UNREADABLE:
            unreadable.append(path)
        elif ending in ENDINGS and not slash:
            loose.append(path)
        elif ending in ENDINGS:
            rows.append(Row(path, path, spk, f"{spk}/{rest.rpartition('.')[0]}"))
    if not rows and unreadable:
        convert = "ffmpeg -i IN.m4a -ac 1 -ar 16000 OUT.flac"
        raise UserError(f"{root}: {len(unreadable)} files, the first {unreadable[0]}, must be converted: {convert}")
    if not rows:
        raise UserError(f"{root} holds no <speaker>/<file> that is audio ({', '.join(sorted(ENDINGS))}); or give --csv")
    for what, paths in (("in no speaker's folder", loose), ("of a format that must be converted", unreadable)):
        if paths:
            log.warning("%s: %d files are %s and left out, the first %s", root, len(paths), what, paths[0])
    return rows


def walk(root: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, sorted; a folder that links lead back to is visited once."""
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        about = os.stat(folder)
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(folder, name) for name in sorted(files) if not name.startswith("."))


def read_csv(path: Path, root: Path | None) -> list[Row]:
    """Read the utterances of a list.

    Args:
        path: the list.
        root: where relative paths begin; None: in the list's folder.

    Raises:
        UserError: the list does not exist, is empty or not UTF-8, or a line lacks path or speaker or has wrong times.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a list of path,speaker[,start,end] with --csv")
    base = Path(os.path.abspath(root or path.parent))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); write it again as UTF-8") from error
    first = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count))
    lines = [(f"{path}:{reader.line_num}", [field.strip() for field in line]) for line in reader if any(line)]
    columns = ["path", "speaker", "start", "end"]
    missing = {"path", "speaker"} - {field.lower() for field in lines[0][1]} if lines else set()
    if lines and not missing:
        columns = [field.lower() for field in lines.pop(0)[1]]
    elif len(missing) == 1:
        raise UserError(f"{lines[0][0]}: a header without {missing.pop()}; the columns are path,speaker[,start,end]")
    if not lines:
        raise UserError(f"{path} lists no file; a line of it is path,speaker[,start,end]")
    if where := next((where for where, fields in lines if len(fields) > len(columns)), ""):
        raise UserError(f"{where}: more fields than columns ({', '.join(columns)}); name them in the first line")
    rows = [parse_line(dict(zip(columns, fields, strict=False)), where, base) for where, fields in lines]
    folders = [os.path.dirname(row.path) for row in rows]
    if os.path.commonpath([base, *folders]) != str(base):
        base = Path(os.path.commonpath(folders))
    return [replace(row, name=os.path.splitext(os.path.relpath(row.path, base))[0]) for row in rows]


def parse_line(fields: Mapping[str, str], where: str, base: Path) -> Row:
    """Return the utterance of one line, with its name still empty.

    Raises:
        UserError: path or speaker is missing, or the times are wrong.
    """
    path, spk = fields.get("path", ""), fields.get("speaker", "")
    if not path or not spk:
        missing = "path" if not path else "speaker"
        raise UserError(f"{where}: no {missing}; a line is path,speaker[,start,end]")
    times = []
    for column in ("start", "end"):
        value = fields.get(column, "")
        if value and not re.fullmatch(r"\d+(\.\d*)?|\.\d+", value):
            raise UserError(f"{where}: {column} is {value[:40]!r}; write seconds, such as 12.5, or nothing")
        times.append(float(value) if value else None)
    start_s, end_s = times[0] or 0.0, times[1]
    if end_s is not None and end_s <= start_s:
        raise UserError(f"{where}: start {start_s:g} and end {end_s:g}; the end must come after the start")
    return Row(where, os.path.normpath(base / path), spk, "", start_s, end_s)


def check_rows(rows: Sequence[Row], sample_rate: int) -> tuple[list[Row], list[str]]:
    """Return the usable rows, with their seconds, and an error message for each of the others."""
    paths = list(dict.fromkeys(row.path for row in rows))
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        found = dict(zip(paths, pool.map(lambda path: look_at(path, sample_rate), paths), strict=True))
    good, faults = [], []
    for row in rows:
        seconds, fault = found[row.path]
        end_s = seconds if row.end_s is None else row.end_s
        if not fault and end_s > seconds + MAX_OVERSHOOT_S:
            fault = f"the file ends at {seconds:.2f} s, the utterance at {end_s:.2f} s; mend the list"
        end_s = min(end_s, seconds)
        if not fault and end_s - row.start_s < MIN_DURATION_S:
            fault = f"{end_s - row.start_s:.3f} s of audio, shorter than a frame of {MIN_DURATION_S} s; leave it out"
        if fault:
            faults.append(fault if fault.startswith(row.where) else f"{row.where}: {fault}")
        else:
            good.append(replace(row, seconds=end_s - row.start_s))
    return good, faults


def look_at(path: str, sample_rate: int) -> tuple[float, str]:
    """Return the seconds of a file, and what is wrong with it, or ""."""
    if not os.path.isfile(path):
        return 0.0, f"{path} does not exist; bring it back or leave it out"
    try:
        header = info(path)
    except UserError as error:
        return 0.0, str(error)
    if header.channels != 1:
        return 0.0, f"{path}: {header.channels} channels, 1 expected; make it mono first (sox IN OUT remix 1)"
    if header.sample_rate != sample_rate:
        mend = f"resample it first, or give --sample-rate {header.sample_rate} if all files have it"
        return 0.0, f"{path}: {header.sample_rate} Hz, {sample_rate} Hz expected; {mend}"
    return header.duration_s, ""


def refuse_or_leave_out(faults: list[str], total: int, leave_out: bool) -> None:
    """Report unusable utterances.

    Raises:
        UserError: there are some and they may not be left out, or there are no others.
    """
    if not faults:
        return
    for fault in faults[:SHOWN]:
        log.warning("%s", fault)
    if len(faults) == total or not leave_out:
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
    there are such speakers, all characters up to "/" become underscores.

    Raises:
        UserError: two speakers would have the same id.
    """
    ids = {spk: safe(spk).replace("/", "_") for spk in sorted(speakers)}
    if any(
        before > after for before, after in pairwise(f"{spk}/" for spk in sorted(set(ids.values()), key=str.encode))
    ):
        ids = {spk: re.sub(r"[!-/]", "_", name) for spk, name in ids.items()}
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
    part = {name: {key: value for key, value in table.items() if key in utts} for name, table in tables.items()}
    if "segments" in part:
        recordings = {value.split()[0] for value in part["segments"].values()}
        part["wav.scp"] = {key: value for key, value in tables["wav.scp"].items() if key in recordings}
    return part


def write_data_dir(folder: Path, tables: Mapping[str, Mapping[str, str]]) -> None:
    """Write the tables and spk2utt, and validate them."""
    DataDir.write(folder, tables)
    validate = Path(__file__).resolve().parent.parent / "tools" / "validate_data_dir.sh"
    done = subprocess.run([validate, "--quiet", "--no-feats", folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(done.stderr.strip())
    hours = sum(map(float, tables["utt2dur"].values())) / 3600
    speakers, utts = set(tables["utt2spk"].values()), len(tables["utt2spk"])
    log.info("%s: %d speakers, %d utterances, %.2f hours", folder, len(speakers), utts, hours)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "corpus", type=Path, nargs="?", help="folder with a folder for each speaker; with --csv, where its paths begin"
    )
    parser.add_argument("data", type=Path, help="data dir, or with --test-speakers a folder for train and test")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="list with lines path,speaker[,start,end]")
    parser.add_argument("--sample-rate", type=int, default=16000, help="sample rate of all files in Hz")
    parser.add_argument(
        "--leave-out-bad", choices=["true", "false"], default="false", help="leave out unusable utterances"
    )
    parser.add_argument(
        "--test-speakers", type=int, default=0, metavar="N", help="number of speakers to test on, drawn by the seed"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="seed of test speakers and trials")
    parser.add_argument("--trials", choices=["true", "false"], default="false", help="make trials/O.kaldi")
    parser.add_argument("--num-target", type=int, default=NUM_TARGET, help="number of target trials at most")
    parser.add_argument("--num-nontarget", type=int, default=NUM_NONTARGET, help="number of non-target trials")
    args = parser.parse_args()
    if args.corpus is None and args.csv is None:
        parser.error("give the corpus' folder, or a list with --csv")
    return args


def main() -> None:
    args = parse()
    corpus = args.corpus and Path(os.path.abspath(args.corpus))
    rows = read_csv(args.csv, corpus) if args.csv else scan_folder(corpus)
    good, faults = check_rows(rows, args.sample_rate)
    refuse_or_leave_out(faults, len(rows), args.leave_out_bad == "true")
    tables = make_tables(good)
    sets, test = {args.data: tables}, args.data
    if args.test_speakers:
        chosen = choose_test_speakers(tables["utt2spk"], args.test_speakers, args.seed)
        others, test = set(tables["utt2spk"].values()) - chosen, args.data / "test"
        sets = {args.data / "train": part_of(tables, others), test: part_of(tables, chosen)}
    sizes = {"num_target": args.num_target, "num_nontarget": args.num_nontarget}
    trials = draw_trials(sets[test]["utt2spk"], None, seed=args.seed, **sizes) if args.trials == "true" else {}
    with folder_lock(args.data, "prepared"):
        for folder, part in sets.items():
            write_data_dir(folder, part)
        write_trials(test / "trials", trials)


if __name__ == "__main__":
    run_step(main)
