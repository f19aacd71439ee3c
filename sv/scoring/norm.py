"""Score normalization: a trial's cosine relative to what its two sides score with a cohort of other speakers.

    znorm   (s - mean_e) / std_e                                    enroll against the cohort
    tnorm   (s - mean_t) / std_t                                    test against the cohort
    snorm   half the sum of both
    asnorm  the same, with mean and deviation over the top_n nearest of the cohort, chosen for each side on its own

Matejka et al., "Analysis of Score Normalization in Multilingual Speaker Recognition", Interspeech 2017 (asnorm is its
AS-Norm1). The cohort holds one vector per speaker: the mean over whole utterances, so that nothing is random.

An utterance is scored with the cohort once, when a trial first needs it, in blocks of a few megabytes. Memory does not
grow with the number of trials.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, suggest
from sv.io import Trials, Vectors
from sv.scoring.backends import NORMALIZATIONS
from sv.scoring.cosine import cosine_scores, read_embeddings, read_sides, unit_vectors
from sv.scoring.inputs import Inputs
from sv.scoring.score_list import Column, ScoreBlock, Scorer

Floats = NDArray[np.float32]

METHODS = list(NORMALIZATIONS)
_BLOCK = 1 << 21  # scores of a block, 8 MiB
_LEAST_STD = 1e-6  # a float32 cosine near 1 is no finer than 1e-7


def check_method(method: str, top_n: int, num_cohort: int, *, source: str | Path = "the cohort") -> int:
    """Return how many of the cohort count for each utterance: top_n for asnorm, all for the others.

    Args:
        method: name in METHODS.
        top_n: used only by asnorm.
        num_cohort: speakers in the cohort.
        source: where the cohort comes from, for errors.

    Raises:
        UserError: an unknown method, a cohort of fewer than two or than top_n (the largest valid one is named).
    """
    if method not in METHODS:
        raise UserError(f"unknown score normalization {method!r}{suggest(method, METHODS)}")
    if num_cohort < 2:
        raise UserError(f"{source} has {num_cohort} speakers; score normalization needs two or more")
    if method != "asnorm":
        return num_cohort
    if not 2 <= top_n <= num_cohort:
        raise UserError(f"top_n is {top_n}, but {source} has {num_cohort} speakers; set it to 2 to {num_cohort}")
    return top_n


def load_norm(inputs: Inputs, *, method: str, top_n: int = 300) -> Scorer:
    """Return a scorer by the normalized cosine.

    Further columns have the length of both embeddings, and the mean of both sides' scores with the cohort.

    Args:
        inputs: with a cohort, and a mean if one is to be subtracted.
        method: name in METHODS.
        top_n: see `check_method`.
    """
    cohort_scp, sides = inputs.needed("cohort"), read_sides(inputs)
    cohort = read_embeddings(cohort_scp, "make it with steps/compute_spk_means.py (stage 6)")
    cohort = unit_vectors(cohort, mean=sides.mean, source=cohort_scp)
    unit, models = sides.unit, sides.models
    test_length = magnitudes(sides.vectors, sides.mean)
    enroll_length = model_magnitudes(test_length, sides.vectors, sides.utts_of) if sides.utts_of else test_length
    check_method(method, top_n, len(cohort.ids), source=cohort_scp)

    def begin_list() -> ScoreBlock:
        """Score the cohort again for each list: no score depends on another list, not even in rounding."""
        norm = ScoreNorm(unit, cohort, models, method=method, top_n=top_n, source=cohort_scp)

        def score(block: Trials) -> list[Column]:
            scores, *cohort_means = norm.normalize(block)
            return [scores, enroll_length[block.enroll], test_length[block.test], *cohort_means]

        return score

    return Scorer(
        inputs,
        begin_list,
        test_ids=unit.ids,
        enroll_ids=models.ids if models else None,
        made_from={"mean": inputs.files.get("mean"), "cohort": cohort_scp.with_suffix(".ark")},
        settings={"method": method, **({"top_n": top_n} if method == "asnorm" else {})},
    )


class CohortScores:
    """Mean and deviation of each vector's highest scores with the cohort.

    Args:
        unit: (utterances, dim), of length 1.
        cohort: (cohort, dim), of length 1.
        top_n: number of highest scores used.
        source: where the cohort comes from, for errors.

    Attributes:
        mean, std: (utterances,) float32; NaN before `compute` was asked for a row.

    Raises:
        UserError: a cohort of another dimension.
    """

    def __init__(self, unit: Vectors, cohort: Floats, top_n: int, *, source: str | Path = "the cohort") -> None:
        dim = unit.matrix.shape[1]
        if cohort.shape[1] != dim:
            raise UserError(
                f"{source}: vectors of dimension {cohort.shape[1]}, the embeddings have {dim}; "
                "make the cohort from embeddings of the same model (steps/compute_spk_means.py)"
            )
        self.mean = np.full(len(unit.ids), np.nan, dtype=np.float32)
        self.std = np.full(len(unit.ids), np.nan, dtype=np.float32)
        self._unit, self._cohort, self._top_n, self._source = unit, cohort, top_n, source

    def compute(self, rows: NDArray[np.int32]) -> None:
        """Compute mean and deviation of these rows, unless they are known.

        Raises:
            UserError: the highest scores of an utterance are all equal.
        """
        asked = np.zeros(len(self.mean), dtype=np.bool_)
        asked[rows] = True
        missing = np.flatnonzero(asked & np.isnan(self.mean))
        size = max(1, _BLOCK // len(self._cohort))
        for start in range(0, len(missing), size):
            self._compute_block(missing[start : start + size])

    def _compute_block(self, rows: NDArray[np.intp]) -> None:
        scores = self._unit.matrix[rows] @ self._cohort.T  # (rows, cohort)
        others = scores.shape[1] - self._top_n
        if others:
            scores.partition(others, axis=1)
        top = scores[:, others:]
        mean, std = top.mean(axis=1), top.std(axis=1)
        if std.min() < _LEAST_STD:
            name = self._unit.ids[rows[int(np.argmin(std))]]
            raise UserError(
                f"{self._source}: {name} scores the same with each of the {self._top_n} nearest speakers; "
                "the cohort needs different speakers"
            )
        self.mean[rows], self.std[rows] = mean, std


class ScoreNorm:
    """Normalized cosine scores of trials.

    Args:
        unit: result of `unit_vectors`, (utterances, dim).
        cohort: result of `unit_vectors`, (cohort, dim), centered by the same mean.
        enroll: result of `enroll_models`, (models, dim); None: enroll on the utterances.
        method: name in METHODS.
        top_n: see `check_method`.
        source: where the cohort comes from, for errors.
    """

    def __init__(
        self,
        unit: Vectors,
        cohort: Vectors,
        enroll: Vectors | None = None,
        *,
        method: str = "asnorm",
        top_n: int = 300,
        source: str | Path = "the cohort",
    ) -> None:
        count = check_method(method, top_n, len(cohort.ids), source=source)
        self.test = CohortScores(unit, cohort.matrix, count, source=source)
        self.enroll = self.test if enroll is None else CohortScores(enroll, cohort.matrix, count, source=source)
        self._unit, self._models, self._method = unit, enroll, method

    def normalize(self, trials: Trials) -> tuple[Floats, Floats, Floats]:
        """Return (scores, cohort mean of enroll, cohort mean of test) of a block; each (trials,) float32."""
        self.enroll.compute(trials.enroll)
        self.test.compute(trials.test)
        scores = cosine_scores(trials, self._unit, self._models)
        enroll_mean, test_mean = self.enroll.mean[trials.enroll], self.test.mean[trials.test]
        by_enroll = (scores - enroll_mean) / self.enroll.std[trials.enroll]
        by_test = (scores - test_mean) / self.test.std[trials.test]
        if self._method == "znorm":
            return by_enroll, enroll_mean, test_mean
        if self._method == "tnorm":
            return by_test, enroll_mean, test_mean
        return np.float32(0.5) * (by_enroll + by_test), enroll_mean, test_mean


def magnitudes(vectors: Vectors, mean: Floats | None = None) -> Floats:
    """Return the length of each embedding after the mean was subtracted; (utterances,)."""
    lengths = np.empty(len(vectors.ids), dtype=np.float32)
    size = max(1, _BLOCK // vectors.matrix.shape[1])
    for start in range(0, len(lengths), size):
        rows = vectors.matrix[start : start + size]
        lengths[start : start + size] = np.linalg.norm(rows if mean is None else rows - mean, axis=1)
    return lengths


def model_magnitudes(lengths: Floats, vectors: Vectors, utts_of: Mapping[str, Sequence[str]]) -> Floats:
    """Return the mean length of the embeddings of each enroll model; (models,)."""
    rows = ([vectors.index[utt] for utt in utts] for utts in utts_of.values())
    return np.array([lengths[of_model].mean() for of_model in rows], dtype=np.float32)
