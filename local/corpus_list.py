"""The list of your own corpus: each line names a file, its speaker and, if you have them, times, sex, age and so on."""

import csv
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sv.errors import UserError, log

COLUMNS = {  # names by meaning, in lower case with underscores; the first is ours
    "path": "path file filename file_name filepath file_path wav wav_path wav_file audio audio_path audio_file "
    "audio_filepath recording",
    "speaker": "speaker speaker_id speakerid speaker_name spk spk_id spkid spkr client_id",
    "start": "start start_time start_s start_sec begin onset offset",
    "end": "end end_time end_s end_sec stop stop_time",
    "duration": "duration duration_s duration_sec dur",
    "sex": "sex gender",
    "age": "age",
    "session": "session session_id",
    "language": "language lang",
}
MEANING = {name: meaning for meaning, names in COLUMNS.items() for name in names.split()}
SPEECHBRAIN = {"id", "duration", "wav", "start", "stop", "spk_id"}  # its times are samples, its duration the file's
SEXES = {"m": "m", "male": "m", "man": "m", "f": "f", "female": "f", "woman": "f"}
_ROUNDING_S = 0.05  # by which start, end and duration may disagree
_FORM = "path,speaker[,start,end]"


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
        length_s: seconds that the list gives a whole file; None: it says nothing.
        about: sex, age, session and language, as far as the list has them.
    """

    where: str
    path: str
    spk: str
    name: str
    start_s: float = 0.0
    end_s: float | None = None
    seconds: float = 0.0
    length_s: float | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_part(self) -> bool:
        """True if the utterance is a part of its file."""
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


def read_csv(path: Path, root: Path | None, sample_rate: int, ignored: Sequence[str] = ()) -> list[Row]:
    """Read the utterances of a list.

    Args:
        path: the list.
        root: where relative paths begin; None: in the list's folder.
        sample_rate: Hz, of the times in SpeechBrain's lists, which are samples.
        ignored: names of columns that are not read.

    Raises:
        UserError: the list does not exist, is empty or not UTF-8, has a column that is not known, or a line lacks path
            or speaker, has wrong quotes or wrong values.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a list of {_FORM} with --csv")
    base = Path(os.path.abspath(root or path.parent))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); write it again as UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    places = ((f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    lines = [(where, fields) for where, line in places if any(fields := split_line(line, delimiter, where))]
    columns, per_second = ["path", "speaker", "start", "end"], 1
    if lines and {MEANING.get(_plain(name)) for name in lines[0][1]} & {"path", "speaker"}:
        where, header = lines.pop(0)
        in_samples = {_plain(name) for name in header} == SPEECHBRAIN
        if in_samples:
            log.info("%s: columns of SpeechBrain; start and stop are samples at %d Hz", path, sample_rate)
            per_second, ignored = sample_rate, ["id", "duration"]
        columns = name_columns(header, where, ignored)
    if not lines:
        raise UserError(f"{path} lists no files; write a line {_FORM} for each")
    for where, fields in lines:
        if any(fields[len(columns) :]) or any(value for name, value in zip(columns, fields, strict=False) if not name):
            named = ", ".join(filter(None, columns))
            raise UserError(f"{where}: more fields than columns ({named}); name them in the first line")
    rows = [parse_line(dict(zip(columns, fields, strict=False)), where, base, per_second) for where, fields in lines]
    folders = [os.path.dirname(row.path) for row in rows]
    if os.path.commonpath([base, *folders]) != str(base):
        base = Path(os.path.commonpath(folders))
    return [replace(row, name=os.path.splitext(os.path.relpath(row.path, base))[0]) for row in rows]


def split_line(line: str, delimiter: str, where: str) -> list[str]:
    """Return the fields of a line.

    A field in double quotes may hold commas or semicolons. Between tabs, as in the lists of Common Voice, quotes are
    characters like others, except those around a whole field, which are removed.

    Raises:
        UserError: a quote is not closed in this line, or its field goes on after it.
    """
    if delimiter == "\t":
        return [re.sub('^"(.*)"$', r"\1", field.strip()) for field in line.split(delimiter)]
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error as error:
        remedy = "close each in its line, and double one that is part of a field"
        raise UserError(f"{where}: its quotes are wrong ({error}); {remedy}") from error


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def name_columns(header: Sequence[str], where: str, ignored: Sequence[str]) -> list[str]:
    """Return the meaning of each column; "-" for one that is ignored, "" for one without a name.

    Raises:
        UserError: a name is not known, two have the same meaning, or path or speaker is missing.
    """
    columns: list[str] = []
    skipped = {_plain(name) for name in ignored}
    for name in header:
        plain = _plain(name)
        meaning = "-" if plain in skipped else MEANING.get(plain, "") if plain else ""
        if plain and not meaning:
            near = difflib.get_close_matches(plain, MEANING, n=1)
            raise UserError(
                f"{where}: unknown column {name[:40]!r}; {f'did you mean {near[0]!r}? ' if near else ''}known: "
                f"{', '.join(COLUMNS)}, and other names of these; rename it, or give --ignore-columns {plain[:40]}"
            )
        if meaning in COLUMNS and meaning in columns:
            raise UserError(
                f"{where}: columns {header[columns.index(meaning)]} and {name} are both {meaning}; keep one"
            )
        columns.append(meaning)
    for needed in ("path", "speaker"):
        if needed not in columns:
            raise UserError(f"{where}: the header has no {needed}; the columns are {_FORM}")
    return columns


def parse_line(fields: Mapping[str, str], where: str, base: Path, per_second: int = 1) -> Row:
    """Return the utterance of one line, with its name still empty.

    Args:
        fields: values by the meaning of their column.
        where: file and line, for error messages.
        base: where relative paths begin.
        per_second: units of start and end in a second: 1, or the sample rate.

    Raises:
        UserError: path or speaker is missing, or another value is wrong.
    """
    path, spk = fields.get("path", ""), fields.get("speaker", "")
    if not path or not spk:
        missing = "path" if not path else "speaker"
        raise UserError(f"{where}: no {missing}; each line must be {_FORM}")
    start_s, end_s, duration_s = (_seconds(fields, name, where) for name in ("start", "end", "duration"))
    start_s, end_s = (time / per_second if time else time for time in (start_s, end_s))
    if start_s is not None and duration_s is not None:
        if end_s is not None and abs(end_s - start_s - duration_s) > _ROUNDING_S:
            raise UserError(
                f"{where}: start {start_s:g}, end {end_s:g} and duration {duration_s:g} disagree; correct it"
            )
        end_s = start_s + duration_s if end_s is None else end_s
    elif duration_s is not None and end_s is not None:
        start_s = max(0.0, end_s - duration_s)
    whole = start_s is None and end_s is None
    start_s = start_s or 0.0
    if end_s is not None and end_s <= start_s:
        raise UserError(f"{where}: start {start_s:g} and end {end_s:g}; the end must come after the start")
    length_s = duration_s if whole else None
    return Row(
        where, os.path.normpath(base / path), spk, "", start_s, end_s, length_s=length_s, about=_about(fields, where)
    )


def _seconds(fields: Mapping[str, str], column: str, where: str) -> float | None:
    value = fields.get(column, "")
    if value and not re.fullmatch(r"\d+(\.\d*)?|\.\d+", value):
        raise UserError(f"{where}: {column} is {value[:40]!r}; write seconds, such as 12.5, or nothing")
    return float(value) if value else None


def _about(fields: Mapping[str, str], where: str) -> dict[str, str]:
    about = {name: fields[name] for name in ("sex", "age", "session", "language") if fields.get(name)}
    if "sex" in about:
        about["sex"] = SEXES.get(about["sex"].lower(), "")
        if not about["sex"]:
            raise UserError(f"{where}: sex is {fields['sex'][:40]!r}; write m or f, or nothing")
    if "age" in about and not re.fullmatch(r"\d{1,3}", about["age"]):
        raise UserError(f"{where}: age is {about['age'][:40]!r}; write whole years, or nothing")
    return about
