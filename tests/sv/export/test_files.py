"""A system that cannot be exported gets an error, and leaves no file."""

import logging
from pathlib import Path

import pytest

from sv.config import save_config
from sv.embeddings.encoder import load_encoder
from sv.errors import UserError
from sv.export.files import write_file
from tests.sv.export.exported_system import NEEDS_EXPORT, make_exp

pytestmark = NEEDS_EXPORT


@pytest.mark.slow
def test_network_that_cannot_be_exported_is_named_and_torch_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setLevel(logging.WARNING)
    monkeypatch.setattr(logging.getLogger("torch"), "handlers", [caplog.handler])  # it does not tell the root logger
    exp = make_exp(tmp_path / "exp", "GE2E_LSTM", {"kind": "ge2e", "num_mel_bins": 40})
    with pytest.raises(UserError, match=r"^GE2E_LSTM cannot be traced: .*; export it to ONNX$"):
        write_file(exp, tmp_path / "x.pt", "torchscript", "feats")
    monkeypatch.setattr("sv.models.ge2e_lstm.Ge2eLstm.encode", lambda _, x: x[:, 0] if x.sum() > 0 else x[:, 1])
    with pytest.raises(UserError, match=r"^GE2E_LSTM cannot be exported to ONNX: "):
        write_file(exp, tmp_path / "x.onnx", "onnx", "feats")
    assert [path.name for path in tmp_path.iterdir()] == ["exp"] and not caplog.records


def test_system_that_drops_frames_is_refused(tmp_path: Path) -> None:
    exp = make_exp(tmp_path / "exp")
    config = load_encoder(exp).config
    args = config.dataset_args.model_copy(update={"vad": True})
    save_config(config.model_copy(update={"dataset_args": args}), exp / "config.yaml")
    with pytest.raises(
        UserError, match=r"dataset_args.vad is true, but exported models drop no frames; export a system"
    ):
        write_file(exp, tmp_path / "x.onnx", "onnx", "feats")
