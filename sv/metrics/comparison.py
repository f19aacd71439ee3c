"""Systems side by side: their results and score files, checked to be over the same trials, and paired tests of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sv.errors import UserError, log
from sv.io import DataDir, iter_same_trials, sha256_of
from sv.io.progress import byte_bar
from sv.metrics.jackknife import FewSpeakers
from sv.metrics.measures import Column, Entry, columns_in, measure
from sv.metrics.results import Results, folder_name, list_name, markdown_rows, read_results
from sv.metrics.score_counts import KindCounter
from sv.metrics.seeds import seed_groups
from sv.metrics.significance import Difference, compare
from sv.metrics.trial_speakers import Speakers, TrialSample, read_speakers

_OF_A_LIST = {
    "trials_sha256": "is not the list of that name",
    "enroll_map_sha256": "has other enroll models than the list",
}


@dataclass(frozen=True)
class ScoreSet:
    """A score file of one system, trial list and back-end, with its entry of results.json."""

    system: str
    trials: str
    backend: str
    path: Path
    entry: Entry

    @property
    def title(self) -> str:
        """Name of the score file for people."""
        return f"{self.system}, {self.trials.removesuffix('.kaldi')}, {self.backend}"

    @property
    def trials_file(self) -> Path | None:
        """The trial list, if the entry names it and this machine has it."""
        return self._file("trials_file")

    @property
    def enroll_map(self) -> Path | None:
        """The utterances of each enroll model, if the list has models and this machine has the file."""
        return self._file("enroll_map")

    def _file(self, key: str) -> Path | None:
        path = Path(self.entry.get(key) or "")
        return path if path.is_file() else None


@dataclass(frozen=True)
class ScoredSystem:
    """Results of one experiment folder.

    Attributes:
        name: what tables call it.
        path: path of the folder.
        results: content of results.json.
        scores: every score file that results.json names and that is there.
    """

    name: str
    path: Path
    results: Results
    scores: list[ScoreSet]


def read_scored_system(exp_dir: Path, name: str = "") -> ScoredSystem:
    """Read results.json of an experiment folder, and look up its score files.

    Args:
        exp_dir: the folder.
        name: what tables call the system; "": the name of its folder.

    Raises:
        UserError: there is no results.json, or it is damaged; a score file or trial list has changed since it was
            measured.
    """
    name, results, scores = name or folder_name(exp_dir), read_results(exp_dir / "results.json"), []
    for trials, entries in results.items():
        for backend, entry in entries.items():
            path = exp_dir / "scores" / Path(entry["score_file"]).name
            if not path.is_file():
                log.warning("%s is not there; its curves are left out", path)
                continue
            _check_same(path, entry["scores_sha256"], exp_dir, "run the metrics again (stages 5 to 7)")
            found = ScoreSet(name, trials, backend, path, entry)
            if found.trials_file:
                _check_same(found.trials_file, entry["trials_sha256"], exp_dir, "score it again (stage 5)")
            scores.append(found)
    return ScoredSystem(name, exp_dir, results, scores)


def _check_same(path: Path, measured_sha256: str, exp_dir: Path, remedy: str) -> None:
    """Refuse a file that is not the one which was measured: curves and numbers of a page belong together."""
    if sha256_of(path) != measured_sha256:
        raise UserError(f"{path} is not the file that {exp_dir / 'results.json'} was measured on; {remedy}")


def check_same_lists(systems: Sequence[ScoredSystem]) -> None:
    """Refuse lists of one name that are not the same, or have other enroll models: numbers cannot be compared.

    Raises:
        UserError: two systems have different lists of one name, or different enroll models.
    """
    known: dict[tuple[str, str], tuple[ScoredSystem, str | None]] = {}
    for system in systems:
        for trials, entry in ((name, entry) for name, entries in system.results.items() for entry in entries.values()):
            for key, what in _OF_A_LIST.items():
                first, expected = known.setdefault((trials, key), (system, entry.get(key)))
                if entry.get(key) != expected:
                    raise UserError(
                        f"{system.path / 'results.json'}: {trials} {what} that "
                        f"{first.path / 'results.json'} was measured on; score the same list with both"
                    )


def paired_tests(systems: Sequence[ScoredSystem], data: DataDir) -> str:
    """Test the first system against each other one; return a table with a row for each list, back-end and measure.

    Systems that differ in their seed alone (`sv.metrics.seeds`) are tested as one, by their means.

    Args:
        systems: two or more; seeds of a single system are not tested.
        data: with the speakers, for the tests.

    Raises:
        UserError: see `read_speakers` and `compare_files`.
    """
    named = {system.name: system for system in systems}
    first, *others = (
        (title, _common_scores(title, [named[name] for name in names]))
        for title, names in seed_groups(list(named)).items()
    )
    if not others:
        log.warning("%s is the only system: nothing is tested", first[0])
        return ""
    pairs = [
        (_Seeds(first[0], scores), _Seeds(title, found[key]))
        for key, scores in first[1].items()
        for title, found in others
        if key in found
    ]
    if not pairs:
        log.warning("%s shares no trial list and back-end with another system: nothing is tested", first[0])
    rows = []
    for one, other in pairs:
        rows += _rows_of(one, other, read_speakers(data.path / "utt2spk", one.scores[0].enroll_map))
    if not rows:
        return ""
    return markdown_rows(["trials", "back-end", "measure", "first", "second", "difference [95 %]", "p"], rows, 3)


@dataclass(frozen=True)
class _Seeds:
    """Score files of one list and back-end, one for each seed of a system, which may have a single seed."""

    title: str
    scores: list[ScoreSet]


def _common_scores(title: str, seeds: Sequence[ScoredSystem]) -> dict[tuple[str, str], list[ScoreSet]]:
    """Return the score files of all seeds by list and back-end; log a line of those that not every seed has."""
    found = [{(one.trials, one.backend): one for one in seed.scores} for seed in seeds]
    known = dict.fromkeys(key for seed in found for key in seed)
    lacking = [key for key in known if not all(key in seed for seed in found)]
    if lacking:
        names = ", ".join(f"{list_name(trials)} {backend}" for trials, backend in lacking)
        log.warning("%s: not tested, as not all seeds have them: %s", title, names)
    return {key: [seed[key] for seed in found] for key in known if key not in lacking}


def _rows_of(first: _Seeds, second: _Seeds, speakers: Speakers) -> list[list[str]]:
    """Compare score files in all that every one was measured by; with too few speakers, log a line instead."""
    scores = [*first.scores, *second.scores]
    one, rows = scores[0], []
    measured_by = [columns_in([score.entry]) for score in scores]
    columns = [column for column in measured_by[0] if all(column in others for others in measured_by)]
    try:
        differences = compare_files(
            [score.path for score in scores],
            speakers,
            columns,
            trials=one.trials_file,
            num_first=len(first.scores),
        )
    except FewSpeakers as error:
        log.warning("%s: not tested against %s: %s", one.title, second.title, error)
        return []
    for d in differences:
        gap, low, high = (d.column.text(value, "+") for value in (d.second - d.first, *d.interval))
        rows.append(
            [
                one.trials.removesuffix(".kaldi"),
                f"{one.backend}: {first.title}, {second.title}",
                d.column.title,
                d.column.text(d.first),
                d.column.text(d.second),
                f"{gap} [{low}, {high}]",
                f"{d.p_value:.3f}" if d.p_value >= 0.001 else "< 0.001",
            ]
        )
    return rows


def compare_files(
    paths: Sequence[Path],
    speakers: Speakers,
    columns: Sequence[Column],
    *,
    trials: Path | None = None,
    num_first: int = 1,
) -> list[Difference]:
    """Test whether two systems differ on the same trials; see `compare`. On a terminal a bar shows how far it is.

    Args:
        paths: score files of one trial list: those of the seeds of the first system, then those of the second.
        speakers: speaker of each utterance.
        columns: what is compared; measures without interval are left out.
        trials: the list, for scores without labels.
        num_first: number of seeds of the first system.

    Raises:
        UserError: as `measure_file`, and `iter_same_trials`.
        FewSpeakers: see `compare`.
    """
    counters, sample = [KindCounter() for _ in paths], TrialSample(systems=len(paths))
    with byte_bar(paths[0]) as bar:
        for blocks in iter_same_trials(paths, trials):
            for counter, block in zip(counters, blocks, strict=True):
                counter.add(block)
            sample.add(*(speakers.trials(block) for block in blocks))
            bar.update(blocks[0].num_bytes)
    columns = [column for column in columns if column.measure.interval]
    measured = [measure(counter.sorted_scores(), columns) for counter in counters]
    return compare(sample.trials(paths[0]), measured, columns, num_first=num_first)
