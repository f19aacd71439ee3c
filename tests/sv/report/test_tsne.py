"""t-SNE: neighbours stay neighbours, and a second map begins where the first one ended."""

import numpy as np

from sv.report.tsne import tsne

SPEAKER = np.repeat(np.arange(5), 12)


def embeddings(seed: int) -> np.ndarray:
    """Draw embeddings of length 1, (utts, dim), of the same five speakers for each seed."""
    centers = np.random.default_rng(0).normal(size=(5, 20))
    found = centers[SPEAKER] + 0.3 * np.random.default_rng(seed).normal(size=(len(SPEAKER), 20))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def nearest(place: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(place[:, None] - place, axis=2)
    np.fill_diagonal(distance, np.inf)
    return distance.argmin(axis=1)


def test_nearest_utterances_on_the_map_are_of_the_same_speaker() -> None:
    place = tsne(embeddings(1), None)
    assert place.shape == (len(SPEAKER), 2) and np.isfinite(place).all()
    np.testing.assert_allclose(place.mean(axis=0), 0, atol=1e-9)
    assert (SPEAKER[nearest(place)] == SPEAKER).all()
    np.testing.assert_array_equal(tsne(embeddings(1), None), place)  # nothing is drawn


def test_a_map_from_a_start_keeps_speakers_in_their_places() -> None:
    before = tsne(embeddings(1), None)
    after = tsne(embeddings(2), before)
    assert (SPEAKER[nearest(after)] == SPEAKER).all()
    old, new = (np.stack([place[number == SPEAKER].mean(axis=0) for number in range(5)]) for place in (before, after))
    assert (np.linalg.norm(old[:, None] - new, axis=2).argmin(axis=1) == np.arange(5)).all()
