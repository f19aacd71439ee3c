"""The plain references of bench/loader.py, which must do the same work as ours."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bench.loader import CROP, MELS, WholeMatrices, make_dir
from bench.loader_waves import CROP_SAMPLES, Corpus, Usual, read_speech, worker_processes
from sv.data import WavScpSource


def test_matrices_are_found_from_any_folder(tmp_path: Path) -> None:
    crops = WholeMatrices(make_dir(tmp_path, 3) / "feats.scp")
    assert len(crops) == 3 and crops[2].shape == (CROP, MELS)
    torch.testing.assert_close(crops[2].mean(0), torch.zeros(MELS), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_usual_features_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SV_CORPORA", "")
    corpus = Corpus(tmp_path, 2)
    usual, ours = Usual(corpus, 0.6), corpus.online(WavScpSource(tmp_path), 0.6)
    wave = torch.from_numpy(read_speech(1)[0])[:CROP_SAMPLES]
    feats = ours.front_end.fbank(wave[None])[0]
    torch.testing.assert_close(usual.features(wave), feats - feats.mean(0), rtol=0, atol=5e-3)
    assert usual[0].shape == (CROP, MELS)
    assert (usual.decode(corpus.paths[1]) - torch.from_numpy(read_speech(2)[1])).abs().max() < 1e-4
    assert ours.batch(np.arange(2), 1).features.shape == (2, CROP, MELS)


def test_worker_processes_take_data_that_cannot_be_pickled() -> None:
    """Python 3.14 would pickle it."""
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        assert [*DataLoader([lambda: 3], None, collate_fn=lambda item: item(), **worker_processes(1))] == [3]
    finally:
        multiprocessing.set_start_method(None, force=True)
    assert [*DataLoader([3], None, **worker_processes(0))] == [3]
