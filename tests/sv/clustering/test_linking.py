"""Links of clusters to labelled speakers: thresholds from held-out speakers, and pairs of classes that may be one."""

import numpy as np
import pytest

from sv.clustering.linking import Heldout, close_pairs, measure_thresholds, nearest, unit_means
from sv.errors import UserError
from sv.metrics.error_rates import eer, sort_scores
from tests.sv.clustering.test_agglomeration import speakers


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_fragments_share_no_utterance_and_are_as_large_as_clusters() -> None:
    rows = np.eye(12, dtype=np.float32)  # the mean of a fragment tells its utterances
    heldout = Heldout(rows, np.repeat([0, 1, 2], [6, 5, 1]))
    first, second, speaker = heldout.fragments(np.array([2, 9]), seed=3)
    assert speaker.tolist() == [0] * 1500 + [1] * 1500  # one utterance gives no pair
    assert not ((first > 0) & (second > 0)).any()
    for mean, of in zip([*first, *second], [*speaker, *speaker], strict=True):
        assert set(np.flatnonzero(mean)) <= set(np.flatnonzero(heldout.speaker == of))
    assert {(mean > 0).sum() for mean in first} == {2, 3}  # 9 is cut to half of six utterances, and to two of five


def test_at_most_the_share_of_fragments_is_linked_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.clustering.linking._PAIRS", 300)
    rows, speaker = speakers(30, 16, 1.5)
    known, classes = speaker < 15, unit_means(unit(rows[speaker < 15]), speaker[speaker < 15])
    heldout = Heldout(unit(rows[~known]), speaker[~known])
    one, other, of = heldout.fragments(np.array([4, 6]), seed=0)
    for share in (0.0, 0.01, 0.2):
        found = measure_thresholds(heldout, classes, np.array([4, 6]), most_false=share)
        highest = np.concatenate([one, other]) @ classes.T
        assert found.false_links == (highest.max(axis=1) > found.link).mean() <= share
        assert found.found_links == np.mean([a @ b > found.link for a, b in zip(one, other, strict=True)])
    same = [float(a @ b) for a, b in zip(one, other, strict=True)]
    different = [float(one[i] @ other[j]) for i in range(len(of)) for j in range(len(of)) if of[i] != of[j]]
    assert found.same_eer == pytest.approx(eer(sort_scores(same, different)), abs=0.02)
    assert np.mean(np.array(same) < found.same) == pytest.approx(np.mean(np.array(different) >= found.same), abs=0.01)


def test_links_need_two_speakers_of_two_utterances() -> None:
    with pytest.raises(UserError, match="links need two held-out speakers or more, with two utterances or more"):
        Heldout(np.eye(4, dtype=np.float32), np.array([0, 0, 1, 2])).fragments(np.array([2]), seed=0)


def test_close_pairs_leave_out_two_labelled_speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    angles = np.array([0.0, 0.1, 0.15, 1.5, 1.55, 3.0])
    means = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    for block in (1024, 2):
        monkeypatch.setattr("sv.clustering.linking._BLOCK", block)
        assert close_pairs(means, 2, float(np.cos(0.2))).tolist() == [[0, 2], [1, 2], [3, 4]]
        assert nearest(means, means[:4])[0].tolist() == [0, 1, 2, 3, 3, 3]
    assert close_pairs(means, 2, 1.1).shape == (0, 2)
