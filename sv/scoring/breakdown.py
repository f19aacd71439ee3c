"""Error rates of parts of a trial list: by a column of a `trial2cond`, by duration, sex, age, or same video.

Every part is measured on its own, EER and minDCF included; a part without trials of both kinds is listed without them.
Sex and age are of both sides of a trial: "f / m" is a trial of a woman and a man, in either order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import DataDir, ScoredTrials, read_scored_trials, read_table
from sv.scoring.metrics import evaluate_sorted
from sv.scoring.quality import both_sides
from sv.scoring.streaming import KindCounter

Words = NDArray[np.str_]  # (trials,)

DURATIONS_S = (3.0, 6.0)  # shorter side of a trial: below, between, above
AGES = (10, 18)  # years


@dataclass(frozen=True)
class Part:
    """One part of a list.

    Attributes:
        by: what the list was parted by: "sex".
        name: of the part: "f / f".
        num_target, num_nontarget: trials.
        eer: percent; None without trials of both kinds.
        min_dcf: by p_target; empty without trials of both kinds.
    """

    by: str
    name: str
    num_target: int
    num_nontarget: int
    eer: float | None
    min_dcf: dict[float, float]


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

    def parts(self, p_targets: Sequence[float] = (0.01, 0.05)) -> list[Part]:
        """Every part, in the order of their names; of the conditions that all trials have."""
        whole = [by for by, trials in self._trials.items() if trials == self._total]
        names = [key for by in whole for key in sorted(self._counters) if key[0] == by]
        return [_measured(by, name, self._counters[by, name], p_targets) for by, name in names]


def _measured(by: str, name: str, counter: KindCounter, p_targets: Sequence[float]) -> Part:
    counts = counter.target.total, counter.nontarget.total
    if 0 in counts:
        return Part(by, name, *counts, None, {})
    metrics = evaluate_sorted(counter.sorted_scores(), p_targets)
    return Part(by, name, *counts, metrics.eer, metrics.min_dcf)


def measure_conditions(scores: Path, trial2cond: Path, p_targets: Sequence[float]) -> list[Part]:
    """Every part of a score file by the columns of a trial2cond; errors as of `read_trial2cond`."""
    trials, parts = read_scored_trials(scores), PartCounter()
    parts.add(trials, read_trial2cond(trial2cond, trials))
    return parts.parts(p_targets)


class Conditions:
    """What a data dir tells about trials: duration, sex, age and video, as far as it has the tables; read once."""

    def __init__(self, data: DataDir) -> None:
        self._path = data.path
        self._durations = data.utt2dur if (data.path / "utt2dur").is_file() else None
        self._utt2spk = data.utt2spk if (data.path / "utt2spk").is_file() else {}
        tables = {by: data.path / table for by, table in (("sex", "spk2gender"), ("age", "spk2age"))}
        self._of_spk = {
            by: (speaker_words(path), path) for by, path in tables.items() if self._utt2spk and path.is_file()
        }

    def of(self, scores: ScoredTrials) -> dict[str, Words]:
        """Of the trials of a score file, or of a block of it.

        Raises:
            UserError: a table that lacks an utterance or speaker of the list.
        """
        found: dict[str, Words] = {}
        if self._durations is not None:
            shorter = np.minimum(*both_sides(scores, self._durations, self._path / "utt2dur"))
            found["duration of the shorter"] = _bands(shorter, DURATIONS_S, "s")
        for by, (of_spk, path) in self._of_spk.items():
            words = {utt: self._word_of(utt, of_spk, path, scores.path) for utt in scores.ids}
            found[by] = _pair_words(*both_sides(scores, words, path))
        videos = {name: name.rsplit("/", 1)[0] for name in scores.ids if name.count("/") == 2}
        if len(videos) == len(scores.ids):  # VoxCeleb's layout: speaker/video/utterance
            one, other = both_sides(scores, videos, scores.path)
            found["video"] = np.where(one == other, "same video", "other video")
        return found

    def _word_of(self, utt: str, of_spk: Mapping[str, str], path: Path, trials: Path) -> str:
        spk = self._utt2spk.get(utt)
        if spk is None:
            raise UserError(f"{self._path / 'utt2spk'} says nothing of utterance {utt}, which is in {trials}; add it")
        if spk not in of_spk:
            raise UserError(
                f"{path} says nothing of speaker {spk}, whose utterance {utt} is in {trials}; add a line for the "
                f"speaker, or remove {path.name}"
            )
        return of_spk[spk]


def speaker_words(path: Path) -> dict[str, str]:
    """What a table such as spk2gender says of each speaker; of spk2age the band that the years lie in.

    Raises:
        UserError: the table is missing; an age that is no whole number.
    """
    words = dict(read_table(path))
    if path.name != "spk2age":
        return words
    return {spk: str(_bands(np.array([_years(years, spk, path)]), AGES, "")[0]) for spk, years in words.items()}


def read_trial2cond(path: str | Path, scores: ScoredTrials) -> dict[str, Words]:
    """Conditions from lines `enroll test word ...`; a first line `enroll test NAME ...` names the columns.

    Raises:
        UserError: a missing file, lines of different widths, a trial of the list that it does not hold.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file with lines 'enroll test condition ...'")
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    width = len(rows[0]) if rows else 0
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != width), 0)
    if width < 3 or wrong:
        raise UserError(f"{path}:{wrong or 1}: expected 'enroll test condition ...', as many columns in every line")
    names = rows.pop(0)[2:] if rows[0][:2] == ["enroll", "test"] else [f"column {n}" for n in range(3, width + 1)]
    words_of = {(row[0], row[1]): row[2:] for row in rows}
    found = []
    for line, (enroll, test) in enumerate(zip(scores.enroll.tolist(), scores.test.tolist(), strict=True), 1):
        pair = scores.ids[enroll], scores.ids[test]
        if pair not in words_of:
            raise UserError(f"{scores.path}:{line}: the trial of {pair[0]} and {pair[1]} is not in {path}; add it")
        found.append(words_of[pair])
    table = np.array(found)
    return {name: table[:, column] for column, name in enumerate(names)}


def _pair_words(one: Words, other: Words) -> Words:
    """Both words of each trial, the lesser first."""
    first, second = np.where(one <= other, one, other), np.where(one <= other, other, one)
    return np.char.add(np.char.add(first, " / "), second)


def _bands(values: NDArray[Any], borders: Sequence[float], unit: str) -> Words:
    """Which band each value lies in: from 0 to the first border, ..., from the last one on; names sort by value."""
    text = [f"{border:g}" for border in (0, *borders)]
    names = [*(f"{a} to {b} {unit}" for a, b in pairwise(text)), f"{text[-1]} {unit} and over"]
    return np.array([" ".join(name.split()) for name in names])[np.searchsorted(borders, values, side="right")]


def _years(years: str, spk: str, path: Path) -> int:
    if not years.isdecimal():
        raise UserError(f"{path}: speaker {spk} has {years!r}; write a whole number of years")
    return int(years)
