"""Draws for each sample: how often, how loud, from which files, and always the same."""

from itertools import permutations

import numpy as np
import pytest

from sv.config import AugmentArgs
from sv.data.augmenter import BABBLE, CLEAN, KINDS, MUSIC, NOISE, REVERB, Augmenter, distinct
from sv.data.noises import ClipFolders
from sv.errors import UserError

ITEMS = np.arange(40000)


def make(noise_dir="", rir_dir="", prob=0.6, **args) -> Augmenter:
    return Augmenter(AugmentArgs(**args), ClipFolders(noise_dir, rir_dir), prob=prob, seed=3, sample_rate=16000)


def test_shares_and_levels_are_those_of_the_configuration(noise_dir, rir_dir):
    augmenter = make(noise_dir, rir_dir)
    draws = augmenter.draw(ITEMS, epoch=1)
    shares = np.bincount(draws.kind, minlength=len(KINDS)) / len(ITEMS)
    np.testing.assert_allclose(shares, [0.4, 0.3, 0.1, 0.1, 0.1], atol=0.01)
    for kind, (low, high) in ((NOISE, (0, 15)), (MUSIC, (5, 15)), (BABBLE, (13, 20))):
        snr_db = draws.snr_db[draws.kind == kind]
        assert low <= snr_db.min() < low + 0.1 and high - 0.1 < snr_db.max() < high
        assert abs(snr_db.mean() - (low + high) / 2) < 0.3
    assert np.isnan(draws.snr_db[draws.kind <= REVERB]).all()
    found = augmenter.statistics(draws)
    assert found["reverb_percent"] == pytest.approx(100 * shares[REVERB])
    assert found["noise_snr"] == pytest.approx(7.5, abs=0.3)


def test_files_are_of_the_type_all_equally_often_and_babble_has_3_to_7(noise_dir, rir_dir):
    augmenter = make(noise_dir, rir_dir)
    draws = augmenter.draw(ITEMS, epoch=2)
    assert (draws.file[draws.kind == CLEAN] == -1).all()
    prefixes = {NOISE: "noise", MUSIC: "music", BABBLE: "speech"}
    for kind, prefix in prefixes.items():
        counts = np.bincount(draws.file[draws.kind == kind].ravel() + 1, minlength=len(augmenter.noises.ids) + 1)[1:]
        ours = np.array([name.startswith(prefix) for name in augmenter.noises.ids])
        assert not counts[~ours].any()
        np.testing.assert_allclose(counts[ours] / counts.sum(), 1 / ours.sum(), atol=0.03)
    talkers = (draws.file[draws.kind == BABBLE] >= 0).sum(axis=1)
    np.testing.assert_allclose(np.bincount(talkers)[3:] / len(talkers), 0.2, atol=0.03)
    assert ((draws.file[(draws.kind > CLEAN) & (draws.kind < BABBLE)] >= 0).sum(axis=1) == 1).all()


def test_the_voices_of_a_babble_are_of_different_files(noise_dir, rir_dir):
    draws = make(noise_dir, rir_dir).draw(ITEMS, epoch=2)
    for files in draws.file[draws.kind == BABBLE]:
        voices = files[files >= 0].tolist()
        assert len(set(voices)) == len(voices)


def test_each_of_the_numbers_that_are_left_is_as_likely():
    draws = np.random.default_rng(0).uniform(size=(60_000, 3))
    orders, counts = np.unique(distinct(draws, 3), axis=0, return_counts=True)
    assert sorted(map(tuple, orders.tolist())) == sorted(permutations(range(3)))
    np.testing.assert_allclose(counts / len(draws), 1 / 6, atol=0.01)
    again = distinct(np.random.default_rng(0).uniform(size=(200, 5)), 2)  # fewer files than voices
    for first in (0, 2):
        assert (np.sort(again[:, first : first + 2], axis=1) == [0, 1]).all()
    assert set(again[:, 4].tolist()) == {0, 1}


def test_draws_depend_on_the_item_alone(noise_dir, rir_dir):
    augmenter = make(noise_dir, rir_dir)
    all_of_them, some = augmenter.draw(ITEMS, epoch=1), augmenter.draw(ITEMS[500:520], epoch=1)
    np.testing.assert_array_equal(some.kind, all_of_them.kind[500:520])
    np.testing.assert_array_equal(some.file, all_of_them.file[500:520])
    np.testing.assert_array_equal(some.snr_db, all_of_them.snr_db[500:520])
    assert (augmenter.draw(ITEMS, epoch=2).kind != all_of_them.kind).mean() > 0.3


def test_types_without_files_are_not_drawn(noise_dir, rir_dir, make_clips, tmp_path):
    only_rooms = make("", rir_dir).draw(ITEMS, 1).kind
    assert set(only_rooms) == {CLEAN, REVERB} and abs((only_rooms == REVERB).mean() - 0.6) < 0.01
    no_music = make(make_clips(tmp_path, {"noise/a": 1.0}), rir_dir).draw(ITEMS, 1).kind
    np.testing.assert_allclose(np.bincount(no_music) / len(ITEMS), [0.4, 0.45, 0.15], atol=0.01)
    assert set(make(noise_dir, rir_dir, reverb=0.0, noise=0.0, babble=0.0).draw(ITEMS, 1).kind) == {CLEAN, MUSIC}
    assert set(make(noise_dir, rir_dir, prob=1.0).draw(ITEMS, 1).kind) == {REVERB, NOISE, MUSIC, BABBLE}
    assert set(make(prob=0.0).draw(ITEMS, 1).kind) == {CLEAN}


def test_what_cannot_be_drawn_is_refused(noise_dir):
    with pytest.raises(UserError, match=r"nothing to augment with: .* are reverb, noise, music, babble, and none of"):
        make()
    with pytest.raises(UserError, match=r"weight are reverb, and none of them is in noise_data"):
        make(noise_dir, noise=0.0, music=0.0, babble=0.0)
    with pytest.raises(UserError, match=r"augment_args.noise_snr is \[15.0, 0.0\]; the lower value comes first"):
        make(noise_dir, noise_snr=[15.0, 0.0])


def test_a_sample_is_described(noise_dir, rir_dir):
    augmenter = make(noise_dir, rir_dir)
    draws = augmenter.draw(np.array([7]), 0, NOISE)
    kind, snr_db, name = augmenter.describe(draws, 0).split()
    assert kind == "noise" and 0 <= float(snr_db) <= 15 and name.startswith("noise/")
    assert augmenter.describe(augmenter.draw(np.array([7]), 0, REVERB), 0).startswith("reverb rir/")
