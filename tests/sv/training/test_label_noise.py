"""The measures of suspicious labels, worked out again the slow way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sv.losses import build_head
from sv.training.label_noise import class_cosines, head_losses, measure_detection, measure_suspected, probably_right

SPEAKER = np.array([0, 1, 0, 2, 1, 0, 3])


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_cosines_are_to_the_mean_of_the_others(embeddings):
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines, nearest = class_cosines(embeddings, SPEAKER)
    for i, own in enumerate(SPEAKER):
        others = [j for j in range(7) if j != i and SPEAKER[j] == own]
        if others:
            assert cosines[i] == pytest.approx(cosine(unit[i], unit[others].mean(axis=0)), abs=1e-5)
        else:
            assert np.isnan(cosines[i])
        means = {spk: unit[spk == SPEAKER].mean(axis=0) for spk in range(4) if spk != own}
        assert nearest[i] == max(means, key=lambda spk: cosine(unit[i], means[spk]))


def test_losses_are_the_heads_and_unknown_speakers_have_none(embeddings):
    head = build_head("sphereface2", 4, 3, {})
    speaker = np.where(SPEAKER == 3, -1, SPEAKER)
    losses = head_losses(head, embeddings, speaker, 0.2)
    assert np.isnan(losses[6])
    for i in range(6):
        one = head(torch.from_numpy(embeddings[i : i + 1]), torch.from_numpy(speaker[i : i + 1]), 0.2).losses
        assert losses[i] == pytest.approx(float(one), rel=1e-5)


def test_detection_by_hand():
    found = measure_detection(np.array([True, False, True, True, False]))
    assert (found.wrong, found.precision) == (3, pytest.approx(2 / 3))
    assert found.average_precision == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)


def test_a_share_of_nothing_is_none() -> None:
    none, first = np.zeros(3, dtype=bool), np.array([True, False, False])
    assert measure_suspected(none, first, ranked=~none) == {"utterances": 0, "precision": None, "recall": 0.0}
    assert measure_suspected(first, none, ranked=~none) == {"utterances": 1, "precision": 0.0, "recall": None}


def test_too_few_low_losses_suspect_no_label_and_say_why(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    losses = np.exp(np.concatenate([rng.normal(-3, 0.3, 30), rng.normal(1, 0.3, 70)])).astype(np.float32)
    assert (probably_right(losses, Path("loss")) == 1).all()
    why = "the low mode holds 30.0 % of the values, less than half"
    assert f"have no two clear modes ({why}); check labels from the top of loss" in caplog.text
