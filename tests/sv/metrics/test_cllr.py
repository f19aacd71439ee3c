"""actDCF and Cllr against numbers worked by hand and one trial at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv.errors import UserError
from sv.metrics.cllr import act_dcf, bayes_threshold, cllr
from sv.metrics.error_rates import min_dcf
from sv.metrics.rocch import min_cllr

values = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=20)


def test_bayes_threshold_is_the_log_odds_against_a_target() -> None:
    assert bayes_threshold(0.5) == 0.0
    assert bayes_threshold(0.05) == pytest.approx(math.log(19))
    assert bayes_threshold(0.5, c_miss=10) == pytest.approx(-math.log(10))


def test_act_dcf_worked_by_hand() -> None:
    # Bayes' threshold at 0.05 is 2.94: one of four targets is missed, one of two non-targets accepted.
    value = act_dcf([5, 4, 3, 2], [3, 0], 0.05)
    assert value == pytest.approx((0.05 * 0.25 + 0.95 * 0.5) / 0.05)


def test_trial_at_the_threshold_is_accepted() -> None:
    assert act_dcf([0.0], [-1.0], 0.5) == 0.0
    assert act_dcf([1.0], [0.0], 0.5) == 1.0


def test_cllr_worked_by_hand() -> None:
    assert cllr([0, 0, 0], [0]) == pytest.approx(1.0)
    assert cllr([math.log(3)], [-math.log(3)]) == pytest.approx(math.log2(4 / 3))
    assert cllr([1000], [-1000]) == 0.0
    assert cllr([-1000], [-1000]) == pytest.approx(500 / math.log(2))  # no overflow


@given(values, values, st.sampled_from([0.01, 0.05, 0.5, 0.9]))
def test_calibrated_is_never_better_than_the_best(target: list[float], nontarget: list[float], p: float) -> None:
    assert act_dcf(target, nontarget, p) >= min_dcf(target, nontarget, p)[0] - 1e-12
    slow = [math.log2(1 + math.exp(-s)) for s in target], [math.log2(1 + math.exp(s)) for s in nontarget]
    assert cllr(target, nontarget) == pytest.approx(np.mean([np.mean(slow[0]), np.mean(slow[1])]))
    assert cllr(target, nontarget) >= min_cllr(target, nontarget) - 1e-9


def test_true_llrs_of_gaussians_cost_no_more_than_the_best() -> None:
    """Scores of two Gaussians of mean +-d and deviation 1 have the log-likelihood ratio 2 d score."""
    rng = np.random.default_rng(0)
    target, nontarget = rng.normal(1, 1, 20_000), rng.normal(-1, 1, 20_000)
    assert act_dcf(2 * target, 2 * nontarget, 0.05) == pytest.approx(min_dcf(target, nontarget, 0.05)[0], rel=0.02)
    assert cllr(2 * target, 2 * nontarget) == pytest.approx(min_cllr(target, nontarget), rel=0.01)


@pytest.mark.parametrize(("p_target", "c_miss"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.5, math.inf)])
def test_prior_or_cost_out_of_range_is_refused(p_target: float, c_miss: float) -> None:
    with pytest.raises(UserError, match="expected 0 < p_target < 1 and costs above 0"):
        act_dcf([1.0], [0.0], p_target, c_miss=c_miss)
