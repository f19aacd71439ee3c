"""EER and minDCF against numbers worked by hand and against trying every threshold with exact fractions."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sv.errors import UserError
from sv.metrics import error_rates
from sv.metrics.error_rates import Ranked, SortedScores, sort_scores

Scores = Sequence[float] | NDArray[np.floating]
few_values = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=25)  # ties nearly always
any_values = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=25)
score_lists = st.tuples(few_values, few_values) | st.tuples(any_values, any_values)


def eer(target: Scores, nontarget: Scores) -> tuple[float, float]:
    """EER in percent and its threshold."""
    scores = sort_scores(target, nontarget)
    return error_rates.eer(scores), error_rates.eer_threshold(scores)


def min_dcf(target: Scores, nontarget: Scores, p_target: float) -> tuple[float, float]:
    """Lowest cost and its threshold."""
    scores = sort_scores(target, nontarget)
    return error_rates.min_dcf(scores, p_target), error_rates.min_dcf_threshold(scores, p_target)


def evaluate(target: Scores, nontarget: Scores) -> list[tuple[float, float]]:
    """EER and minDCF at two priors, each with its threshold."""
    return [eer(target, nontarget), *(min_dcf(target, nontarget, p) for p in (0.01, 0.05))]


def operating_points(target: list[float], nontarget: list[float]) -> list[tuple[float, Fraction, Fraction]]:
    """(threshold, miss, false accept) at each distinct score and above all, by counting one by one."""
    highest = max(target + nontarget)
    thresholds = sorted(set(target + nontarget)) + [float(np.nextafter(highest, np.inf))]
    return [
        (t, Fraction(sum(s < t for s in target), len(target)), Fraction(sum(s >= t for s in nontarget), len(nontarget)))
        for t in thresholds
    ]


def slow_eer(target: list[float], nontarget: list[float]) -> Fraction:
    """Percent; walks along the operating points until the line between two of them crosses miss = false accept."""
    points = operating_points(target, nontarget)
    for (_, miss0, accept0), (_, miss1, accept1) in pairwise(points):
        if miss0 < accept0 and miss1 >= accept1:
            share = (accept0 - miss0) / ((accept0 - miss0) + (miss1 - accept1))
            return 100 * (miss0 + share * (miss1 - miss0))
    raise AssertionError("the first point accepts all and the last rejects all")


def slow_min_dcf(target: list[float], nontarget: list[float], p: float) -> float:
    costs = [p * float(miss) + (1 - p) * float(accept) for _, miss, accept in operating_points(target, nontarget)]
    return min(costs) / min(p, 1 - p)


@pytest.mark.parametrize(
    ("target", "nontarget", "percent"),
    [
        ([3, 4], [1, 2], 0.0),
        ([1, 2], [3, 4], 100.0),
        ([5, 5, 5], [5, 5], 50.0),
        ([1], [1], 50.0),
        ([2, 4, 6, 8], [1, 3, 5, 7], 50.0),  # at 5: two of four missed, two of four accepted
        ([4, 6, 7, 8], [1, 2, 3, 5], 25.0),
        ([0, 1], [0, 1], 50.0),
        # From t = 1 (no miss, all 4 accepted) to t = 2 (1 of 2 missed, 1 of 4 accepted): crossing at 4/5 of the way.
        ([1, 2], [1, 1, 1, 2], 40.0),
        ([0.9], [0.1, 0.2, 0.3, 0.95], 25.0),  # one target: missed beyond 0.9, 1 of 4 accepted on both sides
    ],
)
def test_eer_worked_by_hand(target: list[float], nontarget: list[float], percent: float) -> None:
    assert eer(target, nontarget)[0] == pytest.approx(percent, abs=1e-12)


def test_eer_threshold_is_a_score_that_errs_equally() -> None:
    assert eer([4, 6, 7, 8], [1, 2, 3, 5]) == (25.0, 5.0)
    assert eer([3, 4], [1, 2]) == (0.0, 3.0)


def test_eer_threshold_is_finite_when_all_scores_are_equal() -> None:
    assert eer([5, 5, 5], [5, 5]) == (50.0, 5.0)


def test_min_dcf_worked_by_hand() -> None:
    # At t = 4: no miss, 1 of 4 accepted; cost 0.5 * 0.25, over the trivial 0.5.
    assert min_dcf([4, 6, 7, 8], [1, 2, 3, 5], 0.5) == (0.25, 4.0)
    # At p_target 0.01 an accepted non-target costs 99 times a miss: t = 6, 1 of 4 missed, none accepted.
    value, threshold = min_dcf([4, 6, 7, 8], [1, 2, 3, 5], 0.01)
    assert value == pytest.approx(0.25) and threshold == 6.0


def test_min_dcf_of_useless_scores_is_one_and_the_threshold_rejects_all() -> None:
    value, threshold = min_dcf([1, 2], [3, 4], 0.01)
    assert value == 1.0
    assert threshold == np.nextafter(4.0, np.inf)


def test_min_dcf_of_all_equal_scores() -> None:
    assert min_dcf([1, 1], [1, 1, 1], 0.01)[0] == 1.0
    value, threshold = min_dcf([1, 1], [1, 1, 1], 0.99)
    assert value == pytest.approx(1.0) and threshold == 1.0  # accepting all is the cheaper of the two


@given(score_lists)
def test_eer_equals_trying_every_threshold(scores: tuple[list[float], list[float]]) -> None:
    target, nontarget = scores
    assert eer(target, nontarget)[0] == pytest.approx(float(slow_eer(target, nontarget)), abs=1e-9)


@given(score_lists, st.sampled_from([0.01, 0.05, 0.5, 0.9]))
def test_min_dcf_equals_trying_every_threshold(scores: tuple[list[float], list[float]], p: float) -> None:
    target, nontarget = scores
    value, threshold = min_dcf(target, nontarget, p)
    assert value == pytest.approx(slow_min_dcf(target, nontarget, p), abs=1e-12)
    miss, accept = np.mean(np.array(target) < threshold), np.mean(np.array(nontarget) >= threshold)
    assert value == pytest.approx((p * miss + (1 - p) * accept) / min(p, 1 - p))


@pytest.mark.slow
@given(st.tuples(few_values, few_values), st.lists(st.integers(0, 3), min_size=50, max_size=50))
def test_weights_are_as_good_as_copies(scores: tuple[list[float], list[float]], weights: list[int]) -> None:
    kinds = [(sorted(values), np.array(weights[len(values) :][: len(values)])) for values in scores]
    if not all(count.any() for _, count in kinds):
        return
    weighted = SortedScores(*(Ranked(np.array(values), count) for values, count in kinds))
    copies = sort_scores(*(np.repeat(values, count) for values, count in kinds))
    assert (weighted.target.total, weighted.nontarget.total) == (copies.target.total, copies.nontarget.total)
    assert error_rates.eer(weighted) == pytest.approx(error_rates.eer(copies), abs=1e-12)
    for p in (0.05, 0.9):
        assert error_rates.min_dcf(weighted, p) == pytest.approx(error_rates.min_dcf(copies, p), abs=1e-12)
    assert [weighted.target.at(rank) for rank in range(weighted.target.total)] == copies.target.values.tolist()


@given(score_lists, st.integers(1, 5))
def test_blocks_passed_over_hold_no_better_threshold(scores: tuple[list[float], list[float]], size: int) -> None:
    target, nontarget = scores
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sv.metrics.error_rates._BLOCK", size)
        for p_target in (0.01, 0.5):
            value, _ = min_dcf(target, nontarget, p_target)
            assert value == pytest.approx(slow_min_dcf(target, nontarget, p_target), abs=1e-12)


@given(score_lists, st.randoms(use_true_random=False))
def test_order_of_trials_changes_nothing(scores: tuple[list[float], list[float]], random: Random) -> None:
    target, nontarget = list(scores[0]), list(scores[1])
    expected = evaluate(target, nontarget)
    random.shuffle(target)
    random.shuffle(nontarget)
    assert evaluate(target, nontarget) == expected


@given(score_lists)
def test_negated_and_swapped_scores_have_the_same_eer(scores: tuple[list[float], list[float]]) -> None:
    target, nontarget = scores
    swapped = eer([-s for s in nontarget], [-s for s in target])[0]
    assert swapped == pytest.approx(eer(target, nontarget)[0], abs=1e-9)


@pytest.mark.slow
@given(st.tuples(few_values, few_values))
def test_increasing_map_of_the_scores_changes_nothing(scores: tuple[list[float], list[float]]) -> None:
    target, nontarget = scores
    mapped_target, mapped_nontarget = ([3 * s**3 + 7 for s in side] for side in scores)
    assert eer(mapped_target, mapped_nontarget)[0] == eer(target, nontarget)[0]
    assert min_dcf(mapped_target, mapped_nontarget, 0.05)[0] == min_dcf(target, nontarget, 0.05)[0]


@settings(max_examples=20)
@given(score_lists)
def test_float32_gives_what_float64_gives(scores: tuple[list[float], list[float]]) -> None:
    target, nontarget = (np.array(side, dtype=np.float32) for side in scores)
    single, double = evaluate(target, nontarget), evaluate(target.astype(np.float64), nontarget.astype(np.float64))
    assert [value for value, _ in single] == [value for value, _ in double]


def test_blocks_of_thresholds_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    target, nontarget = rng.normal(1, 1, 500).round(1), rng.normal(0, 1, 2000).round(1)
    expected = min_dcf(target, nontarget, 0.05)
    for size in (1, 7, 499, 500):
        monkeypatch.setattr("sv.metrics.error_rates._BLOCK", size)
        assert min_dcf(target, nontarget, 0.05) == expected


def test_scores_are_not_changed_by_measuring() -> None:
    target, nontarget = np.array([3.0, 1.0]), np.array([2.0, 0.0])
    evaluate(target, nontarget)
    assert target.tolist() == [3, 1] and nontarget.tolist() == [2, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_are_refused(bad: float, dtype: type) -> None:
    good: NDArray[np.floating] = np.array([0, 1], dtype=dtype)
    with pytest.raises(UserError, match="1 of 3 nontarget scores are NaN or infinite"):
        eer(good, np.array([0, bad, 1], dtype=dtype))
    with pytest.raises(UserError, match="2 of 2 target scores are NaN or infinite"):
        min_dcf(np.array([bad, bad], dtype=dtype), good, 0.01)


def test_list_without_targets_or_nontargets_is_refused() -> None:
    with pytest.raises(UserError, match="no target trials"):
        evaluate([], [1.0])
    with pytest.raises(UserError, match="no nontarget trials"):
        evaluate([1.0], [])


@pytest.mark.parametrize("p_target", [0.0, 1.0, -0.1, np.nan])
def test_prior_out_of_range_is_refused(p_target: float) -> None:
    with pytest.raises(UserError, match="expected 0 < p_target < 1"):
        min_dcf([1.0], [0.0], p_target)


def test_mixed_types_are_compared_as_float64() -> None:
    single = np.array([0.1], dtype=np.float32)  # a little above 0.1
    assert sort_scores(single, np.array([0.1])).target.values.dtype == np.float64
    assert eer(single, np.array([0.1]))[0] == 0.0
