"""Ends of intervals: what must hold exactly."""

import pytest
from scipy import stats

from sv.metrics.intervals import cllr_interval, cost_interval, min_dcf_interval, rate_interval, student_quantile


def test_wider_level_is_a_wider_interval() -> None:
    narrow, wide = (rate_interval(0.1, 0.02, 40, level) for level in (0.68, 0.99))
    assert wide[0] < narrow[0] < 0.1 < narrow[1] < wide[1]


def test_no_errors_among_few_speakers_promise_little() -> None:
    low, high = rate_interval(0.0, 0.0, 40, 0.95)
    assert low == 0 and (1 - high) ** 40 == pytest.approx(0.025)
    assert rate_interval(1.0, 0.0, 40, 0.95) == pytest.approx((1 - high, 1.0))
    assert cost_interval(0.0, 0.0, 40, 0.95) == (low, high)


def test_cost_near_that_of_rejecting_everything_is_not_wider_than_its_deviation_says() -> None:
    for cost in (0.95, 0.999, 1.0):
        low, high = min_dcf_interval(cost, 0.01, 40, 0.95)
        assert high == pytest.approx(min(cost + 0.0203, 1), abs=1e-3) and low == pytest.approx(cost - 0.0203, abs=1e-3)
    assert min_dcf_interval(1.0, 0.0, 40, 0.95) == rate_interval(1.0, 0.0, 40, 0.95)
    assert min_dcf_interval(0.0, 0.0, 40, 0.95) == rate_interval(0.0, 0.0, 40, 0.95)
    small, rate = min_dcf_interval(0.02, 0.005, 40, 0.95), rate_interval(0.02, 0.005, 40, 0.95)
    assert small == pytest.approx(rate, rel=0.01)


def test_cllr_has_half_the_degrees_of_freedom() -> None:
    assert cllr_interval(0.3, 0.02, 41, 0.95) == cost_interval(0.3, 0.02, 21, 0.95)


@pytest.mark.parametrize("speakers", [2, 3, 40, 5000])
def test_quantiles_are_students(speakers: int) -> None:
    assert student_quantile(speakers, 0.95) == pytest.approx(stats.t.ppf(0.975, speakers - 1), rel=1e-12)
