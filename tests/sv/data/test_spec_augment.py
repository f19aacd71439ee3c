"""Bands of SpecAugment: where they lie, what they depend on, and what they hide."""

import numpy as np
import torch

from sv.config import SpecAugArgs
from sv.data.spec_augment import draw_bands, hide

ARGS = SpecAugArgs(prob=0.5, num_t_mask=2, max_t=10, num_f_mask=1, max_f=8)
ITEMS = np.arange(400)


def test_bands_lie_within_the_features_and_half_of_the_samples_have_none() -> None:
    time, frequency = draw_bands(ARGS, 30, 20, seed=1, epoch=2, items=ITEMS)
    assert (time.shape, frequency.shape) == ((400, 2, 2), (400, 2, 1))
    for (start, length), positions, longest in ((time.unbind(1), 30, 10), (frequency.unbind(1), 20, 8)):
        assert (start >= 0).all() and (start + length <= positions).all()
        drawn = length[length.sum(1) > 0]
        assert 150 < len(drawn) < 250
        assert sorted(set(drawn.flatten().tolist())) == list(range(1, longest + 1))


def test_bands_depend_on_the_item_alone() -> None:
    whole = draw_bands(ARGS, 30, 20, seed=1, epoch=2, items=ITEMS)
    part = draw_bands(ARGS, 30, 20, seed=1, epoch=2, items=ITEMS[7:9])
    other = draw_bands(ARGS, 30, 20, seed=1, epoch=3, items=ITEMS)
    assert all(a[7:9].equal(b) and not a.equal(c) for a, b, c in zip(whole, part, other, strict=True))


def test_hidden_bands_are_zero_and_nothing_else_is() -> None:
    bands = torch.tensor([[[2], [3]], [[0], [0]]]), torch.tensor([[[0], [1]], [[4], [1]]])  # start, length
    expected = torch.ones(2, 6, 5)
    expected[0, 2:5] = 0
    expected[0, :, 0] = 0
    expected[1, :, 4] = 0
    assert hide(torch.ones(2, 6, 5), bands).equal(expected)


def test_no_bands_without_settings() -> None:
    features = torch.ones(3, 6, 5)
    assert hide(features, draw_bands(None, 6, 5, seed=0, epoch=1, items=np.arange(3))) is features
