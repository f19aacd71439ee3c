"""Batches of crops from arks, read in the background."""

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from sv.data import ArkDataset, ArkReader, Loader, UtteranceSampler, read_index, rows_of
from sv.data.sampling import GroupSampler
from sv.errors import UserError
from tests.sv.data.feats_dir import MELS, make_dir


def test_an_utterance_twice_in_a_batch_gives_two_crops(tmp_path):
    reader = ArkReader(read_index(make_dir(tmp_path, {"a-1": 400, "b-1": 400, "b-2": 400})), MELS)
    sampler = GroupSampler(np.arange(3), 2, seed=0, speaker=reader.index.speaker, group=2)
    batches = [ArkDataset(reader, num_frms=6, seed=1).batch(sampler.step(epoch, 0), epoch) for epoch in range(1, 9)]
    alone = [batch for batch in batches if batch.speaker.tolist() == [0, 0]]
    assert alone
    for batch in alone:
        assert rows_of(batch.utts).tolist() == [0, 0]
        assert not batch.features[0].equal(batch.features[1])


def loader(reader: ArkReader, num_workers: int, *, pin: bool = False) -> Loader:
    sampler = UtteranceSampler(np.arange(len(reader.index)), global_batch=4, seed=1)
    return Loader(ArkDataset(reader, num_frms=6, seed=1), sampler, num_workers=num_workers, prefetch=2, pin=pin)


def test_batches_are_the_same_with_any_number_of_workers_and_from_any_step(tmp_path):
    reader = ArkReader(read_index(make_dir(tmp_path, {f"{c}-{i}": 9 + i for c in "abcde" for i in range(5)})), MELS)
    plain = list(loader(reader, 0).epoch(2))
    assert len(plain) == 6
    for workers, first in ((1, 0), (3, 0), (2, 4)):
        for batch, expected in zip(loader(reader, workers).epoch(2, first), plain[first:], strict=True):
            assert batch.features.equal(expected.features)
            assert batch.speaker.equal(expected.speaker)
            assert batch.utts.tolist() == expected.utts.tolist()
    assert batch.features.shape == (4, 6, MELS)
    assert batch.speaker.tolist() == reader.index.speaker[batch.utts].tolist()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_for_a_gpu_are_pinned(num_workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor + 100)  # stands for the copy
    reader = ArkReader(read_index(make_dir(tmp_path, {f"{c}-1": 9 for c in "abcde"})), MELS)
    plain, pinned = (list(loader(reader, num_workers, pin=pin).epoch(1)) for pin in (False, True))
    assert len(plain) == len(pinned) > 0
    for batch, copy in zip(plain, pinned, strict=True):
        assert copy.features.equal(batch.features + 100) and copy.speaker.equal(batch.speaker + 100)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_archive_cut_off_in_mid_training_names_utterance_and_file(tmp_path, num_workers):
    reader = ArkReader(read_index(make_dir(tmp_path, {"a-1": 30, "b-1": 7, "b-2": 12})), MELS)
    reader.crops(np.arange(3), np.zeros(3, np.int64), 5, center=True)
    with open(tmp_path / "feats.ark", "r+b") as f:
        f.truncate(60)
    sampler = UtteranceSampler(np.arange(3), global_batch=3, seed=0)
    batches = Loader(ArkDataset(reader, num_frms=5, seed=0), sampler, num_workers=num_workers)
    with pytest.raises(UserError, match=r"feats.scp:\d: \w-\d: .*feats.ark ends within a matrix"):
        next(batches.epoch(1))
