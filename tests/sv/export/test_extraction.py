"""The choice of the runtime that extracts embeddings; both give the same ones."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sv.embeddings.parts import Extraction
from sv.errors import UserError
from sv.export import extraction
from sv.export.extraction import prepare_network
from sv.io import read_vectors
from tests.sv.embeddings.random_system import extract, make_system, work_of
from tests.sv.export.exported_system import NEEDS_EXPORT

pytestmark = NEEDS_EXPORT


@pytest.fixture
def work(tmp_path: Path) -> Extraction:
    """An extraction of seven utterances, begun."""
    work = work_of(make_system(tmp_path), max_frames=40)  # the longest utterances are cut, after they lose their mean
    work.begin()
    return work


@pytest.mark.slow
def test_embeddings_marks_and_what_is_left_are_those_of_torch(work: Extraction) -> None:
    extract(work)
    by_torch, mark = read_vectors(work.scp), json.loads(work.mark().path.read_text())["inputs"]
    work.mark().path.unlink()
    work.begin()
    prepare_network([work], 1, "onnx")
    assert work.network.is_file()
    work.run(1)
    work.finish()
    by_onnx = read_vectors(work.scp)
    assert by_onnx.ids == by_torch.ids
    norms = np.linalg.norm(by_onnx.matrix, axis=1) * np.linalg.norm(by_torch.matrix, axis=1)
    cosine = (by_onnx.matrix * by_torch.matrix).astype(np.float64).sum(axis=1) / norms
    assert (by_onnx.matrix != by_torch.matrix).any() and cosine.min() > 1 - 1e-5
    assert json.loads(work.mark().path.read_text())["inputs"] == mark
    assert not work.network.exists()
    prepare_network([work], 1, "onnx")
    assert not work.network.exists(), "all is done"


@pytest.mark.slow
def test_auto_exports_from_an_hour_of_speech_a_job_on(work: Extraction, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = int(work.open()[0].num_frames.sum())
    monkeypatch.setattr(extraction, "LONG", frames // 2)
    prepare_network([work], 3, "auto")
    assert not work.network.exists()
    prepare_network([work], 2, "torch")
    assert not work.network.exists()
    prepare_network([work], 2, "auto")
    assert work.network.is_file()
    work.begin()
    assert not work.network.exists(), "one that an earlier call left"


@pytest.mark.slow
def test_a_missing_package_is_named_and_auto_goes_on_by_torch(
    work: Extraction, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(torch.onnx, "export", None)  # it is told first
    with pytest.raises(UserError, match="exported models need the package onnxruntime; install it: pip install"):
        prepare_network([work], 1, "onnx")
    monkeypatch.setattr(extraction, "LONG", 0)
    with caplog.at_level(logging.INFO):
        prepare_network([work], 1, "auto")
    assert "torch computes the embeddings, since onnxruntime cannot: exported models need the package onnxruntime" in (
        caplog.text
    )
    assert not work.network.exists()


@pytest.mark.slow
def test_a_network_with_other_embeddings_is_not_used(work: Extraction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "LOWEST_COSINE", 1.01)
    with pytest.raises(UserError, match="the exported model does not give the embeddings of the trained one"):
        prepare_network([work], 1, "onnx")
    assert not work.network.exists()


def test_gpus_leave_the_work_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(extraction, "LONG", 0)
    exp, data = make_system(tmp_path)
    work = Extraction(exp, data, tmp_path / "out", gpus="auto")
    prepare_network([work], 1, "auto")
    assert not work.network.exists()
    with pytest.raises(UserError, match="--backend onnx computes on CPUs, not with --gpus auto; give --gpus none"):
        prepare_network([work], 1, "onnx")
