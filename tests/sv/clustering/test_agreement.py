"""Measures of agreement: published values, brute force over pairs, and the ends of their ranges."""

from itertools import combinations

import numpy as np
import pytest

from sv.clustering.agreement import measure_agreement, pair_f1

TRUE, FOUND = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2])


def test_values_of_a_published_example() -> None:
    """The example of scikit-learn's user guide; normalized mutual information by the arithmetic mean."""
    found = measure_agreement(FOUND, TRUE)
    assert found.ari == pytest.approx(0.24242424242424246)
    assert found.nmi == pytest.approx(0.5158037429793888)
    assert found.purity == pytest.approx(5 / 6)


@pytest.mark.parametrize("seed", range(4))
def test_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cluster, speaker = rng.integers(0, 5, 40) * 7, rng.integers(0, 4, 40) - 2
    together = [(cluster[i] == cluster[j], speaker[i] == speaker[j]) for i, j in combinations(range(40), 2)]
    both, clusters, speakers = (
        sum(map(int, some)) for some in ([a and b for a, b in together], *zip(*together, strict=True))
    )
    found = measure_agreement(cluster, speaker)
    assert found.pair_f1 == pytest.approx(2 * both / (clusters + speakers))
    chance = clusters * speakers / len(together)
    assert found.ari == pytest.approx((both - chance) / ((clusters + speakers) / 2 - chance))
    precision = np.mean([np.mean(speaker[cluster == cluster[i]] == speaker[i]) for i in range(40)])
    recall = np.mean([np.mean(cluster[speaker == speaker[i]] == cluster[i]) for i in range(40)])
    assert (found.b_cubed_precision, found.b_cubed_recall) == (pytest.approx(precision), pytest.approx(recall))


def test_equal_partitions_agree_whatever_their_numbers() -> None:
    for cluster in (TRUE, 5 - TRUE, np.arange(6), np.zeros(6, np.int64), np.zeros(1, np.int64)):
        assert set(vars(measure_agreement(cluster * 3, cluster)).values()) == {1.0}


def test_one_cluster_of_all_and_one_for_each() -> None:
    one = measure_agreement(np.zeros(6, np.int64), TRUE)
    assert (one.nmi, one.ari, one.b_cubed_precision, one.b_cubed_recall) == (0, 0, 0.5, 1)
    each = measure_agreement(np.arange(6), TRUE)
    assert (each.ari, each.b_cubed_precision, each.purity, each.pair_f1) == (0, 1, 1, 0)
    assert each.b_cubed_recall == pytest.approx(1 / 3)


def test_weighted_f1_by_hand() -> None:
    """Clusters {0, 1, 2} and {3} of speakers {0, 1} and {2, 3}: one right pair, two wrong ones, two of one speaker."""
    cluster, speaker = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert pair_f1(cluster, speaker) == measure_agreement(cluster, speaker).pair_f1 == 2 * 1 / (3 + 2)
    assert pair_f1(cluster, speaker, 4.0) == 2 * 1 / (1 + 4 * 2 + 2)
    assert pair_f1(np.arange(2), np.arange(2), 4.0) == 1
