"""Quality measures of a trial for calibration: how far its score can be trusted.

Each measure gives four features of the two sides: the lesser, the greater, their difference and their ratio. WeSpeaker
does so, too, but with the ratio of the greater to the lesser, which has no bound where a cohort mean is about 0.

    duration    seconds, no more than 20
    magnitude   length of the embedding
    cohort      mean of the side's scores with the cohort, columns 7 and 8 of a normalized score file
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, suggest
from sv.io import DataDir, ScoredTrials
from sv.scoring.cosine import read_embeddings

Doubles = NDArray[np.float64]

MEASURES = ["duration", "magnitude", "cohort"]
_LONGEST_S = 20.0
_FACTORS = ("min", "max", "difference", "ratio")


def feature_names(measures: Sequence[str]) -> list[str]:
    """Return the names of the features of `Features`.

    Raises:
        UserError: an unknown measure, or one that comes twice.
    """
    if len(set(measures)) < len(measures):
        raise UserError(f"quality measures {' '.join(measures)}: give each once")
    unknown = next((name for name in measures if name not in MEASURES), None)
    if unknown is not None:
        raise UserError(f"unknown quality measure {unknown!r}{suggest(unknown, MEASURES)}")
    return ["score", *(f"{measure}_{factor}" for measure in measures for factor in _FACTORS)]


class Features:
    """Features of trials; the tables that they are looked up in are read once.

    Args:
        measures: some of MEASURES.
        data_dir: with utt2dur, for durations.
        xvector_scp: for magnitudes.

    Raises:
        UserError: an unknown measure; a file that is missing.
    """

    def __init__(
        self, measures: Sequence[str], *, data_dir: Path | None = None, xvector_scp: Path | None = None
    ) -> None:
        self.names = feature_names(measures)
        self._tables = {
            measure: None if measure == "cohort" else _table(measure, data_dir, xvector_scp) for measure in measures
        }

    def of(self, scores: ScoredTrials) -> Doubles:
        """Return the features of a block of a score file, (trials, 1 + 4 measures).

        Raises:
            UserError: a table that lacks an utterance; scores that are not normalized.
        """
        columns = [scores.values]
        for found in self._tables.values():
            columns += factors(*(_cohort_means(scores) if found is None else scores.both_sides(*found)))
        return np.column_stack(columns)


def _cohort_means(scores: ScoredTrials) -> tuple[Doubles, Doubles]:
    if scores.more.shape[1] < 4:
        raise UserError(f"{scores.path}: no cohort means; they come with normalized scores (stage 6)")
    return scores.more[:, 2], scores.more[:, 3]


def factors(one: Any, other: Any) -> list[Doubles]:
    """Return lesser, greater, difference and ratio of two values, or of two arrays of them.

    The ratio is that of the one nearer to 0 to the other, from -1 to 1: of positive values the lesser by the greater.
    """
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    low, high = np.minimum(one, other), np.maximum(one, other)
    nearer, farther = np.where(np.abs(low) <= np.abs(high), [low, high], [high, low])
    ratio = np.divide(nearer, farther, out=np.ones_like(farther), where=farther != 0)  # 0 and 0 are equal
    return [low, high, high - low, ratio]


def clip_duration(seconds: Any) -> Doubles:
    """Return seconds, clipped at the longest duration that counts."""
    return np.minimum(np.asarray(seconds, dtype=np.float64), _LONGEST_S)


def _table(measure: str, data_dir: Path | None, xvector_scp: Path | None) -> tuple[dict[str, float], Path]:
    if measure == "duration":
        if data_dir is None:
            raise UserError("quality measure duration: no data dir with utt2dur is given")
        durations = DataDir(data_dir).utt2dur
        return {utt: float(clip_duration(seconds)) for utt, seconds in durations.items()}, data_dir / "utt2dur"
    if xvector_scp is None:
        raise UserError("quality measure magnitude: no xvector.scp is given")
    vectors = read_embeddings(xvector_scp)
    return dict(zip(vectors.ids, np.linalg.norm(vectors.matrix, axis=1).tolist(), strict=True)), xvector_scp
