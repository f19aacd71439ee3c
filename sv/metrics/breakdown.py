"""Break a trial list down into parts: by a column of a `trial2cond`, by duration, sex, age, genre, or same video.

Every part is measured on its own; a part without trials of both kinds is listed without numbers.
Sex and age are of both sides of a trial: "f / m" is a trial of a woman and a man, in either order.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import DataDir, ScoredTrials, read_enroll_map, read_table
from sv.metrics.measures import Column, Entry, shown_columns, to_json
from sv.metrics.score_counts import KindCounter
from sv.metrics.trial_speakers import with_models

T = TypeVar("T")
Words = NDArray[np.str_]  # (trials,)

DURATIONS_S = (3.0, 6.0)  # shorter side of a trial: below, between, above
AGES = (10, 18)  # years


class PartCounter:
    """Scores of every part of every condition, counted block by block."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str], KindCounter] = {}
        self._trials: Counter[str] = Counter()  # by condition
        self._total = 0

    def add(self, scores: ScoredTrials, conditions: Mapping[str, Words]) -> None:
        """Take in further trials.

        Raises:
            UserError: scores without labels.
        """
        self._total += len(scores)
        for by, words in conditions.items():
            self._trials[by] += len(scores)
            for name in np.unique(words).tolist():
                self._counters.setdefault((by, name), KindCounter()).add(scores, words == name)

    def parts(self, columns: Sequence[Column]) -> list[Entry]:
        """Measure every part, in the order of their names; of the conditions that all trials have."""
        whole = [by for by, trials in self._trials.items() if trials == self._total]
        keys = [key for by in whole for key in sorted(self._counters) if key[0] == by]
        return [self._measure(key, shown_columns(columns)) for key in keys]

    def _measure(self, key: tuple[str, str], columns: Sequence[Column]) -> Entry:
        counter = self._counters[key]
        counts = {"num_target": counter.target.total, "num_nontarget": counter.nontarget.total}
        scores = counter.sorted_scores() if all(counts.values()) else None
        values = {column: None if scores is None else column.value(scores) for column in columns}
        return {"by": key[0], "name": key[1], **counts, **to_json(values)}


def conditions_of(
    scores: ScoredTrials, conditions: Sequence[Callable[[ScoredTrials], dict[str, Words]]]
) -> dict[str, Words]:
    """Return all conditions of the trials of a score file, or of a block of it: words by name of condition.

    Raises:
        UserError: two conditions have one name; what they raise.
    """
    found: dict[str, Words] = {}
    for tell in conditions:
        words = tell(scores)
        twice = sorted(found.keys() & words.keys())
        if twice:
            raise UserError(f"{scores.path}: two conditions are named {twice[0]!r}; rename the column of trial2cond")
        found |= words
    return found


class Conditions:
    """Duration, sex, age, genre and video of trials, as far as a data dir has the tables; these are read once.

    Where `utt2genre` has several genres of an utterance, they are joined by "+".

    Args:
        data: data dir of the utterances.
        enroll_map: utterances of each enroll model, whose durations are added up; None: there are no models.

    Raises:
        UserError: see `with_models`; utt2dur or utt2genre lacks an utterance of a model.
    """

    def __init__(self, data: DataDir, enroll_map: Path | None = None) -> None:
        self._path = data.path
        self._remedy = "add it" if enroll_map else "add it, or give --enroll-map if it is an enroll model"
        utt2spk = data.utt2spk if (data.path / "utt2spk").is_file() else {}
        self._utt2spk = with_models(utt2spk, data.path / "utt2spk", enroll_map) if utt2spk else {}
        seconds, genres = data.path / "utt2dur", data.path / "utt2genre"
        self._durations = _add_models(data.utt2dur, seconds, enroll_map, sum) if seconds.is_file() else None
        self._genres = _add_models(read_table(genres), genres, enroll_map, _all_genres) if genres.is_file() else None
        tables = {by: data.path / table for by, table in (("sex", "spk2gender"), ("age", "spk2age"))}
        self._words = {
            by: partial(self._word_of, speaker_words(path), path)
            for by, path in tables.items()
            if self._utt2spk and path.is_file()
        }

    def of(self, scores: ScoredTrials) -> dict[str, Words]:
        """Return words by name of condition, (trials,), of a score file or of a block of it.

        Raises:
            UserError: a table that lacks an utterance or speaker of the list.
        """
        found: dict[str, Words] = {}
        if self._durations is not None:
            enroll, test = self._both_sides(scores, self._durations, "utt2dur")
            found["duration of the shorter"] = _bands(np.minimum(enroll, test), DURATIONS_S, "s")
        for by, word_of in self._words.items():
            words = scores.ids.look_up(word_of)
            found[by] = _pair_words(words[scores.enroll], words[scores.test])
        if self._genres is not None:
            enroll, test = self._both_sides(scores, self._genres, "utt2genre")
            same = np.strings.find(_ends(enroll), _ends(test)) >= 0
            found |= {"genre of the test": test, "genre": np.where(same, "same genre", "other genre")}
        videos = scores.ids.look_up(_video_of)
        if (videos != "").all():
            found["video"] = np.where(videos[scores.enroll] == videos[scores.test], "same video", "other video")
        return found

    def _both_sides(
        self, scores: ScoredTrials, tables: tuple[Mapping[str, Any], Mapping[str, Any]], name: str
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Look up both sides in tables as of `_add_models`."""
        return scores.both_sides(tables[0], self._path / name, tables[1], remedy=self._remedy)

    def _word_of(self, of_spk: Mapping[str, str], path: Path, utt: str) -> str:
        spk = self._utt2spk.get(utt)
        if spk is None:
            raise UserError(f"{self._path / 'utt2spk'} says nothing of utterance {utt} of the trials; {self._remedy}")
        if spk not in of_spk:
            raise UserError(
                f"{path} says nothing of speaker {spk}, whose utterance {utt} is in the trials; add a line for the "
                f"speaker, or remove {path.name}"
            )
        return of_spk[spk]


def _add_models(
    known: Mapping[str, T], source: Path, enroll_map: Path | None, join: Callable[[list[T]], T]
) -> tuple[dict[str, T], dict[str, T]]:
    """Add each enroll model to a table of utterances; `join` makes its value from those of its utterances.

    Returns:
        The tables of the enroll and of the test side: where a model is named as an utterance is, the first one has the
        value of the model.

    Raises:
        UserError: the table, which `source` names, lacks an utterance of a model.
    """
    models = {}
    for model, utts in (read_enroll_map(enroll_map) if enroll_map else {}).items():
        missing = next((utt for utt in utts if utt not in known), None)
        if missing is not None:
            raise UserError(f"{source} has no line for {missing}, which is of model {model}; add it")
        models[model] = join([known[utt] for utt in utts])
    return {**known, **models}, {**models, **known}


def _all_genres(genres: list[str]) -> str:
    return "+".join(sorted({genre for several in genres for genre in several.split("+")}))


def _ends(genres: Words) -> Words:
    """Put the mark between genres before the first and after the last one, too."""
    return np.char.add(np.char.add("+", genres), "+")


def speaker_words(path: Path) -> dict[str, str]:
    """Read what a table such as spk2gender says of each speaker; of spk2age the band that the years lie in.

    Raises:
        UserError: the table is missing; an age that is no whole number.
    """
    words = dict(read_table(path))
    if path.name != "spk2age":
        return words
    return {spk: str(_bands(np.array([_years(years, spk, path)]), AGES, "")[0]) for spk, years in words.items()}


class Trial2Cond:
    """Conditions of trials, from lines `enroll test word ...`; a first line `enroll test NAME ...` names the columns.

    Raises:
        UserError: no such file, or an empty one; lines of different widths, two columns of one name, a trial that has
            two conditions.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise UserError(f"{path} {what}; give a file with lines 'enroll test condition ...'")
        self._path = path
        self._names: list[str] = []
        self._words: dict[tuple[str, str], list[str]] = {}
        with path.open(encoding="utf-8-sig", errors="replace") as f:  # as ids of score files are read
            for number, line in enumerate(f, 1):
                self._add(line.split(), number)
        if not self._names:
            raise UserError(f"{path} is empty; give a file with lines 'enroll test condition ...'")

    def _add(self, row: list[str], number: int) -> None:
        if not row:
            return
        if len(row) != len(self._names or row[2:]) + 2 or len(row) < 3:
            raise UserError(
                f"{self._path}:{number}: expected 'enroll test condition ...', with as many columns in every line"
            )
        pair, words = (row[0], row[1]), [sys.intern(word) for word in row[2:]]
        if not self._names:
            if pair == ("enroll", "test"):
                if len(set(words)) < len(words):
                    raise UserError(f"{self._path}:{number}: two columns have the same name; rename one")
                self._names = words
                return
            self._names = [f"column {column}" for column in range(3, len(row) + 1)]
        if self._words.setdefault(pair, words) != words:
            here, above = " ".join(words), " ".join(self._words[pair])
            raise UserError(
                f"{self._path}:{number}: the trial of {pair[0]} and {pair[1]} is {here!r} here and {above!r} above; "
                "leave one of the lines"
            )

    def of(self, scores: ScoredTrials) -> dict[str, Words]:
        """Return words by name of column, (trials,), of a score file or of a block of it.

        Raises:
            UserError: a trial that the file does not hold.
        """
        found = []
        for row, (enroll, test) in enumerate(zip(scores.enroll.tolist(), scores.test.tolist(), strict=True)):
            pair = scores.ids[enroll], scores.ids[test]
            if pair not in self._words:
                raise UserError(
                    f"{scores.path}:{scores.first_line + row}: the trial of {pair[0]} and {pair[1]} is not in "
                    f"{self._path}; add it"
                )
            found.append(self._words[pair])
        return {name: np.array(words) for name, words in zip(self._names, zip(*found, strict=True), strict=True)}


def _video_of(name: str) -> str:
    """Return speaker and video of an id in VoxCeleb's layout, speaker/video/utterance; "" for others."""
    return name.rsplit("/", 1)[0] if name.count("/") == 2 else ""


def _pair_words(one: Words, other: Words) -> Words:
    """Join both words of each trial, the lesser first."""
    first, second = np.where(one <= other, one, other), np.where(one <= other, other, one)
    return np.char.add(np.char.add(first, " / "), second)


def _bands(values: NDArray[Any], borders: Sequence[float], unit: str) -> Words:
    """Name the band of each value: from 0 to the first border, ..., from the last one on; names sort by value."""
    text = [f"{border:g}" for border in (0, *borders)]
    names = [*(f"{a} to {b} {unit}" for a, b in pairwise(text)), f"{text[-1]} {unit} and over"]
    return np.array([" ".join(name.split()) for name in names])[np.searchsorted(borders, values, side="right")]


def _years(years: str, spk: str, path: Path) -> int:
    if not years.isdecimal():
        raise UserError(f"{path}: speaker {spk} has {years!r}; write a whole number of years")
    return int(years)
