"""Measure score files of any length, in one pass and in little memory, and write the results of an experiment.

Whatever depends on the scores alone is measured on all of them, counted (`sv.metrics.score_counts`). Intervals, which
depend on the speakers as well, are taken from a sample if there are more than a million trials of a kind.
"""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sv.errors import UserError, log
from sv.io import DataDir, ScoredTrials, atomic_write, check_scores_of_list, iter_scored_trials, sha256_of
from sv.io.progress import byte_bar
from sv.metrics.breakdown import Conditions, PartCounter, Trial2Cond, Words, conditions_of
from sv.metrics.error_rates import check_prior
from sv.metrics.jackknife import FewSpeakers
from sv.metrics.measures import Column, Entry, columns_of, measure
from sv.metrics.provenance import check_name, origin, origin_of
from sv.metrics.results import git_commit, list_name, merge_results, printed_lines
from sv.metrics.score_counts import KindCounter
from sv.metrics.significance import intervals
from sv.metrics.trial_speakers import Speakers, TrialSample, read_speakers


@dataclass(frozen=True)
class ScoredLists:
    """Trial lists that one back-end scored.

    Attributes:
        exp_dir: experiment folder.
        trials: the lists, all in one folder: data/vox1/trials/vox1_O_cleaned.kaldi, ...
        backend: name of the back-end in the results.
        prefix: start of the score files' names: "vox2_dev_asnorm300_".
    """

    exp_dir: Path
    trials: Sequence[Path]
    backend: str = "cos"
    prefix: str = ""

    def score_file(self, trials: Path) -> Path:
        """Return the path of a list's scores."""
        return self.exp_dir / "scores" / f"{self.prefix}{trials.name}.score"


@dataclass(frozen=True)
class MeasureOptions:
    """Settings for measuring score files.

    Attributes:
        p_targets: priors of the measures that have a value for each.
        llr: the scores are natural logarithms of likelihood ratios.
        test_data: data dir; parts of the lists by duration, sex, age and video, whatever it has.
        trial2cond: file with lines `enroll test condition ...`; parts by condition.
        utt2spk: speakers, for the intervals; None: beside the folder of the trial lists, if it is there.
        intervals: measure them where the speakers are known.
        enroll_map: utterances of each enroll model; None: "enroll" is an utterance.

    Raises:
        UserError: a prior out of its range.
    """

    p_targets: Sequence[float] = (0.01, 0.05)
    llr: bool = False
    test_data: Path | None = None
    trial2cond: Path | None = None
    utt2spk: Path | None = None
    intervals: bool = True
    enroll_map: Path | None = None

    def __post_init__(self) -> None:
        for p_target in self.p_targets:
            check_prior(p_target)


def measure_lists(lists: ScoredLists, result: str, options: MeasureOptions = MeasureOptions()) -> str:
    """Measure score files, add their entries to results.json and results.md, and return the printed lines.

    Args:
        lists: what was scored.
        result: name of the file for the printed lines, in <exp-dir>/scores; written anew, not appended.
        options: how to measure.

    Raises:
        UserError: a score file that is missing, damaged, of other trials or of another version of its list; see
            `measure_file`.
    """
    if not lists.exp_dir.is_dir():
        raise UserError(f"{lists.exp_dir} does not exist; train and score first (stages 3 to 5)")
    speakers, shared = speakers_of(lists.trials[0], options), _common_origin(lists.exp_dir)
    conditions = [Conditions(DataDir(options.test_data), options.enroll_map).of] if options.test_data else []
    conditions += [Trial2Cond(options.trial2cond).of] if options.trial2cond else []
    columns, lines, entries = columns_of(options.p_targets, llr=options.llr), "", {}
    for trials in lists.trials:
        scores = lists.score_file(trials)
        if not scores.is_file():
            raise UserError(f"{scores} does not exist; score it first (stage 5)")
        check_name(scores, lists.backend)
        entry = measure_file(scores, columns, trials=trials, speakers=speakers, conditions=conditions)
        if not origin(scores) and next(iter_scored_trials(scores)).is_target is not None:
            check_scores_of_list([scores], trials)  # those without labels are checked when they get them
        files = {"score_file": str(scores), "trials_file": str(trials.resolve())}  # the report looks for them
        if options.enroll_map:
            files["enroll_map"] = str(options.enroll_map.resolve())
        entries[trials.name] = {lists.backend: {**entry, **files, **origin_of(scores, trials), **shared}}
        lines += printed_lines(scores.name, entry, columns)
    with atomic_write(lists.exp_dir / "scores" / result) as f:
        f.write(lines)
    merge_results(lists.exp_dir, entries)
    return lines


def measure_file(
    path: Path,
    columns: Sequence[Column],
    *,
    trials: Path | None = None,
    speakers: Speakers | None = None,
    conditions: Sequence[Callable[[ScoredTrials], dict[str, Words]]] = (),
) -> Entry:
    """Measure a score file and its parts, with intervals if its speakers are known and not too few.

    Return numbers as in results.json. On a terminal a bar shows how far it is.

    Args:
        path: the score file.
        columns: what is measured.
        trials: its list, for scores without labels.
        speakers: speaker of each utterance.
        conditions: each returns, for a block of trials, what to part them by.

    Raises:
        UserError: a file that cannot be read; without labels; without targets or non-targets; see `Speakers.trials`
            and `conditions_of`.
    """
    counter, sample, parts = KindCounter(), TrialSample(), PartCounter()
    with byte_bar(path) as bar:
        for block in iter_scored_trials(path, trials, need_ids=speakers is not None or bool(conditions)):
            counter.add(block)
            parts.add(block, conditions_of(block, conditions))
            if speakers is not None:
                sample.add(speakers.trials(block))
            bar.update(block.num_bytes)
    entry = measure(counter.sorted_scores(), columns)
    if entry["eer"] > 50:
        log.warning(
            "%s: EER %.1f %%, targets score below non-targets; are these distances? negate them", path, entry["eer"]
        )
    if speakers is not None:
        (kept,) = sample.trials(path)
        try:
            entry["interval"] = intervals(kept, entry, columns)
        except FewSpeakers as error:
            log.warning("%s: no intervals: %s", list_name((trials or path).name), error)
    if found := parts.parts(columns):
        entry["breakdown"] = found
    return entry


def speakers_of(trials: Path, options: MeasureOptions) -> Speakers | None:
    """Read the speakers of the options or of the data dir that the trial list is in; None: no intervals."""
    path = options.utt2spk or trials.parent.parent / "utt2spk"
    if not options.intervals or not (options.utt2spk or path.is_file()):
        return None
    return read_speakers(path, options.enroll_map)


def _common_origin(exp_dir: Path) -> dict[str, Any]:
    """Return what all entries of this call share."""
    config = exp_dir / "config.yaml"
    return {
        "config_sha256": sha256_of(config) if config.is_file() else None,
        "commit": git_commit(Path(__file__).resolve().parent),
        "command": shlex.join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
