"""Kaldi's text tables: `key value` lines sorted by the bytes of the key (LC_ALL=C), and the data dir made of them."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import count, islice
from pathlib import Path

from sv.errors import UserError
from sv.io.atomic import atomic_write

FORBIDDEN_IN_IDS = set("'\"`;|<>&$\\*?(){}[]!")
_SPEED_COPY = re.compile(r"sp\d+(\.\d+)?-")


def check_id(name: str, where: str) -> str:
    """`name` if it can serve as an utterance or speaker id; ids become parts of paths and of command lines.

    Raises:
        UserError: empty, over 1,000 characters, a blank or control character, a shell character, `.` or `..` as a part,
            or `/` to begin with.
    """
    bad = next((c for c in name if c in FORBIDDEN_IN_IDS or c.isspace() or not c.isprintable()), None)
    if bad is not None:
        raise UserError(f"{where}: id {name[:80]!r} holds {bad!r}; rename it")
    if not name or len(name) > 1000:
        raise UserError(f"{where}: an id of {len(name)} characters; 1 to 1000 are allowed")
    part = next((part for part in name.split("/") if part in (".", "..")), None)
    if part is not None:
        raise UserError(f"{where}: id {name[:80]!r} holds {part!r}; rename it")
    if name.startswith("/"):
        raise UserError(f"{where}: id {name[:80]!r} begins with '/'; rename it")
    return name


def base_speaker(speaker: str) -> str:
    """The speaker whose speed-perturbed copy this one is: sp0.9-id10001 -> id10001."""
    return _SPEED_COPY.sub("", speaker, count=1) if _SPEED_COPY.match(speaker) else speaker


def iter_table(path: str | Path, rows: range | None = None) -> Iterator[tuple[int, str, str]]:
    """Lines of a table as (line number from 1, key, the rest of the line).

    Args:
        path: the table.
        rows: which lines, from 0; None: all.

    Raises:
        UserError: the file is missing, not UTF-8, or a line has no value.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file with lines 'key value'")
    with open(path, encoding="utf-8", newline="\n") as f:
        try:
            wanted = count() if rows is None else rows
            lines = f if rows is None else islice(f, rows.start, rows.stop, rows.step)
            for row, line in zip(wanted, lines, strict=False):
                number = row + 1
                key, _, value = line.strip().partition(" ")
                if "\t" in key:
                    key, _, value = line.strip().partition("\t")
                if not key or not value.strip():
                    raise UserError(f"{path}:{number}: expected 'key value', found {line.rstrip()[:80]!r}")
                if "\0" in value:
                    raise UserError(f"{path}:{number}: a NUL character; the file is damaged, make it again")
                yield number, key, value.strip()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text ({error.reason}); write it again as UTF-8") from error


def read_table(
    path: str | Path, rows: range | None = None, *, mend_twice: str = "keep one of the two lines"
) -> dict[str, str]:
    """A table, in the order of the file.

    Args:
        path: the table.
        rows: which lines of it, as `iter_table`; None: all.
        mend_twice: what to do about a key that comes twice.

    Raises:
        UserError: as `iter_table`, and for an empty table or a key that comes twice.
    """
    table: dict[str, str] = {}
    for number, key, value in iter_table(path, rows):
        if key in table:
            raise UserError(f"{path}:{number}: {key} comes twice; {mend_twice}")
        table[check_id(key, f"{path}:{number}")] = value
    if not table and (rows is None or rows):
        raise UserError(f"{path} is empty; make it again")
    return table


def write_table(path: str | Path, rows: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """Write `key value` lines, sorted as `LC_ALL=C sort` sorts them; the file appears whole or not at all."""
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    with atomic_write(path) as f:
        f.writelines(f"{key} {value}\n" for key, value in sorted(pairs, key=lambda pair: pair[0].encode()))


class DataDir:
    """A Kaldi data directory; each table is read, and checked, when it is first asked for.

    Args:
        path: of the directory.
        remedy: what makes it, for the error where it is not there.
        rows: which of its utterances `wav_scp`, `segments` and `utts` hold, and no others take memory; None: all.
    """

    def __init__(
        self, path: str | Path, remedy: str = "prepare it first (stage 1)", *, rows: range | None = None
    ) -> None:
        self.path, self.rows = Path(path), rows
        if not self.path.is_dir():
            raise UserError(f"{self.path} is not a data directory; {remedy}")

    def require(self, name: str, remedy: str) -> Path:
        """Path of the file `name`, which must be there.

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
        """The file with a line for each utterance: `segments`, or else `wav.scp`."""
        segments = self.path / "segments"
        return segments if segments.exists() else self.require("wav.scp", "prepare the data (stage 1)")

    def count_utts(self) -> int:
        """Of the whole directory, without holding them."""
        with open(self.audio_list, "rb") as f:
            return sum(1 for _ in f)

    def part(self, part: int, num_parts: int) -> "DataDir":
        """An equal share of its utterances, successive ones; part 1 to num_parts."""
        return DataDir(self.path, rows=part_rows(self.count_utts(), part, num_parts))

    def iter_audio(self) -> Iterator[tuple[str, str]]:
        """(utterance, all that is said of its audio), without holding `wav.scp` where there is no `segments`."""
        if self.audio_list.name == "wav.scp":
            yield from ((utt, spec) for _, utt, spec in iter_table(self.audio_list, self.rows))
        for utt, (recording, start, end) in self.segments.items():
            yield utt, f"{self.wav_scp.get(recording, '')} {start} {end}"

    @cached_property
    def utts(self) -> list[str]:
        """In the order of `segments`, or else of `wav.scp`."""
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
        return self._table("utt2spk", "prepare the data (stage 1)")

    @cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker -> utterances, from utt2spk; the speakers sorted, the utterances in its order."""
        groups: dict[str, list[str]] = {}
        for utt, spk in self.utt2spk.items():
            groups.setdefault(spk, []).append(utt)
        return dict(sorted(groups.items(), key=lambda pair: pair[0].encode()))

    @cached_property
    def feats_scp(self) -> dict[str, str]:
        """Utterance -> "ark:offset"."""
        return self._table("feats.scp", "make it with steps/make_fbank.sh (stage 2)")

    @cached_property
    def utt2num_frames(self) -> dict[str, int]:
        table = self._table("utt2num_frames", "make it with steps/make_fbank.sh (stage 2)")
        return {utt: int(_number(int, value, self.path / "utt2num_frames", utt)) for utt, value in table.items()}

    @cached_property
    def utt2dur(self) -> dict[str, float]:
        """Utterance -> seconds."""
        table = self._table("utt2dur", "make it with tools/get_utt2dur.sh")
        return {utt: _number(float, value, self.path / "utt2dur", utt) for utt, value in table.items()}

    def total_duration(self) -> float:
        """Seconds of all utterances, by utt2dur, without holding it."""
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
    """Which of `count` rows are a part's, 1 to num_parts; equal shares of successive ones."""
    return range(count * (part - 1) // num_parts, count * part // num_parts)


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
        raise UserError(f"{path}: {utt}: expected 'utt recording start end', found {len(fields) + 1} columns")
    start, end = _number(float, fields[1], path, utt), _number(float, fields[2], path, utt)
    if not 0 <= start < end:
        raise UserError(f"{path}: {utt}: start {start} and end {end}; they must satisfy 0 <= start < end")
    return fields[0], start, end
