"""Agglomeration against a plain one, the threshold from labelled speakers, and k-means for many utterances."""

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from sv.clustering.agglomeration import best_threshold, k_means, merge
from sv.clustering.agreement import measure_agreement
from sv.errors import UserError


def speakers(count: int, each: int, spread: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(count, 24))
    embeddings = np.repeat(centers, each, axis=0) + spread * rng.normal(size=(count * each, 24))
    return embeddings.astype(np.float32), np.repeat(np.arange(count), each)


def plain(embeddings: NDArray[np.float32], threshold: float) -> list[set[int]]:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    clusters = [{row} for row in range(len(unit))]
    while len(clusters) > 1:
        means = {
            (a, b): float(np.mean([unit[i] @ unit[j] for i in clusters[a] for j in clusters[b]]))
            for a in range(len(clusters))
            for b in range(a)
        }
        (a, b), highest = max(means.items(), key=lambda item: item[1])
        if highest < threshold:
            break
        clusters[b] |= clusters.pop(a)
    return clusters


@pytest.mark.parametrize("threshold", [-1.0, 0.2, 0.5, 0.8, 1.1])
def test_merges_are_those_of_the_definition(threshold: float) -> None:
    embeddings, _ = speakers(4, 5, 1.0)
    found = merge(embeddings).clusters(threshold)
    assert sorted(map(sorted, plain(embeddings, threshold))) == sorted(
        np.flatnonzero(found == name).tolist() for name in np.unique(found)
    )


def test_the_threshold_of_labelled_speakers_finds_them_and_others() -> None:
    labelled, speaker = speakers(10, 8, 0.5)
    threshold, f1 = best_threshold(labelled, speaker)
    others, truth = speakers(15, 8, 0.5, seed=1)
    assert f1 == 1 and measure_agreement(merge(others).clusters(threshold), truth).nmi == pytest.approx(1)


def test_the_threshold_for_many_speakers_is_higher() -> None:
    """Ten labelled speakers that overlap; at their threshold a hundred others are put together too much."""
    labelled, speaker = speakers(10, 8, 1.6)
    others, truth = speakers(100, 8, 1.6, seed=1)
    merges = merge(others)
    few, many = (best_threshold(labelled, speaker, count)[0] for count in (10, 100))
    found = [measure_agreement(merges.clusters(threshold), truth).pair_f1 for threshold in (few, many)]
    assert many > few and found[1] > 1.15 * found[0]
    assert best_threshold(labelled, speaker, 2) == best_threshold(labelled, speaker)


def test_no_threshold_without_pairs_of_both_kinds() -> None:
    embeddings, _ = speakers(2, 3, 0.5)
    for speaker in (np.zeros(6, np.int64), np.arange(6)):
        with pytest.raises(UserError, match="two labelled speakers or more, with two utterances or more"):
            best_threshold(embeddings, speaker)


def test_many_utterances_are_put_together_first() -> None:
    embeddings, truth = speakers(12, 40, 0.4)
    order = np.random.default_rng(0).permutation(len(truth))
    found = merge(embeddings[order], most=60)
    assert len(found.linkage) < 60
    assert measure_agreement(found.clusters(0.5), truth[order]).nmi > 0.99


@pytest.mark.parametrize("spread", [0.5, 0.7])
def test_the_threshold_of_labelled_utterances_is_right_after_k_means_too(spread: float) -> None:
    """Means of utterances are nearer to one another than the utterances, by which the threshold was chosen."""
    threshold, _ = best_threshold(*speakers(40, 10, spread), 200)
    others, truth = speakers(200, 10, spread, seed=1)
    order = np.random.default_rng(0).permutation(len(truth))
    all_at_once, few = (
        measure_agreement(merge(others[order], most=most).clusters(threshold), truth[order]) for most in (2000, 500)
    )
    assert few.pair_f1 > 0.85 * all_at_once.pair_f1


def test_k_means_ends_at_means_that_are_nearest() -> None:
    embeddings, truth = speakers(5, 20, 0.3)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = k_means(unit, 5)
    means = np.stack([unit[found == row].mean(axis=0) for row in range(found.max() + 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert np.array_equal((unit @ means.T).argmax(axis=1), found)
    assert measure_agreement(found, truth).purity == 1


def test_faiss_finds_what_numpy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    embeddings, truth = speakers(12, 40, 0.4)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    by_faiss = k_means(unit, 30)
    monkeypatch.setitem(sys.modules, "faiss", None)  # as if it were not installed
    assert measure_agreement(by_faiss, k_means(unit, 30)).nmi > 0.99
    assert measure_agreement(by_faiss, truth).purity > 0.99


def test_equal_embeddings_are_told() -> None:
    with pytest.raises(UserError, match="an embedding is 0 after the mean was subtracted"):
        merge(np.zeros((4, 3), np.float32))
    assert merge(np.ones((1, 3), np.float32)).clusters(0.5).tolist() == [0]
