"""Whitening: the covariance it leaves, cosines that do not change, and when it helps or harms."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sv.clustering.agglomeration import best_threshold
from sv.clustering.whitening import fit_whitening, unit_rows
from sv.errors import UserError


def speakers(count: int, each: int, deviations: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Speakers and their utterances vary in proportion, by these deviations of the directions."""
    rng = np.random.default_rng(0)
    centers = np.repeat(rng.normal(size=(count, len(deviations))), each, axis=0)
    rows = deviations * (centers + 0.6 * rng.normal(size=centers.shape))
    return rows.astype(np.float32) + 3, np.repeat(np.arange(count), each)


def test_directions_are_as_wide_as_the_equation_says() -> None:
    rows, _ = speakers(50, 8, np.linspace(0.1, 4, 6))
    covariance = np.cov(rows.T, bias=True)
    for shrinkage in (0.3, 0.1):
        whitening = fit_whitening(rows, shrinkage)
        found = np.linalg.inv(whitening.matrix.astype(np.float64) @ whitening.matrix)
        expected = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 6 * np.eye(6)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_without_whitening_only_the_mean_goes() -> None:
    rows, _ = speakers(5, 4, np.ones(6))
    np.testing.assert_allclose(fit_whitening(rows, 1.0).apply(rows), unit_rows(rows - rows.mean(axis=0)), rtol=1e-6)


def test_whitening_helps_where_few_directions_have_most_of_the_variance() -> None:
    rows, speaker = speakers(60, 8, np.array([8.0, 8.0, *[1.0] * 22]))
    plain, whitened = (best_threshold(fit_whitening(rows, a).apply(rows), speaker)[1] for a in (1.0, 0.1))
    assert whitened > plain + 0.2


def test_whitening_harms_fewer_speakers_than_dimensions() -> None:
    rows, speaker = speakers(3, 40, np.ones(64))
    plain, whitened = (best_threshold(fit_whitening(rows, a).apply(rows), speaker)[1] for a in (1.0, 0.1))
    assert plain == 1 > whitened


def test_two_embeddings_and_equal_ones() -> None:
    assert np.isfinite(fit_whitening(np.eye(2, 4, dtype=np.float32), 0.1).matrix).all()
    with pytest.raises(UserError, match="an embedding is 0 after the mean was subtracted"):
        fit_whitening(np.ones((3, 4), np.float32), 1.0).apply(np.ones((3, 4), np.float32))
