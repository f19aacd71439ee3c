"""The mixture of two Gaussians: known parameters, posteriors that never rise, and values without two modes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sv.metrics.mixture import Mixture, fit_mixture


def draw(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """3,000 values of N(-1, 0.5) and 1,000 of N(2, 0.8), shuffled, and which are of the first."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(-1, 0.5, 3000), rng.normal(2, 0.8, 1000)])
    order = rng.permutation(4000)
    return values[order], (np.arange(4000) < 3000)[order]


def test_known_parameters_are_found() -> None:
    found = fit_mixture(draw()[0])
    assert found.weights == pytest.approx([0.75, 0.25], abs=0.02)
    assert found.means == pytest.approx([-1, 2], abs=0.08)
    assert found.deviations == pytest.approx([0.5, 0.8], abs=0.05)
    assert found.separation == pytest.approx(3 / np.sqrt((0.25 + 0.64) / 2), rel=0.05)


def test_the_posterior_tells_the_two_apart() -> None:
    values, is_low = draw()
    called_low = fit_mixture(values).low_posterior(values) >= 0.5
    assert (called_low == is_low).mean() > 0.98  # Bayes' rule with the true parameters: 0.991


def test_posterior_against_bayes_rule_by_hand() -> None:
    mixture = Mixture(np.array([0.6, 0.4]), np.array([0.0, 2.0]), np.array([1.0, 0.5]))
    low, high = 0.6 * np.exp(-0.5) / 1.0, 0.4 * np.exp(-2.0) / 0.5  # at 1.0, without 1 / sqrt(2 pi)
    assert mixture.low_posterior(1.0) == pytest.approx(low / (low + high), rel=1e-12)


@pytest.mark.parametrize("deviations", [(0.1, 3.0), (3.0, 0.1), (1.0, 1.0)])
def test_the_posterior_never_rises_with_the_value(deviations: tuple[float, float]) -> None:
    mixture = Mixture(np.array([0.5, 0.5]), np.array([0.0, 1.0]), np.array(deviations))
    posterior = mixture.low_posterior(np.linspace(-50, 50, 2001))
    assert (np.diff(posterior) <= 0).all() and posterior[0] >= 0.5 >= posterior[-1]


def test_the_order_of_the_values_changes_nothing() -> None:
    values, _ = draw()
    one, other = fit_mixture(values), fit_mixture(values[::-1])
    assert all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_moved_and_stretched_values_give_a_moved_and_stretched_mixture() -> None:
    values, _ = draw()
    one, other = fit_mixture(values), fit_mixture(1e3 * values - 7)
    assert other.means == pytest.approx(1e3 * one.means - 7, rel=1e-5)
    assert other.separation == pytest.approx(one.separation, rel=1e-5)


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0, 3.0], [0.0] * 100])
def test_one_value_has_no_two_modes(values: list[float]) -> None:
    found = fit_mixture(values)
    assert found.separation == 0 and (found.low_posterior(values) == 0.5).all()


def test_two_values_are_two_modes() -> None:
    found = fit_mixture([1.0, 2.0])
    assert found.means == pytest.approx([1, 2]) and found.separation > 10


@pytest.mark.parametrize(
    ("low_share", "distance", "why"),
    [
        (0.7, 3.0, ""),
        (0.7, 1.5, "the two modes are 1.50 deviations apart, not more than 2"),
        (0.3, 3.0, "the low mode holds 30.0 % of the values, less than half"),
        (0.5, 2.0, "the two modes are 2.00 deviations apart, not more than 2"),
    ],
)
def test_clear_modes_are_apart_and_the_low_one_holds_half(low_share: float, distance: float, why: str) -> None:
    mixture = Mixture(np.array([low_share, 1 - low_share]), np.array([0.0, distance]), np.ones(2))
    assert (mixture.has_two_modes, mixture.unclear) == (not why, why)


@pytest.mark.slow
def test_values_of_one_mode_have_no_two() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(20, 1000)), np.log(rng.exponential(size=(20, 1000)))
    fits = [[fit_mixture(values) for values in of] for of in drawn]
    assert not any(fit.has_two_modes for of in fits for fit in of)
    assert min(fit.separation for fit in fits[1]) > 1  # a separation of 1 alone tells nothing
    assert fit_mixture(draw()[0]).has_two_modes


def test_an_outlier_is_not_a_division_by_zero() -> None:
    values = np.concatenate([np.random.default_rng(1).normal(0, 1, 500), [1e6]])
    found = fit_mixture(values)
    assert all(np.isfinite(part).all() for part in vars(found).values())
    assert found.low_posterior(0.0) > 0.99 and found.low_posterior(1e6) < 0.01
