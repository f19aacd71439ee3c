"""actDCF and Cllr against numbers worked by hand and one trial at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv.errors import UserError
from sv.metrics.cllr import act_dcf, bayes_threshold, cllr
from sv.metrics.error_rates import min_dcf, sort_scores
from sv.metrics.rocch import min_cllr

values = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=20)


def test_bayes_threshold_is_the_log_odds_against_a_target() -> None:
    assert bayes_threshold(0.5) == 0.0
    assert bayes_threshold(0.05) == pytest.approx(math.log(19))


def test_act_dcf_worked_by_hand() -> None:
    # Bayes' threshold at 0.05 is 2.94: one of four targets is missed, one of two non-targets accepted.
    value = act_dcf(sort_scores([5, 4, 3, 2], [3, 0]), 0.05)
    assert value == pytest.approx((0.05 * 0.25 + 0.95 * 0.5) / 0.05)


def test_trial_at_the_threshold_is_accepted() -> None:
    assert act_dcf(sort_scores([0.0], [-1.0]), 0.5) == 0.0
    assert act_dcf(sort_scores([1.0], [0.0]), 0.5) == 1.0


def test_cllr_worked_by_hand() -> None:
    assert cllr(sort_scores([0, 0, 0], [0])) == pytest.approx(1.0)
    assert cllr(sort_scores([math.log(3)], [-math.log(3)])) == pytest.approx(math.log2(4 / 3))
    assert cllr(sort_scores([1000], [-1000])) == 0.0
    assert cllr(sort_scores([-1000], [-1000])) == pytest.approx(500 / math.log(2))  # no overflow


@given(values, values, st.sampled_from([0.01, 0.05, 0.5, 0.9]))
def test_calibrated_is_never_better_than_the_best(target: list[float], nontarget: list[float], p: float) -> None:
    scores = sort_scores(target, nontarget)
    assert act_dcf(scores, p) >= min_dcf(scores, p) - 1e-12
    slow = [math.log2(1 + math.exp(-s)) for s in target], [math.log2(1 + math.exp(s)) for s in nontarget]
    assert cllr(scores) == pytest.approx(np.mean([np.mean(slow[0]), np.mean(slow[1])]))
    assert cllr(scores) >= min_cllr(scores) - 1e-9


def test_true_llrs_of_gaussians_cost_no_more_than_the_best() -> None:
    """Scores of two Gaussians of mean +-d and deviation 1 have the log-likelihood ratio 2 d score."""
    rng = np.random.default_rng(0)
    scores = sort_scores(2 * rng.normal(1, 1, 20_000), 2 * rng.normal(-1, 1, 20_000))
    assert act_dcf(scores, 0.05) == pytest.approx(min_dcf(scores, 0.05), rel=0.02)
    assert cllr(scores) == pytest.approx(min_cllr(scores), rel=0.01)


@pytest.mark.parametrize("p_target", [0.0, 1.0, math.nan])
def test_prior_out_of_range_is_refused(p_target: float) -> None:
    with pytest.raises(UserError, match="expected 0 < p_target < 1"):
        act_dcf(sort_scores([1.0], [0.0]), p_target)
