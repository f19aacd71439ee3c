"""Batches of utterances of equal length."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sv.embeddings.extraction import make_batches
from sv.errors import UserError
from sv.models.resnet import ResNet
from tests.sv.embeddings.random_system import extract, make_system, work_of

FRAMES = np.array([9, 30, 20, 30, 30, 10, 20, 30, 7], dtype=np.int32)


def test_without_a_budget_each_utterance_goes_alone_in_order() -> None:
    batches = make_batches(FRAMES, range(1, 5), 0)
    assert [batch.tolist() for batch in batches] == [[1], [2], [3], [4]]


@pytest.mark.parametrize(("budget", "most"), [(1, 1), (60, 2), (90, 3), (1000, 4)])
def test_batches_hold_each_row_once_with_one_length_within_the_budget(budget: int, most: int) -> None:
    batches = make_batches(FRAMES, range(1, 8), budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1, 8))
    assert all(len(set(FRAMES[batch])) == 1 for batch in batches)
    assert max(map(len, batches)) == most


def test_lack_of_memory_names_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_of(make_system(tmp_path), max_frames=500)
    monkeypatch.setattr(ResNet, "forward", lambda *_: torch.empty(1 << 60, dtype=torch.uint8))
    with pytest.raises(
        UserError,
        match=r"data: spk0/v/00000\.wav: out of memory \(another \d+\.00 GiB wanted\); resnet_small embeds 1 "
        r"utterance\(s\) of \d+ frames on cpu: lower --max-frames \(now 500\), --batch-frames or the number of jobs",
    ):
        extract(work)
