"""Utterances that cannot be read during training."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from sv.data import Batch, FaultTolerantDataset, Loader, UtteranceSampler
from sv.data.noises import ClipError
from sv.data.sampling import GroupSampler, rows_of
from sv.data.utt_index import PackedStrings, UttIndex
from sv.errors import UserError
from sv.io import read_table

SPEAKERS, EACH = 5, 6


def make_index() -> UttIndex:
    names = [f"s{n // EACH}-{n}" for n in range(SPEAKERS * EACH)]
    count = len(names)
    return UttIndex(
        path=Path("data"),
        utts=PackedStrings.pack(names),
        num_frames=np.full(count, 9, np.int32),
        speaker=np.arange(count, dtype=np.int32) // EACH,
        speakers=[f"s{n}" for n in range(SPEAKERS)],
    )


class Broken:
    """Features that name their utterance and epoch, except some that cannot be read."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad

    def batch(self, utts: np.ndarray, epoch: int) -> Batch:
        rows = rows_of(utts)
        if found := self.bad & set(rows.tolist()):
            raise UserError(f"utterance {min(found)} is damaged")
        values = torch.from_numpy(100.0 * epoch + rows)
        return Batch(values, torch.from_numpy(rows // EACH), utts)

    def statistics(self, utts: np.ndarray, epoch: int) -> dict[str, float]:
        return {"mean": float(utts.mean())}

    def fingerprint(self) -> str:
        return "x"


def tolerant(bad: set[int], max_share: float = 0.5, *, keep_speakers: bool = False) -> FaultTolerantDataset:
    index = make_index()
    utts = np.arange(len(index))
    return FaultTolerantDataset(Broken(bad), utts, index, seed=3, max_share=max_share, keep_speakers=keep_speakers)


def test_a_bad_utterance_is_replaced_by_one_of_its_speaker_and_the_others_stay() -> None:
    dataset, utts = tolerant({7}), np.array([3, 7, 20])
    batch = dataset.batch(utts, 1)
    assert batch.utts[[0, 2]].tolist() == [3, 20]
    assert batch.utts[1] in {6, 8, 9, 10, 11}
    assert batch.speaker.tolist() == [0, 1, 3]
    assert batch.features.tolist() == [100.0 + utt for utt in batch.utts]
    assert dataset.bad.why == {"s1-7": "utterance 7 is damaged"}
    assert utts.tolist() == [3, 7, 20]


def test_the_substitute_is_the_same_in_any_order_and_changes_with_the_epoch() -> None:
    first = [tolerant({7}).batch(np.array([7]), epoch).utts[0] for epoch in range(20)]
    dataset = tolerant({7})
    again = [dataset.batch(np.array([1, 7]), epoch).utts[1] for epoch in reversed(range(20))]
    assert first == again[::-1]
    assert len(set(first)) > 2


def test_a_speaker_without_other_utterances_is_replaced_by_anybody() -> None:
    dataset = tolerant(set(range(6, 12)))
    (utt,) = dataset.batch(np.array([7]), 1).utts
    assert not 6 <= utt < 12
    assert dataset.bad.why.keys() >= {"s1-7"}


def test_speakers_and_distinct_draws_stay_where_a_loss_compares_them() -> None:
    dataset = tolerant({7, 8, 9, 10, 11, 29}, keep_speakers=True)  # of speaker 1, utterance 6 alone can be read
    speaker = np.arange(SPEAKERS * EACH, dtype=np.int32) // EACH
    sampler = GroupSampler(np.arange(SPEAKERS * EACH), global_batch=6, seed=1, speaker=speaker, group=3)
    for epoch in range(10):
        for step in range(sampler.steps):
            utts = sampler.step(epoch, step)
            batch = dataset.batch(utts, epoch)
            assert batch.speaker.tolist() == (rows_of(utts) // EACH).tolist()
            assert len(set(batch.utts.tolist())) == 6
    assert dataset.bad.why.keys() == {"s1-7", "s1-8", "s1-9", "s1-10", "s1-11", "s4-29"}


def test_a_substitute_is_not_in_the_batch_as_long_as_there_are_others() -> None:
    dataset = tolerant({7}, keep_speakers=True)
    assert {dataset.batch(np.array([6, 7, 8, 9, 11]), epoch).utts[1] for epoch in range(20)} == {10}


def test_where_a_loss_compares_a_speaker_without_other_utterances_ends_the_run() -> None:
    dataset = tolerant(set(range(6, 12)), keep_speakers=True)
    with pytest.raises(UserError, match=r"utterance 7 is damaged; s1 has no other utterance that can be read, and the"):
        dataset.batch(np.array([0, 1, 7, 8]), 1)


def test_batches_are_the_same_with_any_number_of_workers_and_from_any_step() -> None:
    def batches(workers: int, first: int = 0) -> list[list[float]]:
        sampler = UtteranceSampler(np.arange(SPEAKERS * EACH), global_batch=4, seed=1)
        loader = Loader(tolerant({2, 11, 12, 29}), sampler, num_workers=workers)
        return [batch.features.tolist() for batch in loader.epoch(2, first)]

    plain = batches(0)
    assert all(len(batch) == 4 for batch in plain)
    assert batches(2) == plain and batches(1, first=3) == plain[3:]


def test_more_than_the_share_stop_the_run_and_are_listed(tmp_path: Path) -> None:
    dataset = tolerant({0, 6, 12}, max_share=2 / 30)
    dataset.batch(np.array([0, 6, 7]), 1)
    dataset.batch(np.array([0, 6, 7]), 2)
    with pytest.raises(UserError, match=r"3 of 30 utterances cannot be read, more than max_bad_share 0\.06\d+ allows"):
        dataset.batch(np.array([12]), 2)
    dataset.bad.write(tmp_path / "bad_utts")
    assert read_table(tmp_path / "bad_utts")["s2-12"] == "utterance 12 is damaged"
    assert len(read_table(tmp_path / "bad_utts")) == 3
    with pytest.raises(UserError, match="1 of 30"):
        tolerant({7}, max_share=0.0).batch(np.array([7]), 1)


def test_when_nothing_can_be_read_it_ends_at_once() -> None:
    with pytest.raises(UserError, match=r"utterance 7 is damaged; 8 others drawn instead of it cannot be read either"):
        tolerant(set(range(30)), max_share=1.0).batch(np.array([7]), 1)


def test_no_file_where_nothing_is_bad(tmp_path: Path) -> None:
    dataset = tolerant(set())
    dataset.batch(np.arange(4), 1)
    dataset.bad.write(tmp_path / "bad_utts")
    assert not (tmp_path / "bad_utts").exists()
    assert dataset.statistics(np.arange(3), 1) == {"mean": 1.0} and dataset.fingerprint() == "x"


def test_a_known_bad_utterance_does_not_make_the_others_be_tried_again() -> None:
    dataset = tolerant({3, 8})
    utts = np.arange(0, 12)
    first = dataset.batch(utts, 1)
    with mock.patch.object(dataset.dataset, "batch", wraps=dataset.dataset.batch) as batch:
        again = dataset.batch(utts, 1)
    assert np.array_equal(first.utts, again.utts)
    assert sum(len(call.args[0]) for call in batch.call_args_list) < 2 * len(utts)


def test_noise_that_cannot_be_read_is_no_fault_of_an_utterance() -> None:
    dataset = tolerant(set())
    with (
        mock.patch.object(dataset.dataset, "batch", side_effect=ClipError("no noise")),
        pytest.raises(ClipError, match="no noise"),
    ):
        dataset.batch(np.arange(4), 1)
    assert not dataset.bad.why
