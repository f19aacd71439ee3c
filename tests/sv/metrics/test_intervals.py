"""Ends of intervals: what must hold exactly."""

import pytest

from sv.metrics.intervals import cost_interval, min_dcf_interval, p_value, rate_interval, student_quantile


def test_no_errors_among_few_speakers_promise_little() -> None:
    low, high = rate_interval(0.0, 0.001, 40)
    assert low == 0 and (1 - high) ** 40 == pytest.approx(0.025)
    assert rate_interval(1.0, 0.001, 40) == pytest.approx((1 - high, 1.0))
    assert cost_interval(0.0, 0.001, 40) == min_dcf_interval(0.0, 0.001, 40) == (low, high)


def test_cost_near_that_of_rejecting_everything_is_not_wider_than_its_deviation_says() -> None:
    for cost in (0.95, 0.999, 1.0):
        low, high = min_dcf_interval(cost, 0.01, 40)
        assert high == pytest.approx(min(cost + 0.0209, 1), abs=1e-3) and low == pytest.approx(cost - 0.0209, abs=1e-3)
    small, rate = min_dcf_interval(0.02, 0.005, 40), rate_interval(0.02, 0.005, 40)
    assert small == pytest.approx(rate, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [5, 5.5, 40, 100])
def test_quantiles_are_students_of_half_as_many_degrees_of_freedom(speakers: float) -> None:
    from scipy import stats  # takes half a second, which a worker that only collects should not pay

    assert student_quantile(speakers) == pytest.approx(stats.t.ppf(0.975, speakers / 2), rel=1e-12)
    assert p_value(-3.0, 1.5, speakers) == pytest.approx(2 * stats.t.sf(2, speakers / 2), rel=1e-12)
    assert p_value(0.0, 1.5, speakers) == 1
