"""ROCCH-EER and minCllr against numbers worked by hand, a hull found corner by corner, and a slow PAV."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv.metrics.error_rates import eer, sort_scores
from sv.metrics.rocch import eer_rocch, min_cllr, pav_llrs

few_values = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=20)  # ties nearly always
any_values = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20)
score_lists = st.tuples(few_values, few_values) | st.tuples(any_values, any_values)


def slow_pools(target: list[float], nontarget: list[float]) -> list[tuple[int, int]]:
    """(targets, non-targets) of each pool: start with one for each distinct score, merge while shares fall."""
    pools: list[tuple[int, int]] = []
    for score in sorted({*target, *nontarget}):
        pools.append((target.count(score), nontarget.count(score)))
        while len(pools) > 1 and pools[-2][0] * sum(pools[-1]) >= pools[-1][0] * sum(pools[-2]):
            last, before = pools.pop(), pools.pop()
            pools.append((before[0] + last[0], before[1] + last[1]))
    return pools


def slow_min_cllr(target: list[float], nontarget: list[float]) -> float:
    total_target, total_nontarget, bits = len(target), len(nontarget), 0.0
    for targets, nontargets in slow_pools(target, nontarget):
        if targets and nontargets:
            ratio = (targets / total_target) / (nontargets / total_nontarget)
            bits += targets / total_target * math.log2(1 + 1 / ratio) / 2
            bits += nontargets / total_nontarget * math.log2(1 + ratio) / 2
    return bits


def slow_hull_eer(target: list[float], nontarget: list[float]) -> float:
    """The lowest point with miss = false accept on a line between any two operating points, percent."""
    thresholds = [*sorted({*target, *nontarget}), math.inf]
    points = [
        (sum(s < t for s in target) / len(target), sum(s >= t for s in nontarget) / len(nontarget)) for t in thresholds
    ]
    crossings = []
    for miss0, accept0 in points:
        for miss1, accept1 in points:
            before, after = accept0 - miss0, miss1 - accept1
            if before >= 0 and after >= 0:
                share = before / (before + after) if before + after > 0 else 0.0
                crossings.append(miss0 + share * (miss1 - miss0))
    return 100 * min(crossings)


@pytest.mark.parametrize(
    ("target", "nontarget", "percent"),
    [
        ([3, 4], [1, 2], 0.0),
        ([1, 2], [3, 4], 50.0),  # the hull of a ROC below the diagonal is the diagonal
        ([5, 5, 5], [5, 5], 50.0),
        # Corners (miss, accept) (0, 1/2), (1/2, 0): the line between them meets the diagonal at 1/4.
        ([2, 4], [1, 3], 25.0),
    ],
)
def test_hull_eer_worked_by_hand(target: list[float], nontarget: list[float], percent: float) -> None:
    assert eer_rocch(sort_scores(target, nontarget)) == pytest.approx(percent, abs=1e-12)


def test_min_cllr_worked_by_hand() -> None:
    assert min_cllr(sort_scores([3, 4], [1, 2])) == 0.0
    assert min_cllr(sort_scores([5, 5], [5, 5, 5])) == pytest.approx(1.0)  # nothing is known: llr 0
    # Pools: (0 of 1), (1 of 2: llr 0), (1 of 1). Half of each kind costs one bit: 1/2 (1/2 + 1/2).
    assert min_cllr(sort_scores([2, 4], [1, 3])) == pytest.approx(0.5)


@pytest.mark.slow
@given(score_lists)
def test_hull_eer_is_the_lowest_line_between_operating_points(scores: tuple[list[float], list[float]]) -> None:
    assert eer_rocch(sort_scores(*scores)) == pytest.approx(slow_hull_eer(*scores), abs=1e-9)
    assert eer_rocch(sort_scores(*scores)) <= eer(sort_scores(*scores)) + 1e-9


@given(score_lists)
def test_min_cllr_equals_merging_pools_one_by_one(scores: tuple[list[float], list[float]]) -> None:
    assert min_cllr(sort_scores(*scores)) == pytest.approx(slow_min_cllr(*scores), abs=1e-9)


@given(score_lists)
def test_llrs_of_the_pools_never_fall(scores: tuple[list[float], list[float]]) -> None:
    found = pav_llrs(sort_scores(*scores))
    for ranked, values in zip((found.target, found.nontarget), scores, strict=True):
        assert (ranked.values[1:] >= ranked.values[:-1]).all() and ranked.total == len(values)


def test_pools_of_equal_share_that_differ_in_the_last_bit_stay_in_order() -> None:
    counts = [(13, 39), (1, 3)] * 20  # logarithms of equal ratios are not equal
    target = [float(row) for row, (count, _) in enumerate(counts) for _ in range(count)]
    nontarget = [float(row) for row, (_, count) in enumerate(counts) for _ in range(count)]
    assert eer_rocch(sort_scores(target, nontarget)) == pytest.approx(50.0)
