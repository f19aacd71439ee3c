"""Kaldi's text tables: `key value` lines sorted by the bytes of the key (LC_ALL=C), and the data dir made of them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from sv.errors import UserError
from sv.io.atomic import atomic_write

FORBIDDEN_IN_IDS = set("'\"`;|<>&$\\*?(){}[]!")
_SPEED_COPY = re.compile(r"sp\d+(\.\d+)?-")


def check_id(name: str, where: str) -> str:
    """`name` if it can serve as an utterance or speaker id; ids become parts of paths and of command lines.

    Raises:
        UserError: empty, over 1,000 characters, a blank or control character, a shell character, or `..` as a part.
    """
    bad = next((c for c in name if c in FORBIDDEN_IN_IDS or c.isspace() or not c.isprintable()), None)
    if bad is not None:
        raise UserError(f"{where}: id {name[:80]!r} holds {bad!r}; rename it")
    if not name or len(name) > 1000:
        raise UserError(f"{where}: an id of {len(name)} characters; 1 to 1000 are allowed")
    if ".." in name.split("/"):
        raise UserError(f"{where}: id {name[:80]!r} holds '..'; rename it")
    return name


def base_speaker(speaker: str) -> str:
    """The speaker whose speed-perturbed copy this one is: sp0.9-id10001 -> id10001."""
    return _SPEED_COPY.sub("", speaker, count=1) if _SPEED_COPY.match(speaker) else speaker


def iter_table(path: str | Path) -> Iterator[tuple[int, str, str]]:
    """Lines of a table as (line number from 1, key, the rest of the line).

    Raises:
        UserError: the file is missing, not UTF-8, or a line has no value.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file with lines 'key value'")
    with open(path, encoding="utf-8", newline="\n") as f:
        try:
            for number, line in enumerate(f, start=1):
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


def read_table(path: str | Path, *, mend_twice: str = "keep one of the two lines") -> dict[str, str]:
    """A whole table, in the order of the file.

    Args:
        path: the table.
        mend_twice: what to do about a key that comes twice.

    Raises:
        UserError: as `iter_table`, and for an empty table or a key that comes twice.
    """
    table: dict[str, str] = {}
    for number, key, value in iter_table(path):
        if key in table:
            raise UserError(f"{path}:{number}: {key} comes twice; {mend_twice}")
        table[check_id(key, f"{path}:{number}")] = value
    if not table:
        raise UserError(f"{path} is empty; make it again")
    return table


def write_table(path: str | Path, rows: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """Write `key value` lines, sorted as `LC_ALL=C sort` sorts them; the file appears whole or not at all."""
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    with atomic_write(path) as f:
        f.writelines(f"{key} {value}\n" for key, value in sorted(pairs, key=lambda pair: pair[0].encode()))


class DataDir:
    """A Kaldi data directory; each table is read, and checked, when it is first asked for."""

    def __init__(self, path: str | Path, remedy: str = "prepare it first (stage 1)") -> None:
        self.path = Path(path)
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

    @cached_property
    def wav_scp(self) -> dict[str, str]:
        """Recording (or utterance) -> file, or `command |`."""
        return self._table("wav.scp", "prepare the data (stage 1)")

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

    @cached_property
    def segments(self) -> dict[str, tuple[str, float, float]]:
        """Utterance -> (recording, start, end in seconds); empty if the directory has no `segments`."""
        path = self.path / "segments"
        if not path.exists():
            return {}
        return {utt: _segment(value, path, utt) for utt, value in read_table(path, mend_twice=self._fix).items()}


def _number(kind: type[int] | type[float], value: str, path: Path, key: str) -> float | int:
    try:
        return kind(value)
    except ValueError as error:
        raise UserError(f"{path}: {key} has {value[:80]!r}, not a number; make the file again") from error


def _segment(value: str, path: Path, utt: str) -> tuple[str, float, float]:
    fields = value.split()
    if len(fields) != 3:
        raise UserError(f"{path}: {utt}: expected 'utt recording start end', found {len(fields) + 1} columns")
    start, end = _number(float, fields[1], path, utt), _number(float, fields[2], path, utt)
    if not 0 <= start < end:
        raise UserError(f"{path}: {utt}: start {start} and end {end}; they must satisfy 0 <= start < end")
    return fields[0], start, end
