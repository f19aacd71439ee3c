"""Pool the scores of several systems into one list: the folds of a cross-validation, each with its own test speakers.

Scores of different systems can be compared if they are calibrated. Raw ones are pooled, too: the difference shows what
the calibration of the folds does.
"""

from collections.abc import Sequence
from pathlib import Path

from sv.errors import UserError
from sv.io import atomic_write
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists
from sv.metrics.results import Results, read_results


def pool_scores(exp_dir: Path, folds: Sequence[Path], trials_dir: Path) -> str:
    """Join the score files that all folds have, measure them and return the printed lines.

    Args:
        exp_dir: gets scores/ and results.json, as an experiment folder has them.
        folds: experiment folders, in the order in which the lists of `trials_dir` were joined.
        trials_dir: the lists of all folds as one, with utt2spk beside that folder.

    Raises:
        UserError: a fold has no results; no list and back-end is common to all; see `measure_lists`.
    """
    results = [read_results(fold / "results.json") for fold in folds]
    printed = []
    for trials, backend in _common(results):
        names = {Path(result[trials][backend]["score_file"]).name for result in results}
        if len(names) > 1:
            raise UserError(
                f"{trials}, {backend}: the folds' score files are named {', '.join(sorted(names))}; score them alike"
            )
        name = names.pop()
        with atomic_write(exp_dir / "scores" / name) as f:
            for fold in folds:
                f.write((fold / "scores" / name).read_text())
        lists = ScoredLists(exp_dir, [trials_dir / trials], backend, name.removesuffix(f"{trials}.score"))
        options = MeasureOptions(llr=all("cllr" in result[trials][backend] for result in results))
        printed.append(measure_lists(lists, f"pooled_{backend}_{trials.removesuffix('.kaldi')}_result", options))
    if not printed:
        raise UserError(f"{', '.join(map(str, folds))}: no list is scored by one back-end in all; score them alike")
    return "".join(printed)


def _common(results: Sequence[Results]) -> list[tuple[str, str]]:
    """Return list and back-end of the entries that all have, in the order of the first."""
    return [
        (trials, backend)
        for trials, entries in results[0].items()
        for backend in entries
        if all(backend in other.get(trials, {}) for other in results)
    ]
