"""Check of the audio of data dirs by several jobs, which decode every file completely.

    check_data/part.3, .done.part.3     while it runs: a line for each utterance of part 3 of each data dir
    check_data/{table,faults}, .done    when all parts are whole: hours, speakers, utterances; the faults, else the mark

check_data is in the first data dir. A line of a part is a `Checked`, its fields separated by tabs.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from sv.audio.files import Utterances
from sv.errors import UserError, log
from sv.io import DataDir, atomic_write, sha256_of
from sv.jobs import DoneMark
from sv.jobs.parts import Outputs, Parts

_MAX_SHOWN = 10  # faults that are printed; a file lists all


class Checked(NamedTuple):
    """Result of the check of one utterance; `fault` is "" if it has none."""

    data: str
    utt: str
    seconds: str
    checksum: str
    fault: str


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
        for name in (".done", "table", "faults"):
            (self.folder / name).unlink(missing_ok=True)

    def make(self, part: int) -> Outputs:
        path = self.folder / f"part.{part}"
        with atomic_write(path) as f:
            for data_dir in self.data_dirs:
                data = DataDir(data_dir).part(part, self.num_parts)
                f.writelines("\t".join(checked) + "\n" for checked in self._check_utts(data))
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
                    why = f"{seconds:.3f} s, shorter than {self.min_duration_s} s"
                    fault = f"{utt}: {why}; leave it out (tools/fix_data_dir.sh)"
                elif not waveform.any():
                    fault = f"{utt}: digital silence; leave it out"
            except UserError as error:
                fault = " ".join(str(error).split())
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
        faults = [*self.table_faults(), *(f"{one.data}: {one.fault}" for one in checked if one.fault)]
        if self.find_duplicates:
            faults += duplicates(checked)
        if faults:
            with atomic_write(self.folder / "faults") as f:
                f.writelines(f"{fault}\n" for fault in faults)
        else:
            self.mark().write([self.result])
        for path in parts:
            path.with_name(f".done.{path.name}").unlink()
            path.unlink()
        for fault in faults[:_MAX_SHOWN]:
            log.error("%s", fault)
        if faults:
            where = self.folder / "faults"
            raise UserError(f"{len(faults)} faults in the data, all of them in {where}; the first: {faults[0]}")

    def table_faults(self) -> Iterator[str]:
        """Yield the faults of the tables, which need no audio.

        Raises:
            UserError: a table is missing, or has an id twice.
        """
        sets = [DataDir(path) for path in self.data_dirs]
        for data in sets:
            utts = data.segments or data.wav_scp
            for utt in sorted(utts.keys() ^ data.utt2spk.keys()):
                where = data.path / "utt2spk" if utt in utts else data.audio_list
                yield f"{where}: {utt} is missing; run tools/fix_data_dir.sh {data.path}"
        train = set(sets[0].spk2utt)
        for data in sets[1:]:
            for spk in sorted(train & set(data.spk2utt)):
                yield f"{data.path}: speaker {spk} is in {sets[0].path}, too; take it out of one of them"


def duplicates(checked: list[Checked]) -> Iterator[str]:
    """Yield a line for each utterance with the same samples as an earlier one."""
    first: dict[str, Checked] = {}
    for one in checked:
        if one.checksum:
            same = first.setdefault(one.checksum, one)
            if same is not one:
                yield f"{one.data}: {one.utt} has the same samples as {same.utt} of {same.data}; leave one out"


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
