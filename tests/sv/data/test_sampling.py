"""Samplers: what an epoch and a step hold, and settings that are refused; numbers from hashes."""

import numpy as np
import pytest

from sv.data import Loader, Sampler, UtteranceSampler, rows_of, uniform
from sv.data.sampling import GroupSampler, LengthSampler, ShareSampler, SpeakerSampler
from sv.errors import UserError


def test_uniform_depends_on_each_of_its_words_and_fills_the_interval():
    items = np.arange(20000)
    draws = uniform(1, 2, items)
    assert 0 <= draws.min() < 1e-3 < 0.999 < draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01
    assert np.histogram(draws, 10)[0].min() > 1800
    others = [uniform(2, 2, items), uniform(1, 3, items), uniform(1, 2, items + 20000), uniform(1, 2, items, stream=1)]
    assert all(abs(np.corrcoef(draws, other)[0, 1]) < 0.03 for other in others)
    np.testing.assert_array_equal(uniform(1, 2, items[5:9]), draws[5:9])
    np.testing.assert_array_equal(uniform(1, 2, items, np.array([[0], [1]])), [draws, others[-1]])


def test_an_epoch_takes_every_utterance_once_and_leaves_out_the_rest_of_a_batch():
    sampler = UtteranceSampler(np.arange(100, 150), global_batch=8, seed=3)
    seen = np.concatenate([sampler.step(1, step) for step in range(sampler.steps)])
    assert sampler.steps == 6
    assert len(set(seen.tolist())) == 48
    assert set(seen) <= set(range(100, 150))
    assert sampler.step(1, 0).tolist() != sampler.step(2, 0).tolist()
    assert UtteranceSampler(np.arange(50), global_batch=8, seed=3, per_epoch=20).steps == 2


COUNTS = {0: 40, 2: 9, 5: 1, 6: 2, 7: 30, 9: 14}  # utterances of each speaker, 96 in all
SPEAKER = np.repeat(np.array(list(COUNTS)), list(COUNTS.values())).astype(np.int32)
ROWS = np.arange(96) * 3 + 7  # of an index that holds others, too
SAMPLERS = {
    "utterance": lambda **options: UtteranceSampler(ROWS, 8, **options),
    "speaker": lambda **options: SpeakerSampler(ROWS, 8, speaker=SPEAKER, **options),
    "pxk": lambda **options: GroupSampler(ROWS, 8, speaker=SPEAKER, group=2, **options),
    "share": lambda **options: ShareSampler(ROWS, 8, chosen=SPEAKER == 0, share=0.25, **options),
    "length": lambda **options: LengthSampler(ROWS, 8, num_frames=100 + 5 * np.arange(96), **options),
}


def speakers_of(draws):
    return SPEAKER[(rows_of(draws) - 7) // 3]


def epoch_of(sampler: Sampler, epoch: int = 1) -> np.ndarray:
    """Return the draws of an epoch, (steps, batch)."""
    return np.stack([sampler.step(epoch, step) for step in range(sampler.steps)])


@pytest.mark.parametrize("name", SAMPLERS)
def test_processes_share_the_batch_of_one(name):
    sampler = SAMPLERS[name](seed=0)
    shares = [sampler.step(5, 2, rank, 4) for rank in range(4)]
    assert all(len(share) == 2 for share in shares)
    np.testing.assert_array_equal(np.concatenate(shares), sampler.step(5, 2))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_step_depends_on_seed_epoch_and_step_alone(name):
    sampler = SAMPLERS[name](seed=3)
    whole = epoch_of(sampler, 4)
    epoch_of(sampler, 1)
    np.testing.assert_array_equal(SAMPLERS[name](seed=3).step(4, 9), whole[9])  # as after a resume
    np.testing.assert_array_equal(sampler.step(4, 9), whole[9])
    assert (epoch_of(sampler, 5) != whole).any()
    assert (epoch_of(SAMPLERS[name](seed=4), 4) != whole).any()


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_epoch_has_no_draw_twice_and_may_be_cut_short(name):
    sampler = SAMPLERS[name](seed=1)
    assert sampler.steps == 12
    assert len(set(epoch_of(sampler).ravel().tolist())) == 96
    assert set(rows_of(epoch_of(sampler).ravel())) <= set(ROWS)
    assert SAMPLERS[name](seed=1, per_epoch=20).steps == 2
    np.testing.assert_array_equal(rows_of(np.array([5 + (3 << 32), 7])), [5, 7])


@pytest.mark.parametrize("name", ["utterance", "length"])
def test_utterance_and_length_samplers_take_each_utterance_once(name):
    assert set(epoch_of(SAMPLERS[name](seed=1)).ravel().tolist()) == set(ROWS.tolist())


def test_each_batch_has_its_share_of_the_chosen():
    """24 of 96 draws from the 40 utterances of a speaker; 72 from 56, of which 16 come again with another crop."""
    draws = epoch_of(SAMPLERS["share"](seed=1))
    chosen = speakers_of(draws) == 0
    assert (chosen.sum(axis=1) == 2).all()
    assert len(set(rows_of(draws[chosen]))) == 24
    assert np.bincount(np.unique(rows_of(draws[~chosen]), return_counts=True)[1]).tolist() == [0, 40, 16]
    assert len(set(np.flatnonzero(chosen) % 8)) > 4  # at any place of a batch, for processes to share


@pytest.mark.parametrize(
    ("share", "chosen", "message"),
    [
        (0.05, SPEAKER == 0, "a batch of 8 with a share of 0.05 labelled has 0 of them; it takes one or more of each"),
        (0.97, SPEAKER == 0, "a batch of 8 with a share of 0.97 labelled has 8 of them; it takes one or more of each"),
        (0.5, SPEAKER >= 0, "all 96 utterances are labelled; set pseudo_args.labelled_share=0"),
        (0.5, SPEAKER < 0, "all 96 utterances are pseudo-labelled; set pseudo_args.labelled_share=0"),
    ],
)
def test_a_share_that_a_batch_cannot_have_is_refused(share, chosen, message):
    with pytest.raises(UserError, match=message):
        ShareSampler(ROWS, 8, seed=0, chosen=chosen, share=share)


def test_speakers_are_drawn_equally_often_and_their_utterances_as_well():
    draws = epoch_of(SAMPLERS["speaker"](seed=1)).ravel()
    assert [int((speakers_of(draws) == speaker).sum()) for speaker in COUNTS] == [16] * 6
    for first in range(0, 96, 6):  # each round has every speaker
        assert set(speakers_of(draws[first : first + 6])) == set(COUNTS)
    for speaker, count in COUNTS.items():
        times = np.unique(rows_of(draws[speakers_of(draws) == speaker]), return_counts=True)[1]
        assert len(times) == min(count, 16)
        assert times.max() - times.min() <= 1
        assert (draws[speakers_of(draws) == speaker] >> 32).max() == (16 - 1) // count


def test_a_step_of_pxk_has_p_speakers_and_k_utterances_of_each():
    sampler = SAMPLERS["pxk"](seed=1)
    seen = set()
    for step in epoch_of(sampler):
        groups = speakers_of(step).reshape(4, 2)
        assert (groups[:, 0] == groups[:, 1]).all()
        assert len(set(groups[:, 0])) == 4
        for speaker, pair in zip(groups[:, 0], rows_of(step).reshape(4, 2), strict=True):
            assert (pair[0] == pair[1]) == (COUNTS[speaker] == 1)  # another crop of the only utterance
            assert pair[0] != pair[1] or len(set(uniform(0, 1, step))) == 8
        seen |= set(groups[:, 0])
    assert seen == set(COUNTS)


def test_pxk_deals_out_all_speakers_alike():
    speaker = np.repeat(np.arange(8), 12).astype(np.int32)
    draws = epoch_of(GroupSampler(ROWS, 8, seed=2, speaker=speaker, group=2))
    times = np.bincount(speaker[(draws[:, ::2].ravel() - 7) // 3])
    assert times.tolist() == [6] * 8
    assert set(draws.ravel()) == set(ROWS)  # 6 times 2 of the 12 of each


def test_a_batch_of_the_length_sampler_has_much_the_same_length():
    sampler = SAMPLERS["length"](seed=1)
    length = {row: 100 + 5 * i for i, row in enumerate(ROWS.tolist())}
    batches = np.array([[length[row] for row in step] for step in epoch_of(sampler).tolist()])
    assert (batches.max(axis=1) / batches.min(axis=1)).max() < 1.55  # of 100 to 575
    assert (np.diff(batches.mean(axis=1)) < 0).any()  # the batches come in any order
    assert (np.diff(batches, axis=1) < 0).any(axis=1).all()  # and so do utterances in a batch, for processes to share
    assert {frozenset(step) for step in epoch_of(sampler, 1)} != {frozenset(step) for step in epoch_of(sampler, 2)}


@pytest.mark.parametrize(
    ("batch", "group", "message"),
    [
        (8, 1, r"utts_per_speaker \(K\) is 1; it must be at least 2"),
        (9, 2, r"a batch of 9 is no multiple of 2 utterances a speaker; change dataloader_args.batch_size"),
        (14, 2, r"a batch of 14 is 7 speakers x 2 utterances, and there are 6 speakers; set a smaller"),
    ],
)
def test_batches_that_pxk_cannot_make_are_refused(batch, group, message):
    with pytest.raises(UserError, match=message):
        GroupSampler(ROWS, batch, seed=0, speaker=SPEAKER, group=group)


def test_processes_that_cannot_share_a_step_are_refused():
    with pytest.raises(UserError, match=r"3 processes cannot share batches of 8 evenly"):
        SAMPLERS["utterance"](seed=0).check_processes(3)
    SAMPLERS["pxk"](seed=0).check_processes(4)
    with pytest.raises(UserError, match=r"8 processes cannot share batches of 4 speakers x 2 utterances evenly"):
        Loader(None, SAMPLERS["pxk"](seed=0), process=(0, 8), num_workers=0)


def test_too_few_utterances_for_a_batch_are_refused():
    with pytest.raises(UserError, match="7 utterances to train on, fewer than a batch of 8"):
        UtteranceSampler(np.arange(7), global_batch=8, seed=0)
