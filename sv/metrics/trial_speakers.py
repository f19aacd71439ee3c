"""Find the speakers of each trial of a score file, for intervals, tests and calibration."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, log
from sv.io import ScoredTrials, read_enroll_map, read_table
from sv.metrics.error_rates import SortedScores, sort_scores

Rows = NDArray[np.int32]

_MOST = 1_000_000  # trials of a kind that intervals are taken from


@dataclass(frozen=True)
class SpeakerTrials:
    """Scores of labelled trials, and between which speakers they are.

    Attributes:
        scores: (trials,).
        is_target: (trials,) bool.
        enroll, test: (trials,) int32, speakers 0, 1, ...; the same one in a target trial.
    """

    scores: NDArray[np.float64]
    is_target: NDArray[np.bool_]
    enroll: Rows
    test: Rows

    @cached_property
    def speakers(self) -> Rows:
        """Speakers that occur, ascending."""
        return np.union1d(self.enroll, self.test)

    def sorted_scores(self) -> SortedScores:
        """Sort the scores of both kinds; see `sort_scores`."""
        return sort_scores(self.scores[self.is_target], self.scores[~self.is_target])


class Speakers:
    """The speaker of each utterance and enroll model, by number.

    Args:
        utt2spk: utterance (or enroll model) -> speaker; an enroll model that is named as a speaker is that speaker.
        source: where it comes from, for errors.

    Attributes:
        names: names of the speakers, by number; sorted, so that intervals do not depend on the order of utt2spk.
    """

    def __init__(self, utt2spk: Mapping[str, str], source: str | Path) -> None:
        self.names = sorted(set(utt2spk.values()))
        number = {speaker: row for row, speaker in enumerate(self.names)}
        self._number = {**number, **{utt: number[speaker] for utt, speaker in utt2spk.items()}}
        self._source = source

    def _number_of(self, name: str) -> int:
        return self._number.get(name, -1)

    def rows(self, scores: ScoredTrials) -> Rows:
        """Return the number of the speaker of each id of a score file, (ids,); -1 where it is not known."""
        return scores.ids.look_up(self._number_of, np.int32)

    def trials(self, scores: ScoredTrials) -> SpeakerTrials:
        """Return the trials of a score file, or of a block of it, with their speakers.

        Raises:
            UserError: no labels; an id whose speaker is not known; a label that contradicts the speakers.
        """
        is_target = scores.labels()
        spk_of = self.rows(scores)
        if (spk_of < 0).any():
            unknown = scores.ids[int(np.argmin(spk_of))]
            raise UserError(
                f"{scores.path}: the speaker of {unknown} is not in {self._source}; give the test set's utt2spk, and "
                "--enroll-map if it is an enroll model"
            )
        enroll, test = spk_of[scores.enroll], spk_of[scores.test]
        if not np.array_equal(enroll == test, is_target):
            row = int(np.argmax((enroll == test) != is_target))
            pair = f"{scores.ids[scores.enroll[row]]} and {scores.ids[scores.test[row]]}"
            word = "target" if is_target[row] else "nontarget"
            raise UserError(
                f"{scores.path}:{scores.first_line + row}: {pair} is labelled {word}, but {self._source} says "
                "otherwise; mend one of them"
            )
        return SpeakerTrials(scores.values, is_target, enroll, test)


def read_speakers(utt2spk: Path, enroll_map: Path | None = None) -> Speakers:
    """Read the speakers of utterances, and of enroll models if there are any; errors as of `with_models`."""
    return Speakers(with_models(read_table(utt2spk), utt2spk, enroll_map), utt2spk)


def with_models(utt2spk: Mapping[str, str], source: Path, enroll_map: Path | None) -> dict[str, str]:
    """Add to the speakers of utterances those of enroll models, which are the speakers of their utterances.

    Args:
        utt2spk: utterance -> speaker.
        source: its file, for errors.
        enroll_map: see `read_enroll_map`; None: there are no models.

    Raises:
        UserError: a model of an unknown utterance or of several speakers; one that is named as an utterance of another
            speaker.
    """
    speaker_of = dict(utt2spk)
    for model, utts in (read_enroll_map(enroll_map) if enroll_map else {}).items():
        unknown = next((utt for utt in utts if utt not in utt2spk), None)
        if unknown is not None:
            raise UserError(f"{enroll_map}: utterance {unknown} of model {model} is not in {source}; add it")
        speakers = sorted({utt2spk[utt] for utt in utts} | {utt2spk.get(model, utt2spk[utts[0]])})
        if len(speakers) > 1:
            raise UserError(
                f"{enroll_map}: by {source}, model {model} has speakers {', '.join(speakers[:3])}; mend one of both"
            )
        speaker_of[model] = speakers[0]
    return speaker_of


class TrialSample:
    """Trials with their speakers; if there are more of a kind than wanted, a random sample is kept.

    Args:
        most: trials of a kind.
        seed: decides which.
        systems: number of systems that scored each trial.
    """

    def __init__(self, most: int = _MOST, seed: int = 0, *, systems: int = 1) -> None:
        self._most, self._rng = most, np.random.default_rng(seed)
        self._row = np.dtype(
            [("scores", np.float64, (systems,)), ("enroll", np.int32), ("test", np.int32), ("draw", np.float32)]
        )
        empty: NDArray[np.void] = np.empty(0, dtype=self._row)
        self._kept = {kind: [empty] for kind in (True, False)}
        self._share = {True: 1.0, False: 1.0}  # of the trials that are kept
        self._seen = 0

    def add(self, *systems: SpeakerTrials) -> None:
        """Take in further trials: the same ones, scored by each system."""
        trials = systems[0]
        rows = np.empty(len(trials.scores), dtype=self._row)
        rows["scores"] = np.stack([system.scores for system in systems], axis=1)
        rows["enroll"], rows["test"] = trials.enroll, trials.test
        rows["draw"] = self._rng.random(len(rows), dtype=np.float32)
        for kind in (True, False):
            self._kept[kind].append(rows[(trials.is_target == kind) & (rows["draw"] < self._share[kind])])
            while sum(map(len, self._kept[kind])) > self._most:
                self._share[kind] /= 2
                whole = np.concatenate(self._kept[kind])
                self._kept[kind] = [whole[whole["draw"] < self._share[kind]]]
        self._seen += len(rows)

    def trials(self, source: Path) -> list[SpeakerTrials]:
        """Return the trials kept, scored by each system; log a line if these are not all of `source`."""
        target, nontarget = (np.concatenate(self._kept[kind]) for kind in (True, False))
        rows = np.concatenate([target, nontarget])
        if len(rows) < self._seen:
            log.info("%s: intervals from %d of %d trials, drawn at random", source, len(rows), self._seen)
        is_target, enroll, test = np.arange(len(rows)) < len(target), rows["enroll"].copy(), rows["test"].copy()
        return [SpeakerTrials(scores.copy(), is_target, enroll, test) for scores in rows["scores"].T]
