"""Write score files: lines `enroll test 0.12345 target|nontarget`, with WeSpeaker's five decimals.

The lines of a block are columns of bytes of fixed width, filled up with zero bytes, which are left out at the end. That
is three times as fast as a format string, and gives the same text (bench/score.py).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io.trials import Trials

Bytes = NDArray[np.bytes_]

_LINES = 1 << 14  # written at a time
_HEADS = 10_000  # numbers below this are put together from tables
_NEAR_TIE = 1e-4  # of the last decimal: where a product in float64 may round the other way than the decimal text


class ScoreWriter:
    """Append the lines of blocks of trials to a file that is open for text."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._enroll, self._test = _Encoded(), _Encoded()

    def write(
        self, trials: Trials, scores: NDArray[np.floating[Any]], factors: Sequence[NDArray[np.floating[Any]]] = ()
    ) -> None:
        """Append one line for each trial of a block.

        Args:
            trials: the block; its labels are written if it has them.
            scores: (trials,).
            factors: each (trials,); further columns with four decimals after the label. Without labels they are left
                out.

        Raises:
            UserError: a score or a factor is NaN or infinite.
        """
        _check(trials, scores, "score")
        for factor in factors:
            _check(trials, factor, "factor of normalization")
        enroll = self._enroll.of(trials.enroll_ids)
        test = enroll if trials.test_ids is trials.enroll_ids else self._test.of(trials.test_ids)
        labels = np.array([b" nontarget", b" target"])
        for start in range(0, len(trials), _LINES):
            rows = slice(start, start + _LINES)
            pair: list[Bytes | bytes] = [enroll.take(trials.enroll[rows]), b" ", test.take(trials.test[rows])]
            columns = pair + decimals(scores[rows], 5)
            if trials.is_target is not None:
                columns.append(labels.take(trials.is_target[rows]))
                for factor in factors:
                    columns += decimals(factor[rows], 4)
            self._file.write(_join([*columns, b"\n"], len(scores[rows])).decode())


class _Encoded:
    """Ids as bytes, encoded once; a list that has only grown since is encoded from there on."""

    def __init__(self) -> None:
        self._ids: NDArray[np.object_] = np.empty(0, dtype=object)
        self._bytes: Bytes = np.empty(0, dtype="S1")

    def of(self, ids: NDArray[np.object_]) -> Bytes:
        """Return the ids (ids,) as bytes of one width."""
        if ids is not self._ids:
            known = len(self._ids)
            if len(ids) < known or not np.array_equal(ids[:known], self._ids):
                known = 0
            added = np.array([name.encode() for name in ids[known:]], dtype=np.bytes_)
            self._ids, self._bytes = ids, np.concatenate([self._bytes[:known], added])
        return self._bytes


def decimals(values: NDArray[np.floating[Any]], places: int) -> list[Bytes | bytes]:
    """Return columns that, side by side, are a space and each value with `places` decimals, rounded as "%.5f" does.

    Args:
        values: (trials,), finite.
        places: decimals.
    """
    sizes = np.abs(values.astype(np.float64)) * 10**places
    if not len(values) or sizes.max() >= (_HEADS - 1) * 10**places:
        return [np.array([f" {value:.{places}f}".encode() for value in values.tolist()], dtype=np.bytes_)]
    units = np.rint(sizes)
    for row in np.flatnonzero(np.abs(sizes - np.floor(sizes) - 0.5) < _NEAR_TIE):
        units[row] = int(f"{abs(float(values[row])):.{places}f}".replace(".", ""))
    whole, rest = np.divmod(units.astype(np.int64), 10**places)
    return [_heads().take(whole + _HEADS * np.signbit(values)), _tails(places).take(rest)]


@lru_cache
def _heads() -> Bytes:
    """Return " 0." to " 9999.", then " -0." to " -9999."."""
    return np.array([f" {sign}{number}.".encode() for sign in ("", "-") for number in range(_HEADS)])


@lru_cache
def _tails(places: int) -> Bytes:
    """Return "00000" to "99999", for five places."""
    return np.array([f"{number:0{places}d}".encode() for number in range(10**places)])


def _join(columns: Sequence[Bytes | bytes], lines: int) -> bytes:
    """Return the columns side by side, without the zeros that fill them up; a column of one value is for all lines."""
    table = np.empty(lines, [(str(n), np.asarray(column).dtype) for n, column in enumerate(columns)])
    for number, column in enumerate(columns):
        table[str(number)] = column
    return table.tobytes().translate(None, b"\0")


def _check(trials: Trials, values: NDArray[np.floating[Any]], what: str) -> None:
    assert values.shape == trials.enroll.shape, f"{values.shape} values for {trials.enroll.shape} trials"
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        pair = f"{trials.enroll_ids[trials.enroll[row]]} and {trials.test_ids[trials.test[row]]}"
        raise UserError(
            f"{trials.path}:{trials.first_line + row}: the {what} of {pair} is {values[row]}; extract again"
        )
