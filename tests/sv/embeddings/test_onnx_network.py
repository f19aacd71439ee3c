"""The exported network in place of the trained one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sv.embeddings.encoder import load_encoder
from sv.embeddings.onnx_network import OnnxNetwork
from sv.errors import UserError
from sv.export.onnx_files import network_model
from tests.sv.embeddings.random_system import MELS, make_system
from tests.sv.export.exported_system import NEEDS_EXPORT

pytestmark = NEEDS_EXPORT


@pytest.fixture
def network(tmp_path: Path) -> OnnxNetwork:
    """The exported network of a random system."""
    encoder = load_encoder(make_system(tmp_path)[0])
    path = tmp_path / "network.onnx"
    path.write_bytes(network_model(encoder, 1 - 1e-5).SerializeToString())
    return OnnxNetwork(encoder.model, path, num_threads=1)


@pytest.mark.slow
def test_any_batch_and_length_gives_torchs_embeddings_and_its_errors(network: OnnxNetwork) -> None:
    generator = torch.Generator().manual_seed(0)
    for batch, frames in ((1, 30), (3, 47), (1, 2), (1, 9), (2, 500)):
        feats = torch.randn(batch, frames, MELS, generator=generator)
        with torch.inference_mode():
            np.testing.assert_allclose(network(feats), network.trained(feats), atol=1e-5)
    assert network.embedding_dim == network.trained.embedding_dim
    with pytest.raises(UserError, match=rf"features have 3 mels, the model takes {MELS}"):
        network(torch.randn(1, 30, 3))


@pytest.mark.slow
def test_short_utterances_alone_go_through_torch(network: OnnxNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(feats: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(feats), 8)

    monkeypatch.setattr(network.trained, "encode", encode)
    shortest = network.trained.min_frames + 9
    assert network(torch.randn(1, shortest - 1, MELS)).abs().max() == 0
    assert network(torch.randn(1, shortest, MELS)).abs().max() > 0


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "network.onnx").write_bytes(b"x" * 100)
    encoder = load_encoder(make_system(tmp_path)[0])
    with pytest.raises(UserError, match=r"network\.onnx is no ONNX model that onnxruntime can run .*; export it again"):
        OnnxNetwork(encoder.model, tmp_path / "network.onnx", num_threads=1)
