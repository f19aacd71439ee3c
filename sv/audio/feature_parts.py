"""Arrays of a data dir's utterances, made in parts by several jobs.

    ark_dir/fbank.3.{ark,scp,utt2dur,...}, .done.fbank.3     part 3: successive utterances of the data dir
    data_dir/{feats.scp,utt2dur,...}, .done.fbank            when all parts are whole, in the order of the data dir

The marks hold the settings, and a checksum of the utterances with their values in `wav.scp` and `segments`.
"""

import hashlib
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, log
from sv.io import ArkWriter, DataDir, atomic_write, part_rows, path_from, written_path
from sv.jobs import DoneMark, claim_folder
from sv.jobs.parts import Outputs, Parts, try_all

Compute = Callable[[str], tuple[NDArray[np.float32], tuple[object, ...]]]


@dataclass(frozen=True, kw_only=True)
class FeatureParts(Parts):
    """Arrays of one data dir, one for each utterance.

    Attributes:
        data_dir: with wav.scp, and segments if it has some.
        ark_dir: for this data dir alone; the scp names its archives.
        allow_pipes: run the commands in wav.scp.
        name: name of the archives: "fbank".
        scp: name of the scp in the data dir: "feats.scp".
        extra: names of further files in the data dir that belong to the result.
    """

    data_dir: Path
    ark_dir: Path
    allow_pipes: bool = False
    name: ClassVar[str]
    scp: ClassVar[str]
    extra: ClassVar[tuple[str, ...]] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of further tables in the data dir, a line for each utterance: "utt2dur"."""
        return ()

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that determines the arrays, as plain JSON values."""

    @property
    def folder(self) -> Path:
        return self.ark_dir.absolute()

    @property
    def result(self) -> Path:
        return self.data_dir / self.scp

    @cached_property
    def num_utts(self) -> int:
        """Number of utterances; raises UserError if there are none."""
        data = DataDir(self.data_dir)
        if not (count := data.count_utts()):
            raise UserError(f"{data.audio_list} is empty; make it again")
        return count

    @property
    def num_parts(self) -> int:
        return min(self.num_jobs, self.num_utts)

    @property
    def file_names(self) -> str:
        return rf"\.{{0,2}}(done\.)?{self.name}\.\d+(\..+)?"

    def rows(self, part: int) -> range:
        """Return the rows of a part's utterances in the data dir."""
        return part_rows(self.num_utts, part, self.num_parts)

    def data(self, part: int) -> DataDir:
        """Return the data dir with only the utterances of a part."""
        return DataDir(self.data_dir, rows=self.rows(part))

    def num_items(self, part: int) -> int:
        return len(self.rows(part))

    def file(self, part: int, kind: str) -> Path:
        """Return a part's file: kind "ark", "scp", or the name of a table."""
        return self.folder / f"{self.name}.{part}.{kind}"

    def part_mark(self, part: int) -> DoneMark:
        return DoneMark(self.folder / f".done.{self.name}.{part}", self._options(self.rows(part)))

    def mark(self) -> DoneMark:
        """Return the mark of the whole, in the data dir."""
        options = self._options(range(self.num_utts)) | {"ark_dir": path_from(self.folder, self.data_dir)}
        return DoneMark(self.data_dir / f".done.{self.name}", options)

    def stale(self, *, verify: bool = False) -> str:
        return self.mark().stale(verify=verify)

    def _options(self, rows: range) -> dict[str, Any]:
        digest = hashlib.sha256()
        for utt, spec in DataDir(self.data_dir, rows=rows).iter_audio():
            digest.update(f"{utt} {spec}\n".encode())
        return {"settings": self.settings, "first": rows.start, "utts": len(rows), "sha256": digest.hexdigest()}

    def check(self) -> None:
        mark = self.data_dir / f".done.{self.name}"
        claim_folder(self.folder, f"{self.name} archives", f".owner.{self.name}", mark)

    def withdraw(self) -> None:
        """Remove our tables from the data dir; an scp that we did not make moves to .backup, as in Kaldi."""
        scp, mark = self.data_dir / self.scp, self.data_dir / f".done.{self.name}"
        if scp.exists() and not mark.exists():
            backup = self.data_dir / ".backup" / self.scp
            backup.parent.mkdir(exist_ok=True)
            scp.replace(backup)
            log.warning("%s was there already; it is now %s", scp, backup)
        elif mark.exists():
            for name in (self.scp, *self.tables):
                (self.data_dir / name).unlink(missing_ok=True)
        mark.unlink(missing_ok=True)

    def write(self, part: int, compute: Compute) -> Outputs:
        """Write the files of one part.

        Args:
            part: number of the part.
            compute: returns an utterance's array and its values in the tables. Matrices take two bytes a value.

        Raises:
            UserError: see `try_all`.
        """
        begun, utts = time.monotonic(), self.data(part).utts
        with ArkWriter(self.file(part, "ark"), self.file(part, "scp"), compress=True) as writer:

            def add(utt: str) -> tuple[object, ...]:
                array, values = compute(utt)
                writer.write(utt, array)
                return values

            lines = list(try_all(utts, add))
        for table, column in zip(self.tables, zip(*lines, strict=True), strict=True):
            with atomic_write(self.file(part, table)) as f:
                f.writelines(f"{utt} {value}\n" for utt, value in zip(utts, column, strict=True))
        log.info("%d utterances in %.0f s", len(utts), time.monotonic() - begun)
        files = [self.file(part, kind) for kind in ("ark", "scp", *self.tables)]
        return dict.fromkeys(files, "") | {self.file(part, "ark"): writer.sha256}

    def join(self) -> None:
        """Join the tables of the parts in the data dir, the scp last, and write the mark.

        Raises:
            UserError: a part lacks the line of an utterance.
        """
        parts = range(1, self.num_parts + 1)
        for kind in (*self.tables, "scp"):
            with atomic_write(self.data_dir / (self.scp if kind == "scp" else kind)) as f:
                for part in parts:
                    f.writelines(self._read_lines(part, kind))
        arks = {ark: self.part_mark(part).outputs()[ark] for part in parts for ark in [self.file(part, "ark")]}
        tables = [self.data_dir / name for name in (self.scp, *self.tables, *self.extra)]
        self.mark().write([*tables, *arks], arks)

    def _read_lines(self, part: int, kind: str) -> list[str]:
        path = self.file(part, kind)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        utts = self.data(part).utts
        if [line.partition(" ")[0] for line in lines] != utts:
            raise UserError(
                f"{path}: {len(lines)} lines are not those of the {len(utts)} utterances of part "
                f"{part} of {self.num_parts}; remove it and run the same command again"
            )
        if kind != "scp":
            return lines
        ark = written_path(self.file(part, "ark"), self.data_dir)
        return [f"{utt} {ark}:{line.rpartition(':')[2]}" for utt, line in zip(utts, lines, strict=True)]
