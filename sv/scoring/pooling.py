"""Pool the scores of the folds of a cross-validation into one list, calibrated and fused by cross-fitting.

The scores of a fold are calibrated on those of all other folds, so no trial is calibrated on itself. Each score is of a
network that has not heard the two speakers. So many more speakers decide than the few that a training holds out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, WrongCall
from sv.io import ScoreWriter, Trials, atomic_write, check_scores_of_list, iter_same_trials, iter_scored_trials
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists, speakers_of
from sv.metrics.provenance import FUSED, mark_pooled
from sv.metrics.results import CALIBRATED, Results, keep_backends, list_name, read_results
from sv.scoring.calibration import fit


def pool_scores(
    exp_dir: Path,
    folds: Sequence[Path],
    trials_dir: Path,
    *,
    p_target: float = 0.05,
    enroll_map: Path | None = None,
) -> str:
    """Join, calibrate and fuse the score files that all folds have, measure them and return the printed lines.

    Raw scores are joined, too: the difference shows what the calibration does. Scores that a fold has calibrated itself
    are left out. All scores of a list are held. Earlier results of these lists by other back-ends are removed.

    Args:
        exp_dir: gets scores/ and results.json, as an experiment folder has them.
        folds: experiment folders, in the order in which the lists of `trials_dir` were joined.
        trials_dir: the lists of all folds as one, with utt2spk beside that folder.
        p_target: prior that calibration and fusion are optimized for.
        enroll_map: utterances of each enroll model of all folds; None: "enroll" is an utterance.

    Raises:
        WrongCall: a single fold.
        UserError: `exp_dir` is a fold; a fold has no results; no list and back-end is common to all; the scores of the
            folds are not over the joined lists; see `fit`, `measure_lists` and `Speakers.trials`.
    """
    if len(folds) < 2:
        raise WrongCall(f"{folds[0]} is a single fold; give two or more: each is calibrated on the others")
    if exp_dir.resolve() in {fold.resolve() for fold in folds}:
        raise UserError(f"{exp_dir} is a fold, whose scores would be overwritten; give another folder")
    common = _common([read_results(fold / "results.json") for fold in folds])
    if not common:
        raise UserError(f"{', '.join(map(str, folds))}: no list is scored by one back-end in all; score them alike")
    options = MeasureOptions(enroll_map=enroll_map)
    for trials, names in common.items():
        for name in names.values():
            _check_whole([fold / "scores" / name for fold in folds], trials_dir / trials, options)
    keep_backends(exp_dir, {trials: _made_of(names) for trials, names in common.items()})
    printed = []
    for trials, names in common.items():
        for backend, name in names.items():
            files = [fold / "scores" / name for fold in folds]
            with atomic_write(exp_dir / "scores" / name) as f:
                f.writelines(path.read_text().rstrip("\n") + "\n" for path in files)  # one may lack the last newline
            printed.append(_measure(exp_dir, trials_dir / trials, backend, name, files, options))
            _cross_fit([[path] for path in files], exp_dir / "scores" / f"cali_{name}", p_target)
            calibrated = backend + CALIBRATED, f"cali_{name}", files
            printed.append(_measure(exp_dir, trials_dir / trials, *calibrated, replace(options, llr=True)))
        if len(names) > 1:
            fused = f"{FUSED}_{trials}.score"
            of_folds = [[fold / "scores" / name for name in names.values()] for fold in folds]
            _cross_fit(of_folds, exp_dir / "scores" / fused, p_target)
            files = [path for of_fold in of_folds for path in of_fold]
            printed.append(_measure(exp_dir, trials_dir / trials, FUSED, fused, files, replace(options, llr=True)))
    return "".join(printed)


def _measure(
    exp_dir: Path, trials: Path, backend: str, name: str, sources: Sequence[Path], options: MeasureOptions
) -> str:
    """Mark and measure the scores of a joined list, in the file of that name, and return the printed lines."""
    mark_pooled(exp_dir / "scores" / name, trials, sources, backend)
    lists = ScoredLists(exp_dir, [trials], backend, name.removesuffix(f"{trials.name}.score"))
    return measure_lists(lists, f"pooled_{backend}_{list_name(trials.name)}_result", options)


def _common(results: Sequence[Results]) -> dict[str, dict[str, str]]:
    """Return list -> back-end -> name of the file of its raw scores, of those that all folds have.

    Raises:
        UserError: a file has another name in another fold.
    """
    found: dict[str, dict[str, str]] = {}
    for trials, entries in results[0].items():
        for backend, entry in entries.items():
            if "cllr" in entry or not all(backend in other.get(trials, {}) for other in results):
                continue
            names = {Path(result[trials][backend]["score_file"]).name for result in results}
            if len(names) > 1:
                raise UserError(
                    f"{trials}, {backend}: the folds' score files are named {', '.join(sorted(names))}; "
                    "score them alike"
                )
            found.setdefault(trials, {})[backend] = names.pop()
    return found


def _made_of(backends: Collection[str]) -> list[str]:
    """Return what the results of a list are filed under that these back-ends have scored."""
    return [*backends, *(name + CALIBRATED for name in backends), *([FUSED] if len(backends) > 1 else [])]


def _check_whole(files: Sequence[Path], trials: Path, options: MeasureOptions) -> None:
    """Refuse folds that are missing, in another order or given twice: the last calibrates trials on themselves.

    Refuse also trials whose speakers are not known or do not fit the labels.
    """
    try:
        check_scores_of_list(files, trials)
    except UserError as error:
        raise UserError(f"give all folds of {trials.parent} once, in the order of its lists: {error}") from error
    if speakers := speakers_of(trials, options):
        for path in files:
            for block in iter_scored_trials(path):
                speakers.trials(block)


@dataclass(frozen=True)
class _Fold:
    """Scores of a fold by one or more back-ends.

    Attributes:
        trials: its trials, in blocks.
        scores: (trials, back-ends).
        is_target: (trials,) bool.
    """

    trials: list[Trials]
    scores: NDArray[np.float64]
    is_target: NDArray[np.bool_]


def _read(files: Sequence[Path]) -> _Fold:
    blocks = list(iter_same_trials(files))
    scores = [np.column_stack([backend.values for backend in block]) for block in blocks]
    labels = [block[0].labels() for block in blocks]
    return _Fold([block[0].as_trials() for block in blocks], np.concatenate(scores), np.concatenate(labels))


def _cross_fit(files: Sequence[Sequence[Path]], out: Path, p_target: float) -> None:
    """Write log-likelihood ratios of all folds: the scores of each are calibrated, or fused, on those of the others.

    Args:
        files: for each fold the score files of the back-ends.
        out: file to write.
        p_target: prior at which decisions matter most.
    """
    folds, names = [_read(of_fold) for of_fold in files], [path.name for path in files[0]]
    with atomic_write(out) as f:
        writer = ScoreWriter(f)
        for number, fold in enumerate(folds):
            others = folds[:number] + folds[number + 1 :]
            scores = np.concatenate([other.scores for other in others])
            is_target = np.concatenate([other.is_target for other in others])
            try:
                calibration = fit(scores, is_target, names, p_target=p_target, nonnegative=True)
            except UserError as error:
                raise UserError(f"{files[number][0]} cannot be calibrated on the other folds: {error}") from error
            ends = np.cumsum([len(block) for block in fold.trials])[:-1]
            for block, llrs in zip(fold.trials, np.split(calibration.llrs(fold.scores), ends), strict=True):
                writer.write(block, llrs)
