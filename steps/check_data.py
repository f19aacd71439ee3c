#!/usr/bin/env python3
"""The parts of steps/check_data.sh, which says what is checked.

begin   compares the tables, and prints the number of parts; 0 if --once and no fault was found before
part    decodes a part of the utterances of all data dirs; writes check_data/part.N in the first of them, a line each:
        data dir, utterance, seconds, checksum of the samples, fault (empty if there is none), separated by tabs
report  prints the table of hours, speakers and utterances, and the faults
"""

import argparse
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sv.audio.files import Utterances
from sv.config import load_config
from sv.errors import UserError, log, run_step
from sv.io import DataDir, atomic_write
from sv.jobs import DoneMark

MAX_SHOWN = 10  # faults that are printed; all of them stand in a file


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found out about one utterance."""

    data: str
    utt: str
    seconds: float
    checksum: str
    fault: str

    def to_line(self) -> str:
        return f"{self.data}\t{self.utt}\t{self.seconds:.4f}\t{self.checksum}\t{self.fault}\n"

    @classmethod
    def from_line(cls, line: str) -> "Checked":
        data, utt, seconds, checksum, fault = line.rstrip("\n").split("\t")
        return cls(data, utt, float(seconds), checksum, fault)


def work_dir(data_dirs: list[Path]) -> Path:
    return data_dirs[0] / "check_data"


def done_mark(args: argparse.Namespace) -> DoneMark:
    """Of a check that found no fault: what was looked for, and in which tables."""
    options = {name: getattr(args, name) for name in ("sample_rate", "min_duration", "find_duplicates")}
    inputs = tuple(path / name for path in args.data_dirs for name in ("wav.scp", "segments", "utt2spk"))
    return DoneMark(work_dir(args.data_dirs) / ".done", options, inputs)


def table_faults(data_dirs: list[Path]) -> Iterator[str]:
    """Faults that need no audio.

    Raises:
        UserError: a table is missing, or has an id twice.
    """
    sets = [DataDir(path) for path in data_dirs]
    for data in sets:
        utts = data.segments or data.wav_scp
        name = "segments" if data.segments else "wav.scp"
        for utt in sorted(utts.keys() ^ data.utt2spk.keys()):
            where = "utt2spk" if utt in utts else name
            yield f"{data.path / where}: {utt} is missing; run tools/fix_data_dir.sh {data.path}"
    train = set(sets[0].spk2utt)
    for data in sets[1:]:
        for spk in sorted(train & set(data.spk2utt)):
            yield f"{data.path}: speaker {spk} is in {sets[0].path}, too; take it out of one of them"


def check_utterances(data: DataDir, sample_rate: int, min_duration_s: float, allow_pipes: bool) -> Iterator[Checked]:
    """Decode utterances to their end."""
    audio = Utterances(data, sample_rate, allow_pipes)
    for utt in audio.ids:
        seconds, checksum, fault = 0.0, "", ""
        try:
            waveform = audio.read(utt)
            seconds = len(waveform) / sample_rate
            checksum = hashlib.sha1(waveform.tobytes(), usedforsecurity=False).hexdigest()
            if seconds < min_duration_s:
                fault = f"{utt}: {seconds:.3f} s, shorter than {min_duration_s} s; leave it out (tools/fix_data_dir.sh)"
            elif not waveform.any():
                fault = f"{utt}: digital silence; leave it out"
        except UserError as error:
            fault = " ".join(str(error).split())
        yield Checked(str(data.path), utt, seconds, checksum, fault)


def check_part(data_dirs: list[Path], args: argparse.Namespace) -> None:
    """Check the part `args.part` of all utterances, taken one after the other."""
    with atomic_write(work_dir(data_dirs) / f"part.{args.part}") as f:
        for path in data_dirs:
            data = DataDir(path).part(args.part, args.num_parts)
            some = check_utterances(data, args.sample_rate, args.min_duration, args.allow_pipes == "true")
            f.writelines(checked.to_line() for checked in some)


def duplicates(checked: list[Checked]) -> Iterator[str]:
    """A line for each utterance that has the samples of one before it."""
    first: dict[str, Checked] = {}
    for one in checked:
        if one.checksum:
            same = first.setdefault(one.checksum, one)
            if same is not one:
                yield f"{one.data}: {one.utt} has the same samples as {same.utt} of {same.data}; leave one out"


def table_lines(data_dirs: list[Path], checked: list[Checked]) -> Iterator[str]:
    yield "| set | speakers | utterances | hours | shortest (s) | longest (s) |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for path in data_dirs:
        seconds = [one.seconds for one in checked if one.data == str(path) and one.checksum] or [0.0]
        data = DataDir(path)
        yield (
            f"| {path.name} | {len(data.spk2utt)} | {len(data.utt2spk)} | {sum(seconds) / 3600:.2f}"
            f" | {min(seconds):.2f} | {max(seconds):.2f} |"
        )


def report(data_dirs: list[Path], num_parts: int, find_duplicates: bool) -> None:
    """Print the table, which is kept in check_data/table, and the faults.

    Raises:
        UserError: there are faults.
    """
    work = work_dir(data_dirs)
    parts = [(work / f"part.{part}").read_text().splitlines() for part in range(1, num_parts + 1)]
    checked = [Checked.from_line(line) for lines in parts for line in lines]
    table = "".join(f"{line}\n" for line in table_lines(data_dirs, checked))
    print(table, end="")
    with atomic_write(work / "table") as f:
        f.write(table)
    faults = list(table_faults(data_dirs))
    faults += [f"{one.data}: {one.fault}" for one in checked if one.fault]
    if find_duplicates:
        faults += duplicates(checked)
    for part in range(1, num_parts + 1):
        (work / f"part.{part}").unlink()
    if faults:
        for fault in faults[:MAX_SHOWN]:
            log.error("%s", fault)
        with atomic_write(work / "faults") as f:
            f.writelines(f"{fault}\n" for fault in faults)
        raise UserError(f"{len(faults)} faults in the data, all of them in {work / 'faults'}; the first: {faults[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "report"])
    parser.add_argument("data_dirs", type=Path, nargs="+", metavar="data-dir")
    parser.add_argument("--num-parts", type=int, required=True)
    parser.add_argument("--part", type=int, default=1)
    parser.add_argument("--sample-rate", type=int, default=16000)
    parser.add_argument("--config", type=Path, help="YAML of a system, whose sample rate it is then")
    parser.add_argument("--min-duration", type=float, default=0.025, help="seconds")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false")
    parser.add_argument("--find-duplicates", choices=["true", "false"], default="false")
    parser.add_argument("--once", choices=["true", "false"], default="false", help="not again for the same tables")
    args = parser.parse_args()
    if args.config:
        args.sample_rate = load_config(args.config).dataset_args.fbank_args.sample_rate
    if args.action == "begin":
        if args.once == "true" and not done_mark(args).stale():
            print(0)
            return
        shutil.rmtree(work_dir(args.data_dirs), ignore_errors=True)
        for _ in table_faults(args.data_dirs):  # tables that can not be read end it here
            pass
        print(max(1, min(args.num_parts, max(len(DataDir(path).utt2spk) for path in args.data_dirs))))
    elif args.action == "part":
        check_part(args.data_dirs, args)
    else:
        report(args.data_dirs, args.num_parts, args.find_duplicates == "true")
        done_mark(args).write([work_dir(args.data_dirs) / "table"])


if __name__ == "__main__":
    run_step(main)
