"""Adaptation: Kaldi's rule step by step, CORAL's alignment, and what CORAL+ never does."""

import numpy as np
import pytest
import scipy.linalg

from sv.errors import UserError
from sv.scoring.plda import Plda, from_covariances
from sv.scoring.plda_adapt import adapt_plda

DIM = 4


def random_covariance(seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(DIM, 3 * DIM))
    return factor @ factor.T / (3 * DIM)


@pytest.fixture
def plda() -> Plda:
    return from_covariances(np.zeros(DIM), random_covariance(1), random_covariance(2))


@pytest.fixture
def domain() -> np.ndarray:
    """Embeddings that spread more in some directions, less in others, about another mean."""
    rng = np.random.default_rng(3)
    return (rng.normal(size=(60, DIM)) * [4, 2, 0.7, 0.2] + [1, 0, -1, 2]).astype(np.float32)


def moments(domain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = domain.astype(np.float64)
    mean = wide.mean(axis=0)
    return mean, sum(np.outer(x, x) for x in wide - mean) / len(wide)


def test_kaldis_rule_one_direction_at_a_time(plda: Plda, domain: np.ndarray) -> None:
    """In the space where W + B is 1 and the new covariance diagonal, W and B grow by shares of what is above 1."""
    mean, covariance = moments(domain)
    covariance = covariance + 0.5 * np.outer(mean, mean)
    whiten = plda.transform / np.sqrt(1 + plda.psi)[:, None]
    spread, rotation = np.linalg.eigh(whiten @ covariance @ whiten.T)
    there = rotation.T @ whiten
    within, between = there @ plda.within @ there.T, there @ plda.between @ there.T
    for direction in range(DIM):
        within[direction, direction] += 0.75 * max(spread[direction] - 1, 0)
        between[direction, direction] += 0.25 * max(spread[direction] - 1, 0)
    back = np.linalg.inv(there)
    options = {"within_scale": 0.75, "between_scale": 0.25, "mean_diff_scale": 0.5}
    adapted = adapt_plda(plda, domain, "kaldi", options)
    np.testing.assert_allclose(adapted.within, back @ within @ back.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(adapted.between, back @ between @ back.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(adapted.mean, mean, atol=1e-6)


def test_kaldi_leaves_a_model_that_spreads_more(plda: Plda) -> None:
    rng = np.random.default_rng(0)
    narrow = (0.01 * rng.normal(size=(50, DIM))).astype(np.float32)
    adapted = adapt_plda(plda, narrow, "kaldi", {})
    np.testing.assert_allclose(adapted.within, plda.within, atol=1e-8)
    np.testing.assert_allclose(adapted.between, plda.between, atol=1e-8)


def test_coral_has_the_covariance_of_the_domain(plda: Plda, domain: np.ndarray) -> None:
    adapted = adapt_plda(plda, domain, "coral", {})
    _, covariance = moments(domain)
    np.testing.assert_allclose(adapted.within + adapted.between, covariance, rtol=1e-5, atol=1e-6)
    root = scipy.linalg.sqrtm(covariance) @ np.linalg.inv(scipy.linalg.sqrtm(plda.within + plda.between))
    np.testing.assert_allclose(adapted.within, root @ plda.within @ root.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_coral_plus_only_adds(plda: Plda, domain: np.ndarray, scale: float) -> None:
    adapted = adapt_plda(plda, domain, "coral+", {"within_scale": scale, "between_scale": scale})
    aligned = adapt_plda(plda, domain, "coral", {})
    for new, old, coral in (
        (adapted.within, plda.within, aligned.within),
        (adapted.between, plda.between, aligned.between),
    ):
        ratios, directions = scipy.linalg.eigh(coral, old)
        expected = directions.T @ old @ directions + scale * np.diag(np.maximum(ratios - 1, 0))
        np.testing.assert_allclose(directions.T @ new @ directions, expected, atol=1e-4)
        assert np.linalg.eigvalsh(new - old).min() > -1e-8


def test_between_class_covariance_of_lower_rank_is_adapted(domain: np.ndarray) -> None:
    flat = np.diag([2.0, 1.0, 0.0, 0.0])
    plda = from_covariances(np.zeros(DIM), random_covariance(1), flat)
    for method in ("kaldi", "coral", "coral+"):
        adapted = adapt_plda(plda, domain, method, {})
        assert np.isfinite(adapted.transform).all() and (adapted.psi >= 0).all()


def test_unknown_names_are_told(plda: Plda, domain: np.ndarray) -> None:
    with pytest.raises(UserError, match="unknown PLDA adaptation 'corall'; did you mean 'coral'"):
        adapt_plda(plda, domain, "corall", {})
    with pytest.raises(UserError, match=r"PLDA adaptation coral has no option 'within_scale'"):
        adapt_plda(plda, domain, "coral", {"within_scale": 0.5})


@pytest.mark.parametrize("scale", [-3.0, float("nan"), float("inf")])
def test_scales_below_zero_are_refused(plda: Plda, domain: np.ndarray, scale: float) -> None:
    with pytest.raises(UserError, match=f"within_scale {scale}: expected a number that is not below 0"):
        adapt_plda(plda, domain, "kaldi", {"within_scale": scale})


def test_too_few_embeddings_are_refused(plda: Plda, domain: np.ndarray) -> None:
    with pytest.raises(UserError, match="1 embedding to adapt the PLDA to"):
        adapt_plda(plda, domain[:1], "kaldi", {})
    with pytest.raises(UserError, match="vary in 2 of 4 directions only; coral needs more"):
        adapt_plda(plda, domain[:3], "coral", {})
