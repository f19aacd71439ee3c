"""Cosine scores against one trial at a time in float64."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import Vectors, read_trials
from sv.scoring.cosine import cosine_scores, enroll_models, pair_dots, unit_vectors

IDS = ["a1", "a2", "b1", "b2"]


@pytest.fixture
def vectors() -> Vectors:
    rng = np.random.default_rng(0)
    return Vectors(IDS, rng.normal(1, 3, (4, 8)).astype(np.float32))


def slow_cosine(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def write_list(folder: Path, lines: list[str]) -> Path:
    path = folder / "trials"
    path.write_text("".join(line + "\n" for line in lines))
    return path


@pytest.mark.parametrize("centered", [False, True])
def test_scores_equal_one_trial_at_a_time(tmp_path: Path, vectors: Vectors, centered: bool) -> None:
    mean = vectors.matrix.mean(axis=0) if centered else None
    shifted = vectors.matrix - (0 if mean is None else mean)
    pairs = [(x, y) for x in IDS for y in IDS]
    (block,) = read_trials(write_list(tmp_path, [f"{x} {y} target" for x, y in pairs]), IDS)
    scores = cosine_scores(block, unit_vectors(vectors, mean=mean))
    assert scores.dtype == np.float32
    expected = [slow_cosine(shifted[IDS.index(x)], shifted[IDS.index(y)]) for x, y in pairs]
    np.testing.assert_allclose(scores, expected, atol=3e-7)


@pytest.mark.parametrize("pairs", [0, 1, 2047, 2048, 5000])
def test_blocks_of_pairs_give_each_dot_product(pairs: int) -> None:
    rng = np.random.default_rng(pairs)
    left, right = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(9, 5)).astype(np.float32)
    i, j = rng.integers(0, 7, pairs).astype(np.int32), rng.integers(0, 9, pairs).astype(np.int32)
    expected = [float(left[a].astype(np.float64) @ right[b]) for a, b in zip(i, j, strict=True)]
    np.testing.assert_allclose(pair_dots(left, right, i, j), expected, atol=1e-5)


def test_score_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 33)).astype(np.float32)
    i, j = rng.integers(0, 50, (2, 3000)).astype(np.int32)
    whole = pair_dots(matrix, matrix, i, j)
    np.testing.assert_array_equal(pair_dots(matrix, matrix, i[1234:1240], j[1234:1240]), whole[1234:1240])


def test_utterance_with_itself_scores_one(vectors: Vectors) -> None:
    unit = unit_vectors(vectors)
    rows = np.arange(4, dtype=np.int32)
    np.testing.assert_allclose(pair_dots(unit.matrix, unit.matrix, rows, rows), 1, atol=3e-7)


def test_model_is_the_mean_of_unit_vectors(tmp_path: Path, vectors: Vectors) -> None:
    long = Vectors(IDS, vectors.matrix * np.array([[100], [1], [1], [1]], dtype=np.float32))
    unit = unit_vectors(long)
    models = enroll_models(unit, {"m": ["a1", "a2"], "single": ["b1"]})
    halves = [row / np.linalg.norm(row) for row in vectors.matrix[:2].astype(np.float64)]
    (block,) = read_trials(write_list(tmp_path, ["m b2 target", "single b2 target"]), IDS, known_enroll=models.ids)
    expected = [
        slow_cosine(halves[0] + halves[1], vectors.matrix[3]),
        slow_cosine(vectors.matrix[2], vectors.matrix[3]),
    ]
    np.testing.assert_allclose(cosine_scores(block, unit, models), expected, atol=3e-7)


@pytest.mark.parametrize(("value", "what"), [(0.0, "zero"), (np.nan, "not finite"), (np.inf, "not finite")])
def test_bad_embedding_is_refused_by_name(vectors: Vectors, value: float, what: str) -> None:
    vectors.matrix[2] = value
    with pytest.raises(UserError, match=f"exp/xvector.scp: the embedding of b1 is {what}"):
        unit_vectors(vectors, source="exp/xvector.scp")


def test_zero_embedding_is_refused_though_a_mean_moves_it(vectors: Vectors) -> None:
    vectors.matrix[2] = 0
    with pytest.raises(UserError, match="the embedding of b1 is zero"):
        unit_vectors(vectors, mean=np.ones(8, dtype=np.float32))


def test_embedding_equal_to_the_mean_is_refused(vectors: Vectors) -> None:
    with pytest.raises(UserError, match="the embedding of a2 is zero"):
        unit_vectors(vectors, mean=vectors.matrix[1].copy())


def test_mean_of_another_dimension_is_refused(vectors: Vectors) -> None:
    with pytest.raises(UserError, match=r"embeddings have dimension 8, the mean has shape \(4,\)"):
        unit_vectors(vectors, mean=np.zeros(4, dtype=np.float32))


def test_mean_that_is_not_finite_is_refused(vectors: Vectors) -> None:
    with pytest.raises(UserError, match="the mean has NaN or infinite values"):
        unit_vectors(vectors, mean=np.full(8, np.nan, dtype=np.float32))


def test_model_with_an_unknown_utterance_is_named(vectors: Vectors) -> None:
    with pytest.raises(UserError, match=r"map: c9 of model m is not in x.scp; extract it"):
        enroll_models(unit_vectors(vectors), {"m": ["a1", "c9"]}, source="x.scp", where="map")


def test_model_whose_utterances_cancel_out_is_named(vectors: Vectors) -> None:
    opposite = Vectors(IDS, np.array([[1, 0], [-1, 0], [0, 1], [0, 1]], dtype=np.float32))
    with pytest.raises(UserError, match="map: the embedding of m is zero"):
        enroll_models(opposite, {"m": ["a1", "a2"]}, where="map")
