"""Arrays of a data dir's utterances, made in parts by several jobs: what is to do, what is done, one scp at the end.

    ark_dir/fbank.3.{ark,scp,utt2dur,...}, .done.fbank.3     part 3: successive utterances of the data dir
    data_dir/{feats.scp,utt2dur,...}, .done.fbank            when all parts are whole, in the order of the data dir

A part counts as done while its mark fits the settings, its utterances with what `wav.scp` and `segments` say of them,
and the sizes of its files. Killed at any moment and started again, only the other parts are made.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, log
from sv.io import ArkWriter, DataDir, atomic_write, part_rows
from sv.jobs import DoneMark, claim_folder
from sv.jobs.disk import check_free

Compute = Callable[[str], tuple[NDArray[np.float32], tuple[object, ...]]]

_MAX_FAILURES = 1000  # after so many, something is wrong with the corpus, and not with some of its files
_TELL_SECONDS = 60.0


@dataclass(frozen=True)
class FeatureParts:
    """Arrays of one data dir, one for each utterance.

    Attributes:
        data_dir: with wav.scp, and segments if there are.
        ark_dir: absolute, for this data dir alone; the scp names its archives.
        name: of the archives: "fbank", "vad".
        settings: all that decides the arrays, as plain JSON values.
        scp: name of the scp in the data dir: "feats.scp".
        tables: names of further tables, a line for each utterance, in the data dir: "utt2dur".
    """

    data_dir: Path
    ark_dir: Path
    name: str
    settings: Mapping[str, Any]
    scp: str
    tables: tuple[str, ...] = ()

    @cached_property
    def num_utts(self) -> int:
        """Raises UserError if there is none."""
        data = DataDir(self.data_dir)
        if not (count := data.count_utts()):
            raise UserError(f"{data.audio_list} is empty; make it again")
        return count

    def rows(self, part: int, num_parts: int) -> range:
        """Which utterances are a part's, 1 to num_parts."""
        return part_rows(self.num_utts, part, num_parts)

    def data(self, part: int, num_parts: int) -> DataDir:
        """The data dir, of whose utterances only a part's are read."""
        return DataDir(self.data_dir, rows=self.rows(part, num_parts))

    def file(self, part: int, kind: str) -> Path:
        """A part's file: kind "ark", "scp", or the name of a table."""
        return self.ark_dir / f"{self.name}.{part}.{kind}"

    def files(self, part: int) -> list[Path]:
        return [self.file(part, kind) for kind in ("ark", "scp", *self.tables)]

    def part_mark(self, part: int, num_parts: int) -> DoneMark:
        return DoneMark(self.ark_dir / f".done.{self.name}.{part}", self._options(self.rows(part, num_parts)))

    def mark(self) -> DoneMark:
        options = self._options(range(self.num_utts)) | {"ark_dir": str(self.ark_dir)}
        return DoneMark(self.data_dir / f".done.{self.name}", options)

    def _options(self, rows: range) -> dict[str, Any]:
        digest = hashlib.sha256()
        for utt, spec in DataDir(self.data_dir, rows=rows).iter_audio():
            digest.update(f"{utt} {spec}\n".encode())
        return {"settings": dict(self.settings), "first": rows.start, "utts": len(rows), "sha256": digest.hexdigest()}

    def begin(self, num_parts: int, needed_bytes: float = 0.0, *, verify: bool = False) -> None:
        """Clear away what is out of date, that no reader meets old tables beside new archives.

        Args:
            needed_bytes: size of the archives of all parts, about.
            verify: also what is damaged, by the checksums.

        Raises:
            UserError: the ark folder holds the archives of another data dir, or its disk has not room for the parts
                that are missing; nothing has been cleared away then.
        """
        claim_folder(self.ark_dir, f"{self.name} archives", f".owner.{self.name}", self.mark().path)
        missing = self._missing(num_parts, verify=verify)
        check_free({self.ark_dir: self._growth(needed_bytes, missing, num_parts)})
        if missing:
            self._set_aside()
        for path in self._out_of_date(missing, num_parts):
            path.unlink()

    def bytes_to_come(self, num_parts: int, needed_bytes: float) -> float:
        """By how much the ark folder would grow, about; 0 if all is done.

        Args: as of `begin`, but that more parts than utterances are as many.
        """
        if not self.mark().stale():
            return 0.0
        num_parts = min(num_parts, self.num_utts)
        return self._growth(needed_bytes, self._missing(num_parts), num_parts)

    def _missing(self, num_parts: int, *, verify: bool = False) -> list[int]:
        return [part for part in range(1, num_parts + 1) if self.part_mark(part, num_parts).stale(verify=verify)]

    def _growth(self, needed_bytes: float, missing: Sequence[int], num_parts: int) -> float:
        freed = sum(path.stat().st_size for path in self._out_of_date(missing, num_parts))
        return needed_bytes * len(missing) / num_parts - freed

    def _out_of_date(self, missing: Sequence[int], num_parts: int) -> list[Path]:
        """Files in the ark folder, of parts that are missing or no longer wanted, or left by a job that was killed."""
        ours = re.compile(rf"\.{{0,2}}(?:done\.)?{re.escape(self.name)}\.(\d+)(\..+)?")
        found = []
        for path in self.ark_dir.glob("*"):  # not there yet: none
            match = ours.fullmatch(path.name)
            if match and (int(match[1]) in missing or int(match[1]) > num_parts or path.name.endswith(".tmp")):
                found.append(path)
        return found

    def _set_aside(self) -> None:
        """Remove our tables from the data dir; an scp that we did not make goes to .backup, as with Kaldi."""
        scp, mark = self.data_dir / self.scp, self.mark().path
        if scp.exists() and not mark.exists():
            backup = self.data_dir / ".backup" / self.scp
            backup.parent.mkdir(exist_ok=True)
            scp.replace(backup)
            log.warning("%s was there already; it is now %s", scp, backup)
        elif mark.exists():
            for name in (self.scp, *self.tables):
                (self.data_dir / name).unlink(missing_ok=True)
        mark.unlink(missing_ok=True)

    def make(self, part: int, num_parts: int, compute: Compute, *, compress: bool) -> None:
        """Write one part: all its files, and its mark last.

        All utterances are tried before a bad one ends the job, so that the log names all of them.

        Args:
            compute: from an utterance its array, and what the tables hold of it.
            compress: two bytes a value, for matrices.

        Raises:
            UserError: of the first bad utterance.
        """
        utts, failures = self.data(part, num_parts).utts, list[str]()
        tables: dict[str, list[str]] = {table: [] for table in self.tables}
        begun = told = time.monotonic()
        with ArkWriter(self.file(part, "ark"), self.file(part, "scp"), compress=compress) as writer:
            for number, utt in enumerate(utts, start=1):
                try:
                    array, values = compute(utt)
                    writer.write(utt, array)
                except UserError as error:
                    if failures:  # the first one ends the job, below
                        log.error("%s", error)
                    failures.append(str(error))
                    if len(failures) == _MAX_FAILURES:
                        break
                    continue
                for table, value in zip(self.tables, values, strict=True):
                    tables[table].append(f"{utt} {value}\n")
                if time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    log.info("%d of %d utterances", number, len(utts))
            if failures:
                count = f"{len(failures)} of {len(utts)} utterances failed, the others stand above; the first: "
                raise UserError((count if len(failures) > 1 else "") + failures[0])
        for table, lines in tables.items():
            with atomic_write(self.file(part, table)) as f:
                f.writelines(lines)
        self.part_mark(part, num_parts).write(self.files(part), {self.file(part, "ark"): writer.sha256})
        log.info("%d utterances in %.0f s", len(utts), time.monotonic() - begun)

    def join(self, num_parts: int, more: Iterable[Path] = ()) -> None:
        """Write the data dir's tables out of those of the parts, the scp last, and the mark.

        Args:
            more: further files in the data dir that belong to the result.

        Raises:
            UserError: a part that is not whole, or has not a line for each of its utterances.
        """
        for part in range(1, num_parts + 1):
            if why := self.part_mark(part, num_parts).stale():
                raise UserError(f"part {part} of {num_parts} of {self.ark_dir}: {why}; run the same command again")
        for kind in (*self.tables, "scp"):
            with atomic_write(self.data_dir / (self.scp if kind == "scp" else kind)) as f:
                for part in range(1, num_parts + 1):
                    f.writelines(self._read_lines(part, num_parts, kind))
        checksums = {self.file(part, "ark"): self._checksum(part) for part in range(1, num_parts + 1)}
        tables = [self.data_dir / name for name in (self.scp, *self.tables)]
        self.mark().write([*tables, *more, *checksums], checksums)

    def _read_lines(self, part: int, num_parts: int, kind: str) -> list[str]:
        path = self.file(part, kind)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        utts = self.data(part, num_parts).utts
        if [line.partition(" ")[0] for line in lines] != utts:
            raise UserError(
                f"{path}: {len(lines)} lines are not those of the {len(utts)} utterances of part "
                f"{part} of {num_parts}; remove it and run the same command again"
            )
        return lines

    def _checksum(self, part: int) -> str:
        """The archive's SHA-256, which was computed while it was written."""
        mark = json.loads((self.ark_dir / f".done.{self.name}.{part}").read_text())
        return str(mark["outputs"][self.file(part, "ark").name]["sha256"])
