"""LDA, whitening and length normalization do what they say, and refuse data that is too small for them."""

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import Vectors
from sv.scoring.projection import Projection, make_projection
from sv.scoring.speakers import ClassStats, class_stats

DIM, NUM_SPEAKERS = 6, 9


@pytest.fixture
def data() -> tuple[Vectors, np.ndarray, ClassStats, np.ndarray]:
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(NUM_SPEAKERS), [2, 3, 4, 5, 6, 7, 8, 9, 10])
    mixing = rng.normal(size=(DIM, DIM))
    matrix = (rng.normal(0, 2, (NUM_SPEAKERS, DIM))[speaker] + rng.normal(size=(len(speaker), DIM))) @ mixing + 3
    vectors = Vectors([f"u{i}" for i in range(len(speaker))], matrix.astype(np.float32))
    return vectors, speaker, class_stats(vectors.matrix, speaker), vectors.matrix.mean(axis=0, dtype=np.float64)


def covariances(matrix: np.ndarray, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Within- and between-class covariance, each utterance counting the same; one utterance at a time."""
    wide = matrix.astype(np.float64)
    within, between = np.zeros((2, wide.shape[1], wide.shape[1]))
    for x, number in zip(wide, speaker, strict=True):
        mean = wide[speaker == number].mean(axis=0)
        within += np.outer(x - mean, x - mean) / len(wide)
        between += np.outer(mean - wide.mean(axis=0), mean - wide.mean(axis=0)) / len(wide)
    return within, between


@pytest.mark.parametrize("lda_dim", [1, 3, DIM])
def test_lda_makes_within_one_and_between_diagonal(data, lda_dim: int) -> None:
    vectors, speaker, stats, mean = data
    projected = make_projection(stats, mean, lda_dim=lda_dim, length_norm=False).apply(vectors)
    within, between = covariances(projected, speaker)
    np.testing.assert_allclose(within, np.eye(lda_dim), atol=1e-4)
    np.testing.assert_allclose(between, np.diag(np.diag(between)), atol=1e-3)
    assert (np.diff(np.diag(between)) <= 0).all()


def test_lda_keeps_the_directions_that_tell_speakers_best(data) -> None:
    vectors, speaker, stats, mean = data
    _, between = covariances(make_projection(stats, mean, lda_dim=2, length_norm=False).apply(vectors), speaker)
    all_within, all_between = covariances(vectors.matrix, speaker)
    ratios = np.sort(np.linalg.eigvals(np.linalg.solve(all_within, all_between)).real)[::-1]
    np.testing.assert_allclose(np.diag(between), ratios[:2], rtol=1e-3)


@pytest.mark.parametrize("lda_dim", [0, 3])
def test_whitening_makes_the_total_covariance_one(data, lda_dim: int) -> None:
    vectors, _, stats, mean = data
    projection = make_projection(stats, mean, lda_dim=lda_dim, whiten=True, length_norm=False)
    projected = projection.apply(vectors).astype(np.float64)
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(projected.T @ projected / len(projected), np.eye(lda_dim or DIM), atol=1e-3)


def test_plain_projection_centers_only(data) -> None:
    vectors, _, stats, mean = data
    projected = make_projection(stats, mean, length_norm=False).apply(vectors)
    np.testing.assert_allclose(projected, vectors.matrix - mean, atol=1e-5)


def test_length_is_the_root_of_the_dimension(data) -> None:
    vectors, _, stats, mean = data
    plain = make_projection(stats, mean, lda_dim=4, length_norm=False).apply(vectors)
    scaled = make_projection(stats, mean, lda_dim=4).apply(vectors)
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), 2, rtol=1e-6)
    np.testing.assert_allclose(scaled, 2 * plain / np.linalg.norm(plain, axis=1, keepdims=True), rtol=1e-5, atol=1e-6)


def test_offset_column_is_added_after_the_mean_was_subtracted() -> None:
    projection = Projection(np.ones(2, np.float32), np.array([[2, 0, 5], [0, 3, -6]], np.float32), length_norm=False)
    assert projection.apply(Vectors(["a"], np.array([[3, 2]], np.float32))).tolist() == [[9, -3]]


def test_too_many_lda_dimensions_name_the_most(data) -> None:
    _, _, stats, mean = data
    with pytest.raises(UserError, match=r"lda_dim is 7; 9 speakers and embeddings of dimension 6 give at most 6"):
        make_projection(stats, mean, lda_dim=7)
    few = ClassStats(stats.counts[:3], stats.means[:3], stats.scatter)
    with pytest.raises(UserError, match="lda_dim is 3; 3 speakers and embeddings of dimension 6 give at most 2"):
        make_projection(few, mean, lda_dim=3)


def test_lda_leaves_out_directions_without_variation(data, caplog) -> None:
    vectors, speaker, _, mean = data
    vectors.matrix[:, 5] = 7
    stats = class_stats(vectors.matrix, speaker)
    five = Vectors(vectors.ids, vectors.matrix[:, :5])
    alone = make_projection(class_stats(five.matrix, speaker), mean[:5], lda_dim=3).apply(five)
    projected = make_projection(stats, np.append(mean[:5], 7), lda_dim=3).apply(vectors)
    np.testing.assert_allclose(np.abs(projected), np.abs(alone), rtol=1e-3, atol=1e-4)  # up to the sign of directions
    assert "the embeddings vary in 5 of 6 directions; LDA leaves the others out" in caplog.text
    with pytest.raises(UserError, match="lda_dim is 6; 9 speakers and embeddings of dimension 5 give at most 5"):
        make_projection(stats, np.append(mean[:5], 7), lda_dim=6)


def test_lda_of_a_singular_within_class_covariance_is_refused(data) -> None:
    vectors, speaker, _, mean = data
    vectors.matrix[:, 1] = speaker  # varies between speakers only
    with pytest.raises(UserError, match="the within-class covariance is singular: 54 utterances of 9 speakers"):
        make_projection(class_stats(vectors.matrix, speaker), mean, lda_dim=2)


def test_whitening_of_too_few_directions_is_refused(data) -> None:
    vectors, speaker, _, _ = data
    vectors.matrix[:, 1] = 0
    mean = vectors.matrix.mean(axis=0, dtype=np.float64)
    with pytest.raises(UserError, match="vary in 5 of 6 directions only and cannot be whitened"):
        make_projection(class_stats(vectors.matrix, speaker), mean, whiten=True)


@pytest.mark.parametrize(("value", "what"), [(np.nan, "not finite"), (0.0, "zero;"), (3.0, "zero after projection")])
def test_bad_embedding_is_named(value: float, what: str) -> None:
    projection = Projection(np.full(2, 3, np.float32), np.eye(2, dtype=np.float32), length_norm=True)
    vectors = Vectors(["a", "b"], np.array([[1, 2], [value, value]], np.float32))
    with pytest.raises(UserError, match=f"x.scp: the embedding of b is {what}"):
        projection.apply(vectors, source="x.scp")


def test_embeddings_of_another_dimension_are_refused(data) -> None:
    _, _, stats, mean = data
    with pytest.raises(UserError, match=r"x\.scp: embeddings have dimension 2, the PLDA was trained on 6"):
        make_projection(stats, mean).apply(Vectors(["a"], np.ones((1, 2), np.float32)), source="x.scp")
