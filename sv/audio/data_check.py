"""Check of the audio of data dirs by several jobs, which decode every file completely.

    check_data/part.3, .done.part.3     while it runs: a line for each utterance of part 3 of each data dir
    check_data/table, .done             when all parts are whole: hours, speakers, utterances; without faults, the mark
    check_data/faults                   a line for each fault: the utterance, what is wrong and what to do

check_data is in the first data dir, but each data dir has its own faults, which tools/fix_data_dir.sh --leave-out
takes. A line of a part is a `Checked`, its fields separated by tabs.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, NoReturn

from sv.audio.utterances import Utterances
from sv.errors import UserError, log
from sv.io import DataDir, atomic_write, original_speakers, part_rows, read_table, sha256_of
from sv.io.progress import Tally
from sv.jobs import DoneMark
from sv.jobs.parts import Outputs, Parts

_MAX_SHOWN = 10  # faults that are printed; a file lists all


class Checked(NamedTuple):
    """Result of the check of one utterance; `fault` is what is wrong and what to do, or ""."""

    data: str
    utt: str
    seconds: str
    checksum: str
    fault: str


class Fault(NamedTuple):
    """A fault of a data dir; `utt` is "-" if it is of no single utterance."""

    data: str
    utt: str
    text: str

    def __str__(self) -> str:
        return ": ".join((self.data, self.text) if self.utt == "-" else self)


@dataclass(frozen=True, kw_only=True)
class DataCheck(Parts):
    """A check of data dirs.

    Attributes:
        data_dirs: the training data first.
        sample_rate: Hz, of all files.
        min_duration_s: a shorter utterance is a fault.
        find_duplicates: also compare the samples of all utterances.
        allow_pipes: run the commands in wav.scp.
        once: skip the check while tables and options are those of a check without faults.
    """

    data_dirs: tuple[Path, ...]
    sample_rate: int = 16000
    min_duration_s: float = 0.025
    find_duplicates: bool = False
    allow_pipes: bool = False
    once: bool = False

    @property
    def folder(self) -> Path:
        return self.data_dirs[0] / "check_data"

    @property
    def file_names(self) -> str:
        return r"\.{0,2}(done\.)?part\.\d+(\..+)?"

    @property
    def result(self) -> Path:
        """The table of hours, speakers and utterances."""
        return self.folder / "table"

    @cached_property
    def num_parts(self) -> int:
        return max(1, min(self.num_jobs, max(len(DataDir(path).utt2spk) for path in self.data_dirs)))

    @cached_property
    def _tables_sha256(self) -> list[str]:
        """Checksums of the tables that list the utterances."""
        return [sha256_of(path) for path in self._lists if path.is_file()]

    @property
    def _lists(self) -> tuple[Path, ...]:
        return tuple(path / name for path in self.data_dirs for name in ("wav.scp", "segments", "utt2spk"))

    def num_items(self, part: int) -> int:
        return sum(len(part_rows(len(DataDir(path).utt2spk), part, self.num_parts)) for path in self.data_dirs)

    def part_mark(self, part: int) -> DoneMark:
        options = {"sample_rate": self.sample_rate, "min_duration": self.min_duration_s, "tables": self._tables_sha256}
        return DoneMark(self.folder / f".done.part.{part}", {**options, "num_parts": self.num_parts})

    def mark(self) -> DoneMark:
        """Return the mark of a check without faults, which holds its options and tables."""
        options = {
            "sample_rate": self.sample_rate,
            "min_duration": self.min_duration_s,
            "find_duplicates": str(self.find_duplicates).lower(),
        }
        return DoneMark(self.folder / ".done", options, self._lists)

    def stale(self, *, verify: bool = False) -> str:
        return self.mark().stale(verify=verify) if self.once else "to be checked"

    def check(self) -> None:
        for _ in self.table_faults():  # raises if a table cannot be read
            pass

    def withdraw(self) -> None:
        for path in (self.folder / ".done", self.result, *map(faults_of, self.data_dirs)):
            path.unlink(missing_ok=True)

    def make(self, part: int) -> Outputs:
        path = self.folder / f"part.{part}"
        with atomic_write(path) as f:
            tally = Tally(self.num_items(part))
            for data_dir in self.data_dirs:
                data = DataDir(data_dir).part(part, self.num_parts)
                for checked in self._check_utts(data):
                    f.write("\t".join(checked) + "\n")
                    tally.add()
        return {path: ""}

    def _check_utts(self, data: DataDir) -> Iterator[Checked]:
        """Decode utterances to their end."""
        audio = Utterances(data, self.sample_rate, self.allow_pipes)
        for utt in audio.ids:
            seconds, checksum, fault = 0.0, "", ""
            try:
                waveform = audio.read(utt)
                seconds = len(waveform) / self.sample_rate
                checksum = hashlib.sha1(waveform.tobytes(), usedforsecurity=False).hexdigest()
                if seconds < self.min_duration_s:
                    fault = f"{seconds:.3f} s, shorter than {self.min_duration_s} s; leave it out"
                elif not waveform.any():
                    fault = "digital silence; leave it out"
            except UserError as error:
                fault = " ".join(str(error).removeprefix(f"{utt}: ").split())
            yield Checked(str(data.path), utt, f"{seconds:.4f}", checksum, fault)

    def join(self) -> None:
        """Write the table and the faults, and remove the parts.

        Raises:
            UserError: there are faults.
        """
        parts = [self.folder / f"part.{part}" for part in range(1, self.num_parts + 1)]
        checked = [Checked(*line.split("\t")) for path in parts for line in path.read_text().splitlines()]
        with atomic_write(self.result) as f:
            f.writelines(f"{line}\n" for line in table_lines(self.data_dirs, checked))
        faults = [*self.table_faults(), *(Fault(one.data, one.utt, one.fault) for one in checked if one.fault)]
        if self.find_duplicates:
            faults += duplicates(checked)
        if not faults:
            self.mark().write([self.result])
            log.info("%s: %d utterances, no fault", self.result, len(checked))
        for path in parts:
            path.with_name(f".done.{path.name}").unlink()
            path.unlink()
        if faults:
            self._report(faults)

    def _report(self, faults: list[Fault]) -> NoReturn:
        """Write the faults of each data dir, and print the first of them."""
        remedies = []
        for data_dir in self.data_dirs:
            if ours := [fault for fault in faults if fault.data == str(DataDir(data_dir).path)]:
                with atomic_write(faults_of(data_dir)) as f:
                    f.writelines(f"{fault.utt} {fault.text}\n" for fault in ours)
                if any(fault.utt != "-" for fault in ours):
                    remedies.append(f"tools/fix_data_dir.sh --leave-out {faults_of(data_dir)} {data_dir}")
        for fault in faults[:_MAX_SHOWN]:
            log.error("%s", fault)
        leave_out = f", or leave those utterances out: {'; '.join(remedies)}" if remedies else ""
        raise UserError(f"{len(faults)} faults in the data, the first: {faults[0]}. Mend them{leave_out}")

    def table_faults(self) -> Iterator[Fault]:
        """Yield the faults of the tables, which need no audio.

        Raises:
            UserError: a table is missing, or has an id twice.
        """
        sets = [DataDir(path) for path in self.data_dirs]
        for data in sets:
            utts = data.segments or data.wav_scp
            for utt in sorted(utts.keys() ^ data.utt2spk.keys()):
                where = data.path / "utt2spk" if utt in utts else data.audio_list
                yield Fault(str(data.path), utt, f"missing in {where}; run tools/fix_data_dir.sh {data.path}")
            yield from shared_recordings(data)
            yield from mistaken_copies(data)
        train = set(sets[0].spk2utt)
        for data in sets[1:]:
            for spk in sorted(train & set(data.spk2utt)):
                where = sets[0].path
                yield Fault(str(data.path), "-", f"speaker {spk} is in {where}, too; take it out of one of them")


def faults_of(data_dir: Path) -> Path:
    """Return the path of the faults of a data dir."""
    return data_dir / "check_data" / "faults"


def shared_recordings(data: DataDir) -> Iterator[Fault]:
    """Yield a fault for each utterance whose audio is that of another speaker's utterance as well."""
    of_audio: dict[str, list[str]] = {}
    for utt, audio in data.iter_audio():
        of_audio.setdefault(audio, []).append(utt)
    for utts in of_audio.values():
        for utt in utts if len(utts) > 1 else ():
            spk = data.utt2spk.get(utt)
            if other := next((one for one in utts if data.utt2spk.get(one) not in (None, spk)), ""):
                what = f"the same audio as {other} of {data.utt2spk[other]}, but of {spk}"
                yield Fault(str(data.path), utt, f"{what}; keep the right one, or give segments of each")


def mistaken_copies(data: DataDir) -> Iterator[Fault]:
    """Yield a fault for each speaker whom training would take for a speed copy, but who is none by utt2uniq."""
    uniq = data.path / "utt2uniq"
    copied = read_table(uniq) if uniq.is_file() else {}
    for spk, original in original_speakers(data.spk2utt).items():
        if spk != original and any(copied.get(utt, utt) == utt for utt in data.spk2utt[spk]):
            text = f"speaker {spk} would be taken for a speed copy of {original}; rename it"
            yield Fault(str(data.path), "-", f"{text}, or give utt2uniq (tools/perturb_data_dir_speed.sh)")


def duplicates(checked: list[Checked]) -> Iterator[Fault]:
    """Yield a fault for each utterance with the same samples as an earlier one."""
    first: dict[str, Checked] = {}
    for one in checked:
        if one.checksum:
            same = first.setdefault(one.checksum, one)
            if same is not one:
                yield Fault(one.data, one.utt, f"the same samples as {same.utt} of {same.data}; leave one out")


def table_lines(data_dirs: tuple[Path, ...], checked: list[Checked]) -> Iterator[str]:
    """Yield the lines of a Markdown table with a row for each data dir."""
    yield "| set | speakers | utterances | hours | shortest (s) | longest (s) |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for path in data_dirs:
        seconds = [float(one.seconds) for one in checked if one.data == str(path) and one.checksum] or [0.0]
        data = DataDir(path)
        yield (
            f"| {path.name} | {len(data.spk2utt)} | {len(data.utt2spk)} | {sum(seconds) / 3600:.2f}"
            f" | {min(seconds):.2f} | {max(seconds):.2f} |"
        )
