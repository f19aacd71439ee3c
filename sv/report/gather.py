"""What a report shows, read from experiment folders; what a folder lacks is left out."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.embeddings.experiment import folder_name
from sv.errors import UserError, log
from sv.io import DataDir, ScoredTrials, iter_scored_trials, read_vectors, sha256_of
from sv.metrics.breakdown import speaker_words
from sv.metrics.error_rates import SortedScores
from sv.metrics.results import Results, read_results
from sv.metrics.score_counts import KindCounter

Doubles = NDArray[np.float64]
Error = tuple[str, str, str, float]  # kind of trial, enroll, test, score


@dataclass(frozen=True)
class ScoreSet:
    """A score file of one system, trial list and back-end, with the entry of results.json."""

    system: str
    trials: str
    backend: str
    path: Path
    entry: dict[str, Any]

    @property
    def title(self) -> str:
        return f"{self.system}, {self.trials.removesuffix('.kaldi')}, {self.backend}"


@dataclass(frozen=True)
class ScoreFacts:
    """What is shown of a score file: memory does not grow with its length.

    Attributes:
        of: the file.
        scores: how often each occurs.
        hardest: (kind, enroll, test, score) of the targets scored lowest, then of the non-targets scored highest.
    """

    of: ScoreSet
    scores: SortedScores
    hardest: list[Error]


@dataclass(frozen=True)
class System:
    """One experiment folder.

    Attributes:
        name: of the folder.
        results: of results.json.
        scores: every score file that results.json names and that is there.
        records: of metrics.jsonl, by kind: "step", "epoch".
        config: the text of config.yaml.
        embeddings: scp of the test set; None if there is none.
    """

    name: str
    path: Path
    results: Results
    scores: list[ScoreSet]
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    config: str = ""
    embeddings: Path | None = None


def read_system(exp_dir: Path, test_set: str = "") -> System:
    """All that a report shows of a folder.

    Args:
        exp_dir: the folder.
        test_set: name of the test set's folder in embeddings/.

    Raises:
        UserError: there is no results.json, or something is damaged; a score file or trial list that was made anew
            since it was measured.
    """
    results = read_results(exp_dir / "results.json")
    config = exp_dir / "config.yaml"
    scp = exp_dir / "embeddings" / test_set / "xvector.scp"
    return System(
        name=folder_name(exp_dir),
        path=exp_dir,
        results=results,
        scores=_read_scores(exp_dir, results),
        records=_read_records(exp_dir / "metrics.jsonl"),
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
        embeddings=scp if test_set and scp.is_file() else None,
    )


def _read_scores(exp_dir: Path, results: Results) -> list[ScoreSet]:
    found = []
    for trials, entries in results.items():
        for backend, entry in entries.items():
            path = exp_dir / "scores" / Path(entry["score_file"]).name
            if not path.is_file():
                log.warning("%s is not there; its curves are left out", path)
                continue
            _check_same(path, entry.get("scores_sha256"), exp_dir, "run the metrics again (stage 5)")
            trials_file = Path(entry["trials_file"])
            if trials_file.is_file():  # it may be on another machine
                _check_same(trials_file, entry.get("trials_sha256"), exp_dir, "score it again (stage 5)")
            found.append(ScoreSet(folder_name(exp_dir), trials, backend, path, entry))
    return found


def _check_same(path: Path, measured_sha256: str | None, exp_dir: Path, remedy: str) -> None:
    """Refuse a file that is not the one which was measured: curves and numbers of a page belong together."""
    if sha256_of(path) != measured_sha256:
        raise UserError(f"{path} is not the file that {exp_dir / 'results.json'} was measured on; {remedy}")


def _read_records(path: Path) -> dict[str, list[dict[str, Any]]]:
    records: dict[str, list[dict[str, Any]]] = {}
    if path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                record = json.loads(line)
                records.setdefault(record["kind"], []).append(record)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}:{number}: not a record of a training; train again, or remove it") from error
    return records


def read_map(system: System, data: DataDir, num_speakers: int = 12) -> tuple[Doubles, list[str]] | None:
    """Embeddings of the speakers with the most utterances in a plane, (utterances, 2), and their speakers.

    The plane is that of the two directions in which the speakers' means differ most.
    """
    if system.embeddings is None:
        return None
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


def read_facts(scores: ScoreSet) -> ScoreFacts:
    """One pass over a score file.

    Raises:
        UserError: a damaged file, or one without labels or without trials of a kind.
    """
    counter = KindCounter()
    hardest: list[Error] = []
    for block in iter_scored_trials(scores.path):
        counter.add(block)
        hardest = hardest_errors(block, hardest)
    return ScoreFacts(scores, counter.sorted_scores(), hardest)


def hardest_errors(scores: ScoredTrials, known: Sequence[Error] = (), count: int = 5) -> list[Error]:
    """The hardest of each kind, of these trials and those known; see `ScoreFacts`."""
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
    """Speakers, utterances, hours, and where known sexes, of a data dir."""
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
