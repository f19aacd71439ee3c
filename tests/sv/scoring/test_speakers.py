"""Embeddings by speaker, against loops."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import Vectors
from sv.scoring.speakers import by_speaker, class_stats, read_spk, speaker_means

IDS = ["b1", "a1", "b2", "c1", "a2", "b3"]
UTT2SPK = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "b3": "b", "c1": "c", "d1": "d"}


@pytest.fixture
def vectors() -> Vectors:
    return Vectors(IDS, np.random.default_rng(0).normal(3, 1, (6, 4)).astype(np.float32))


def test_means_of_the_speakers_sorted(vectors: Vectors) -> None:
    means = speaker_means(by_speaker(vectors, UTT2SPK))
    assert means.ids == ["a", "b", "c"]
    for row, utts in enumerate([["a1", "a2"], ["b1", "b2", "b3"], ["c1"]]):
        expected = np.mean([vectors.matrix[IDS.index(utt)] for utt in utts], axis=0)
        np.testing.assert_allclose(means.matrix[row], expected, rtol=1e-6)


def test_excluded_speakers_are_left_out(vectors: Vectors) -> None:
    labelled = by_speaker(vectors, UTT2SPK, exclude=["b", "z"])
    assert labelled.speakers == ["a", "c"] and labelled.vectors.ids == ["a1", "c1", "a2"]
    assert labelled.speaker.tolist() == [0, 1, 0]


@pytest.mark.parametrize("rows", [1, 2, 4, 8192])
def test_statistics_equal_loops(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.scoring.speakers._ROWS", rows)
    rng = np.random.default_rng(0)
    speaker = rng.permutation(np.repeat(np.arange(7), [1, 2, 3, 9, 1, 4, 5]))
    matrix = rng.normal(100, 1, (25, 3)).astype(np.float32)  # far from 0: nothing may cancel
    stats = class_stats(matrix, speaker)
    assert stats.counts.tolist() == [1, 2, 3, 9, 1, 4, 5] and stats.num_utts == 25 and stats.dim == 3
    scatter = np.zeros((3, 3))
    for number in range(7):
        own = matrix[speaker == number].astype(np.float64)
        np.testing.assert_allclose(stats.means[number], own.mean(axis=0), rtol=1e-12)
        scatter += sum(np.outer(x, x) for x in own - own.mean(axis=0))
    np.testing.assert_allclose(stats.scatter, scatter, rtol=1e-10)


def test_list_of_speakers_takes_the_first_word(tmp_path: Path) -> None:
    (tmp_path / "spk").write_text("a\n\nb utt1 utt2\n")
    assert read_spk(tmp_path / "spk") == ["a", "b"]
    with pytest.raises(UserError, match="does not exist; it lists one speaker a line"):
        read_spk(tmp_path / "none")


def test_utterance_without_speaker_is_named(vectors: Vectors) -> None:
    known = {utt: spk for utt, spk in UTT2SPK.items() if spk != "a"}
    with pytest.raises(UserError, match=r"utt2spk: a1 of x\.scp is not there \(2 such utterances\)"):
        by_speaker(vectors, known, source="x.scp")


def test_no_speaker_left_is_refused(vectors: Vectors) -> None:
    with pytest.raises(UserError, match=r"x\.scp: no speaker is left when 3 are excluded"):
        by_speaker(vectors, UTT2SPK, exclude=["a", "b", "c"], source="x.scp")
    with pytest.raises(UserError, match="utt2spk: none of the 2 speakers to exclude is there; give names of speakers"):
        by_speaker(vectors, UTT2SPK, exclude=list(UTT2SPK)[:2])
