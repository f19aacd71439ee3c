"""Read the contents of a report from experiment folders; whatever a folder lacks is left out."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import DataDir, ScoredTrials, iter_scored_trials, read_vectors, read_yaml
from sv.metrics.breakdown import speaker_words
from sv.metrics.comparison import ScoredSystem, ScoreSet
from sv.metrics.error_rates import SortedScores, eer
from sv.metrics.provenance import check_embeddings
from sv.metrics.score_counts import KindCounter
from sv.metrics.trial_speakers import Speakers, read_speakers

Doubles = NDArray[np.float64]
Error = tuple[str, str, str, float]  # kind of trial, enroll, test, score


@dataclass(frozen=True)
class ScoreFacts:
    """Summary of a score file for a report; its memory does not grow with the file.

    Attributes:
        of: the score file.
        scores: sorted scores, with the number of times each occurs.
        hardest: the targets with the lowest scores, then the non-targets with the highest.
        by_speaker: errors of each speaker at the threshold of the EER; None if the speakers are not known.
    """

    of: ScoreSet
    scores: SortedScores
    hardest: list[Error]
    by_speaker: "SpeakerErrors | None" = None


class SpeakerErrors:
    """Errors of each speaker at one threshold, counted block by block.

    A speaker who is often missed is a goat, one who is often accepted for another a lamb or a wolf (Doddington et al.,
    "Sheep, goats, lambs and wolves", ICSLP 1998).

    Args:
        speakers: speaker of each utterance and enroll model.
        threshold: trials that score this or more are accepted.

    Attributes:
        names: names of the speakers.
        counts: (4, speakers): targets, misses, non-targets, false accepts; a non-target counts for both its speakers.
        eers: percent, by row of the speakers with the most errors, of the trials that each of them takes part in.
    """

    def __init__(self, speakers: Speakers, threshold: float) -> None:
        self.names, self._speakers, self._threshold = speakers.names, speakers, threshold
        self.counts = np.zeros((4, len(self.names)), np.int64)
        self.whole = True  # the speakers of all trials are known
        self.eers: dict[int, float] = {}

    def add(self, scores: ScoredTrials) -> None:
        """Count further trials; trials of unknown speakers make `whole` false."""
        rows = self._speakers.rows(scores)
        if (rows < 0).any():
            self.whole = False
            return
        is_target, accepted = scores.labels(), scores.values >= self._threshold
        enroll, test = rows[scores.enroll], rows[scores.test]
        for row, some in enumerate((is_target, is_target & ~accepted, ~is_target, ~is_target & accepted)):
            sides = [test[some]] if row < 2 else [enroll[some], test[some]]
            for side in sides:
                self.counts[row] += np.bincount(side, minlength=len(self.names))

    def shares(self) -> tuple[Doubles, Doubles]:
        """Return misses and false accepts of each speaker in percent; NaN without trials of the kind."""
        with np.errstate(invalid="ignore"):
            return 100 * self.counts[1] / self.counts[0], 100 * self.counts[3] / self.counts[2]

    def measure(self, blocks: Iterable[ScoredTrials]) -> None:
        """Measure `eers` of the worst speakers, in a second pass; speakers without trials of both kinds have none."""
        counters = {row: KindCounter() for row in self.worst()}
        for block in blocks:
            rows = self._speakers.rows(block)
            enroll, test = rows[block.enroll], rows[block.test]
            for row, counter in counters.items():
                counter.add(block, (enroll == row) | (test == row))
        both = {row: counter for row, counter in counters.items() if counter.target.total and counter.nontarget.total}
        self.eers = {row: eer(counter.sorted_scores()) for row, counter in both.items()}

    def worst(self, count: int = 8) -> list[int]:
        """Return the rows of the speakers with the highest sum of both shares, the worst first."""
        total = np.nansum(self.shares(), axis=0)
        return [int(row) for row in np.argsort(-total, kind="stable")[:count] if total[row] > 0]


@dataclass(frozen=True)
class System(ScoredSystem):
    """An experiment folder: results, scores and training.

    Attributes:
        records: lines of metrics.jsonl, by kind: "step", "epoch".
        config: text of config.yaml; "" if there is none.
        settings: its content; {} if there is none.
        embeddings: xvector.scp of the test set; None if there is none.
    """

    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    config: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    embeddings: Path | None = None


def read_system(scored: ScoredSystem, test_set: str = "") -> System:
    """Read training records, configuration and the place of embeddings of an experiment folder.

    Args:
        scored: results and scores of the folder.
        test_set: name of the test set's folder in embeddings/; "" for none.

    Raises:
        UserError: metrics.jsonl or config.yaml is damaged.
    """
    config = scored.path / "config.yaml"
    scp = scored.path / "embeddings" / test_set / "xvector.scp"
    return System(
        **vars(scored),
        records=_read_records(scored.path / "metrics.jsonl"),
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
        settings=read_yaml(config) if config.is_file() else {},
        embeddings=scp if test_set and scp.is_file() else None,
    )


def _read_records(path: Path) -> dict[str, list[dict[str, Any]]]:
    records: dict[str, list[dict[str, Any]]] = {}
    if path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                record = json.loads(line)
                records.setdefault(record["kind"], []).append(record)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}:{number}: not a training record; train again, or remove the line") from error
    return records


def read_map(system: System, data: DataDir, num_speakers: int = 12) -> tuple[Doubles, list[str]] | None:
    """Project embeddings on the two directions in which the means of speakers differ most.

    Args:
        system: with embeddings.
        data: data dir of their utterances.
        num_speakers: take the speakers with the most utterances.

    Returns:
        (utts, 2) points and the speaker of each; None without embeddings or with fewer than three speakers.
    """
    if system.embeddings is None:
        return None
    check_embeddings(system.embeddings)
    vectors = read_vectors(system.embeddings)
    speakers = sorted(data.spk2utt, key=lambda spk: -len(data.spk2utt[spk]))[:num_speakers]
    pairs = [(utt, spk) for spk in speakers for utt in data.spk2utt[spk] if utt in vectors.index]
    if len({spk for _, spk in pairs}) < 3:
        return None
    unit = vectors.matrix[[vectors.index[utt] for utt, _ in pairs]].astype(np.float64)
    unit -= vectors.matrix.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    names = [spk for _, spk in pairs]
    means = np.stack([unit[[n == spk for n in names]].mean(axis=0) for spk in dict.fromkeys(names)])
    _, _, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    return unit @ directions[:2].T, names


def read_facts(scores: ScoreSet, speakers: Speakers | None = None) -> ScoreFacts:
    """Summarize a score file in one pass.

    Args:
        scores: the score file.
        speakers: speaker of each utterance and enroll model, for the errors by speaker; None: unknown.

    Raises:
        UserError: the file is damaged, or lacks labels, targets or non-targets.
    """
    counter = KindCounter()
    errors = SpeakerErrors(speakers, scores.entry["eer_threshold"]) if speakers else None
    hardest: list[Error] = []
    for block in iter_scored_trials(scores.path, scores.trials_file):
        counter.add(block)
        hardest = hardest_errors(block, hardest)
        if errors:
            errors.add(block)
    if errors and errors.whole:
        errors.measure(iter_scored_trials(scores.path, scores.trials_file))
        return ScoreFacts(scores, counter.sorted_scores(), hardest, errors)
    return ScoreFacts(scores, counter.sorted_scores(), hardest)


def speakers_of(scores: ScoreSet, test: DataDir | None) -> Speakers | None:
    """Return the speakers of utterances and enroll models; None where `test` is not the data of the scores' models."""
    if test is None:
        return None
    try:
        return read_speakers(test.path / "utt2spk", scores.enroll_map)
    except UserError:
        return None


def hardest_errors(scores: ScoredTrials, known: Sequence[Error] = (), count: int = 5) -> list[Error]:
    """Return the `count` hardest trials of each kind, among these trials and the known ones; see `ScoreFacts`."""
    is_target, rows = scores.labels(), []
    for kind, wanted, sign in (("target", is_target, 1), ("nontarget", ~is_target, -1)):
        some = np.flatnonzero(wanted)
        found = [error for error in known if error[0] == kind]
        for row in some[np.argsort(sign * scores.values[some], kind="stable")[:count]].tolist():
            pair = scores.ids[scores.enroll[row]], scores.ids[scores.test[row]]
            found.append((kind, *pair, float(scores.values[row])))
        rows += sorted(found, key=lambda error: sign * error[3])[:count]
    return rows


def corpus_facts(data: DataDir) -> list[tuple[str, str]]:
    """Return names and values: speakers, utterances and, if known, hours, durations and sexes of a data dir."""
    facts = [("speakers", f"{len(data.spk2utt)}"), ("utterances", f"{len(data.utt2spk)}")]
    if (data.path / "utt2dur").is_file():
        seconds = np.array(list(data.utt2dur.values()))
        facts += [("hours", f"{seconds.sum() / 3600:.2f}")]
        facts += [
            ("seconds an utterance", f"{seconds.min():.1f} to {seconds.max():.1f}, median {np.median(seconds):.1f}")
        ]
    if (data.path / "spk2gender").is_file():
        counts = Counter(speaker_words(data.path / "spk2gender").values())
        facts += [("speakers by sex", ", ".join(f"{count} {sex}" for sex, count in sorted(counts.items())))]
    return facts
