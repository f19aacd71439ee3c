"""Score files: lines `enroll test 0.12345 target|nontarget`, with WeSpeaker's five decimals.

Metrics are measured on these files, that is on rounded scores: two trials whose scores agree to five decimals are tied.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io.columns import Columns, iter_columns, parse_labels
from sv.io.trials import Trials

_LINES = 1 << 12  # formatted at a time


@dataclass(frozen=True)
class Scores:
    """A score file without its ids.

    Attributes:
        values: (trials,) float64.
        is_target: (trials,) bool; None where the file has no labels.
    """

    values: NDArray[np.float64]
    is_target: NDArray[np.bool_] | None


def write_scores(
    file: IO[str],
    trials: Trials,
    scores: NDArray[np.floating[Any]],
    factors: Sequence[NDArray[np.floating[Any]]] = (),
) -> None:
    """Append one line for each trial of a block.

    Args:
        file: open for text.
        trials: the block; its labels are written if it has them.
        scores: (trials,).
        factors: each (trials,); further columns of four decimals behind the label, left out where there is none.

    Raises:
        UserError: a score is NaN or infinite.
    """
    assert scores.shape == trials.enroll.shape, f"{scores.shape} scores for {trials.enroll.shape} trials"
    finite = np.isfinite(scores)
    if not finite.all():
        row = int(np.argmin(finite))
        pair = f"{trials.enroll_ids[trials.enroll[row]]} and {trials.test_ids[trials.test[row]]}"
        raise UserError(f"{trials.path}:{trials.first_line + row}: the score of {pair} is {scores[row]}; extract again")
    line = "%s %s %.5f\n" if trials.is_target is None else f"%s %s %.5f %s{' %.4f' * len(factors)}\n"
    label = np.array(["nontarget", "target"], dtype=object)
    for start in range(0, len(trials), _LINES):
        rows = slice(start, start + _LINES)
        columns = [
            trials.enroll_ids[trials.enroll[rows]],
            trials.test_ids[trials.test[rows]],
            scores[rows].astype(object),
        ]
        if trials.is_target is not None:
            columns.append(label[trials.is_target[rows].astype(np.intp)])
            columns += [factor[rows].astype(object) for factor in factors]
        words = np.stack(columns, axis=1)  # (lines, columns) of objects
        # One format for all is twice as fast as one a line.
        file.write(line * len(words) % tuple(words.ravel().tolist()))


def read_scores(path: str | Path) -> Scores:
    """A whole score file; see `iter_scores`."""
    blocks = list(iter_scores(path))
    labels = [block.is_target for block in blocks if block.is_target is not None]
    return Scores(np.concatenate([block.values for block in blocks]), np.concatenate(labels) if labels else None)


def iter_scores(path: str | Path) -> Iterator[Scores]:
    """Blocks of a score file; columns after the label are left alone (a normalized score file has eight).

    Raises:
        UserError: a missing or empty file, a wrong number of columns, a score that is no finite number, a wrong label.
    """
    for columns in iter_columns(path, "enroll test score target|nontarget", range(3, 100)):
        labels = parse_labels(columns, 3) if len(columns.words) > 3 else None
        yield Scores(_numbers(columns.words[2], columns), labels)


def _numbers(words: list[bytes], columns: Columns) -> NDArray[np.float64]:
    try:
        values = np.fromiter(map(float, words), dtype=np.float64, count=len(words))
    except ValueError:
        values = np.array([_number_or_nan(word) for word in words])
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        shown = words[row].decode(errors="replace")[:80]
        raise UserError(f"{columns.where(row)}: score {shown!r} is not a finite number; score again")
    return values


def _number_or_nan(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
