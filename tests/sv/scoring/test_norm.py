"""Score normalization against one trial at a time in float64."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import ScoreWriter, Trials, Vectors, read_trials
from sv.scoring.cosine import enroll_models, unit_vectors
from sv.scoring.norm import ScoreNorm, magnitudes, model_magnitudes

IDS = [f"u{i}" for i in range(9)]
COHORT = [f"s{i}" for i in range(12)]


@pytest.fixture
def unit() -> Vectors:
    rng = np.random.default_rng(0)
    return unit_vectors(Vectors(IDS, rng.normal(size=(9, 6)).astype(np.float32)))


@pytest.fixture
def cohort() -> Vectors:
    rng = np.random.default_rng(1)
    return unit_vectors(Vectors(COHORT, rng.normal(size=(12, 6)).astype(np.float32)))


def read_all(folder: Path, pairs: list[tuple[str, str]], known_enroll: list[str] | None = None) -> Trials:
    path = folder / "trials"
    path.write_text("".join(f"{x} {y} target\n" for x, y in pairs))
    (block,) = read_trials(path, IDS, known_enroll=known_enroll)
    return block


def slow_norm(enroll: np.ndarray, test: np.ndarray, cohort: np.ndarray, method: str, top_n: int) -> float:
    enroll, test, cohort = (array.astype(np.float64) for array in (enroll, test, cohort))
    sides = []
    for side in (enroll, test):
        scores = sorted((float(side @ other) for other in cohort), reverse=True)
        top = scores[: top_n if method == "asnorm" else len(scores)]
        mean = sum(top) / len(top)
        sides.append((float(enroll @ test) - mean) / (sum((s - mean) ** 2 for s in top) / len(top)) ** 0.5)
    return {"znorm": sides[0], "tnorm": sides[1]}.get(method, sum(sides) / 2)


@pytest.mark.parametrize(
    ("method", "top_n"), [("asnorm", 2), ("asnorm", 5), ("asnorm", 12), ("snorm", 5), ("znorm", 5), ("tnorm", 5)]
)
@pytest.mark.parametrize("block", [1, 30, 1 << 21])
def test_scores_equal_one_trial_at_a_time(
    tmp_path: Path, unit: Vectors, cohort: Vectors, method: str, top_n: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sv.scoring.norm._BLOCK", block)
    pairs = [(x, y) for x in IDS[:5] for y in IDS[3:]]
    norm = ScoreNorm(unit, cohort, method=method, top_n=top_n)
    scores, _, _ = norm.normalize(read_all(tmp_path, pairs))
    assert scores.dtype == np.float32
    row = unit.index
    expected = [slow_norm(unit.matrix[row[x]], unit.matrix[row[y]], cohort.matrix, method, top_n) for x, y in pairs]
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=2e-5)


def test_cohort_means_are_those_of_the_nearest(tmp_path: Path, unit: Vectors, cohort: Vectors) -> None:
    _, enroll_mean, test_mean = ScoreNorm(unit, cohort, top_n=3).normalize(read_all(tmp_path, [("u0", "u7")]))
    nearest = np.sort(unit.matrix @ cohort.matrix.T, axis=1)[:, -3:].mean(axis=1)
    np.testing.assert_allclose([enroll_mean[0], test_mean[0]], [nearest[0], nearest[7]], atol=1e-6)


def test_only_utterances_of_the_trials_meet_the_cohort_and_once(
    tmp_path: Path, unit: Vectors, cohort: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = ScoreNorm(unit, cohort, top_n=3)
    met: list[int] = []
    compute: Callable[[np.ndarray], None] = norm.test._compute_block
    monkeypatch.setattr(norm.test, "_compute_block", lambda rows: (met.extend(rows.tolist()), compute(rows)))
    norm.normalize(read_all(tmp_path, [("u0", "u1"), ("u1", "u4")]))
    norm.normalize(read_all(tmp_path, [("u4", "u0"), ("u4", "u5")]))
    assert met == [0, 1, 4, 5]


def test_models_have_statistics_of_their_own(tmp_path: Path, unit: Vectors, cohort: Vectors) -> None:
    models = enroll_models(unit, {"m": ["u0", "u1", "u2"]})
    block = read_all(tmp_path, [("m", "u5")], known_enroll=models.ids)
    (score,), _, _ = ScoreNorm(unit, cohort, models, top_n=4).normalize(block)
    expected = slow_norm(models.matrix[0], unit.matrix[5], cohort.matrix, "asnorm", 4)
    assert score == pytest.approx(expected, abs=2e-5)


def test_magnitudes_are_lengths_after_the_mean() -> None:
    vectors = Vectors(["a", "b", "c"], np.array([[4, 5], [1, 1], [1, 3]], dtype=np.float32))
    lengths = magnitudes(vectors, np.ones(2, dtype=np.float32))
    assert lengths.tolist() == [5, 0, 2]
    assert model_magnitudes(lengths, vectors, {"m": ["a", "c"], "n": ["b"]}).tolist() == [3.5, 0]


def test_lines_have_wespeakers_eight_columns(tmp_path: Path) -> None:
    file = io.StringIO()
    one = np.array([0.5], dtype=np.float32)
    ScoreWriter(file).write(read_all(tmp_path, [("u0", "u1")]), one, [20 * one, one, -one, one / 3])
    assert file.getvalue() == "u0 u1 0.50000 target 10.0000 0.5000 -0.5000 0.1667\n"


def test_top_n_above_the_cohort_names_the_largest(unit: Vectors, cohort: Vectors) -> None:
    with pytest.raises(UserError, match=r"top_n is 300, but c\.scp has 12 speakers; set it to 2 to 12"):
        ScoreNorm(unit, cohort, top_n=300, source="c.scp")
    with pytest.raises(UserError, match="top_n is 1, but"):
        ScoreNorm(unit, cohort, top_n=1)


def test_cohort_of_one_speaker_is_refused(unit: Vectors, cohort: Vectors) -> None:
    with pytest.raises(UserError, match="has 1 speakers; score normalization needs two or more"):
        ScoreNorm(unit, Vectors(["s0"], cohort.matrix[:1]), method="snorm")


def test_unknown_method_is_named(unit: Vectors, cohort: Vectors) -> None:
    with pytest.raises(UserError, match="unknown score normalization 'asnrm'; did you mean 'asnorm'"):
        ScoreNorm(unit, cohort, method="asnrm")


def test_cohort_of_another_dimension_is_refused(unit: Vectors, cohort: Vectors) -> None:
    with pytest.raises(UserError, match=r"c\.scp: vectors of dimension 5, the embeddings have 6"):
        ScoreNorm(unit, Vectors(COHORT, cohort.matrix[:, :5]), top_n=3, source="c.scp")


def test_cohort_of_one_and_the_same_vector_is_refused(tmp_path: Path, unit: Vectors, cohort: Vectors) -> None:
    same = Vectors(COHORT, np.repeat(cohort.matrix[:1], 12, axis=0))
    with pytest.raises(UserError, match=r"c\.scp: u0 scores the same with each of the 3 nearest speakers"):
        ScoreNorm(unit, same, top_n=3, source="c.scp").normalize(read_all(tmp_path, [("u0", "u1")]))
