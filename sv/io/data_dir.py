"""Kaldi's data dir: a folder of tables of the same utterances."""

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from sv.errors import UserError, counted, log
from sv.io.tables import has_table, iter_table, read_scp, read_table, write_table


class DataDir:
    """A Kaldi data directory. Each table is read and checked when it is first asked for.

    Args:
        path: path of the directory.
        remedy: what makes it, for the error if it is missing.
        rows: the utterances that `wav_scp`, `segments` and `utts` hold; no others take memory. None: all.
    """

    def __init__(
        self, path: str | Path, remedy: str = "prepare it first (stage 1)", *, rows: range | None = None
    ) -> None:
        self.path, self.rows = Path(path), rows
        if not self.path.is_dir():
            raise UserError(f"{self.path} is not a data directory; {remedy}")

    @staticmethod
    def write(path: str | Path, tables: Mapping[str, Mapping[str, object]]) -> None:
        """Write sorted tables, each whole or not at all; a table that has not changed is left alone.

        Args:
            path: path of the directory; it is made if it is missing.
            tables: by file name, from key to value. "utt2spk" also writes spk2utt, and first moves tables of other
                utterances, such as feats.scp, to .backup; "wav.scp" without "segments" removes
                segments of an earlier wav.scp. If wav.scp or segments change, utt2dur and reco2dur are removed.
        """
        path = Path(path)
        if "utt2spk" in tables and path.is_dir():
            _move_stale(path, tables)
        if "wav.scp" in tables or "segments" in tables:
            _remove_durations(path, tables)
        if "wav.scp" in tables and "segments" not in tables:
            (path / "segments").unlink(missing_ok=True)
        for name, table in tables.items():
            write_table(path / name, table)
        if "utt2spk" in tables:
            spk2utt = _by_speaker(tables["utt2spk"])
            write_table(path / "spk2utt", ((spk, " ".join(utts)) for spk, utts in spk2utt.items()))

    def require(self, name: str, remedy: str) -> Path:
        """Return the path of the file `name`, which must exist.

        Args:
            name: "feats.scp", say.
            remedy: what makes it: "make it with steps/make_fbank.sh (stage 2)".
        """
        path = self.path / name
        if not path.is_file():
            raise UserError(f"{path} does not exist; {remedy}")
        return path

    def _table(self, name: str, remedy: str) -> dict[str, str]:
        return read_table(self.require(name, remedy), mend_twice=self._fix)

    @property
    def _fix(self) -> str:
        return f"run tools/fix_data_dir.sh {self.path}"

    @property
    def audio_list(self) -> Path:
        """Path of the file with a line for each utterance: `segments`, or else `wav.scp`."""
        segments = self.path / "segments"
        return segments if segments.exists() else self.require("wav.scp", "prepare the data (stage 1)")

    def count_utts(self) -> int:
        """Count the utterances of the whole directory, without holding them."""
        with open(self.audio_list, "rb") as f:
            return sum(1 for _ in f)

    def part(self, part: int, num_parts: int) -> "DataDir":
        """Return an equal share of the utterances, successive ones; part 1 to num_parts."""
        return DataDir(self.path, rows=part_rows(self.count_utts(), part, num_parts))

    def iter_audio(self) -> Iterator[tuple[str, str]]:
        """Yield each utterance with its line of `wav.scp`, and its times if there is `segments`.

        Without `segments`, `wav.scp` is not held.
        """
        if self.audio_list.name == "wav.scp":
            yield from ((utt, spec) for _, utt, spec in iter_table(self.audio_list, self.rows))
        for utt, (recording, start, end) in self.segments.items():
            yield utt, f"{self.wav_scp.get(recording, '')} {start} {end}"

    @cached_property
    def utts(self) -> list[str]:
        """Utterances in the order of `segments`, or else of `wav.scp`."""
        return list(self.segments or self.wav_scp)

    @cached_property
    def wav_scp(self) -> dict[str, str]:
        """Recording (or utterance) -> file, or `command |`."""
        path = self.require("wav.scp", "prepare the data (stage 1)")
        if self.rows is None or not self.segments:
            return read_table(path, self.rows, mend_twice=self._fix)
        wanted = {recording for recording, _, _ in self.segments.values()}
        return {recording: spec for _, recording, spec in iter_table(path) if recording in wanted}

    @cached_property
    def utt2spk(self) -> dict[str, str]:
        """Utterance -> speaker."""
        return self._table("utt2spk", "prepare the data (stage 1)")

    @cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker -> utterances, made from utt2spk; all sorted."""
        return _by_speaker(self.utt2spk)

    @cached_property
    def feats_scp(self) -> dict[str, str]:
        """Utterance -> "ark:offset", the path from the working folder."""
        path = self.require("feats.scp", "make it with steps/make_fbank.sh (stage 2)")
        return read_scp(path, mend_twice=self._fix)

    @cached_property
    def utt2num_frames(self) -> dict[str, int]:
        """Utterance -> frames of its features."""
        table = self._table("utt2num_frames", f"make it with tools/get_utt2num_frames.sh {self.path}")
        return {utt: int(_number(int, value, self.path / "utt2num_frames", utt)) for utt, value in table.items()}

    @cached_property
    def utt2dur(self) -> dict[str, float]:
        """Utterance -> seconds."""
        table = self._table("utt2dur", "make it with tools/get_utt2dur.sh")
        return {utt: _number(float, value, self.path / "utt2dur", utt) for utt, value in table.items()}

    def total_duration(self) -> float:
        """Add up the seconds of all utterances in utt2dur, without holding it."""
        path = self.require("utt2dur", "make it with tools/get_utt2dur.sh")
        return sum(_number(float, value, path, utt) for _, utt, value in iter_table(path))

    @cached_property
    def segments(self) -> dict[str, tuple[str, float, float]]:
        """Utterance -> (recording, start, end in seconds); empty if the directory has no `segments`."""
        path = self.path / "segments"
        if not path.exists():
            return {}
        return {
            utt: _segment(value, path, utt) for utt, value in read_table(path, self.rows, mend_twice=self._fix).items()
        }


def part_rows(count: int, part: int, num_parts: int) -> range:
    """Return the rows, of `count`, that belong to a part, 1 to num_parts; equal shares of successive rows."""
    return range(count * (part - 1) // num_parts, count * part // num_parts)


def _by_speaker(utt2spk: Mapping[str, object]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for utt in sorted(utt2spk, key=str.encode):
        groups.setdefault(str(utt2spk[utt]), []).append(utt)
    return dict(sorted(groups.items(), key=lambda pair: pair[0].encode()))


def _move_stale(path: Path, tables: Mapping[str, Mapping[str, object]]) -> None:
    """Move tables that have other utterances than utt2spk, and are not written themselves, to .backup."""
    utts = {utt.encode() for utt in tables["utt2spk"]}
    moved = []
    for file in sorted({*path.glob("utt2*"), *(path / name for name in ("feats.scp", "vad.scp", "text"))}):
        if file.name in tables or not file.is_file():
            continue
        with open(file, "rb") as f:
            keys = {line.split(None, 1)[0] for line in f if line.strip()}
        if keys != utts:
            (path / ".backup").mkdir(exist_ok=True)
            file.replace(path / ".backup" / file.name)
            moved.append(file.name)
    if moved:
        names = ", ".join(moved)
        log.warning("%s has other utterances now: %s moved to .backup; stage 2 makes features anew", path, names)


def _remove_durations(path: Path, tables: Mapping[str, Mapping[str, object]]) -> None:
    """Remove durations that are not written themselves, if those of other audio or segments are written."""
    same = all(has_table(path / name, tables[name]) for name in ("wav.scp", "segments") if name in tables)
    if same and ("segments" in tables or not (path / "segments").exists()):
        return
    for name in ("utt2dur", "reco2dur"):
        if name not in tables:
            (path / name).unlink(missing_ok=True)


def _number(kind: type[int] | type[float], value: str, path: Path, key: str) -> float | int:
    try:
        number = kind(value)
    except ValueError:
        number = -1
    if not 0 <= number < math.inf:
        raise UserError(f"{path}: {key} has {value[:80]!r}, not a number from 0 on; make the file again")
    return number


def _segment(value: str, path: Path, utt: str) -> tuple[str, float, float]:
    fields = value.split()
    if len(fields) != 3:
        raise UserError(
            f"{path}: {utt}: expected 'utt recording start end', found {counted(len(fields) + 1, 'column')}"
        )
    start, end = _number(float, fields[1], path, utt), _number(float, fields[2], path, utt)
    if not 0 <= start < end:
        raise UserError(f"{path}: {utt}: start {start} and end {end}; they must satisfy 0 <= start < end")
    return fields[0], start, end
