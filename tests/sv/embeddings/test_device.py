"""Extraction on a GPU that is not there: torch's fake tensors, which have a device and no values.

A `.item()` or a size that depends on values raises an error at its line. `one_device` raises one for a tensor that was
left on the CPU and for a copy to the GPU that waits.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sv.audio.centered_fbank import make_fbank
from sv.config import Config, DatasetArgs, FbankConfig
from sv.embeddings.encoder import SpeakerEncoder
from sv.models import MODELS, build_model
from tests.one_device import LARGER, one_device

GPU = torch.device("cuda", 0)
LEFT_OUT = {
    "ReDimNet": "no default sizes; the named ones are the same code",
    "ReDimNet2": "the same",
}
ONE_OF_EACH_CLASS = sorted(
    {
        cast(partial[Any], MODELS._rows[name].build).args[0]: name
        for name in MODELS.names()
        if name not in LEFT_OUT.keys() | LARGER
    }.values()
)


class Reads(TorchDispatchMode):
    """Count copies from the GPU to the CPU, and say that values which the CPU has are good."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device.type == "cpu":
            return True
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default:
            self.count += args[0].device == GPU and result.device.type == "cpu"
        return result


@pytest.fixture
def reads() -> Iterator[Reads]:
    """Pretend that there is a GPU, within the test."""
    with FakeTensorMode(allow_non_fake_inputs=True), Reads() as mode:
        yield mode


def load(model: str, *, vad: bool = False) -> SpeakerEncoder:
    mels = dict(MODELS.options(model, {}))["feat_dim"]
    config = Config(model=model, dataset_args=DatasetArgs(vad=vad, fbank_args=FbankConfig(num_mel_bins=mels)))
    with GPU:
        return SpeakerEncoder(build_model(model, {}).eval().for_inference(), config, GPU, "")


@pytest.mark.slow
@pytest.mark.parametrize("model", ONE_OF_EACH_CLASS)
def test_extraction_reads_back_once_a_batch(model: str, reads: Reads) -> None:
    encoder = load(model)
    with one_device(model):
        embeddings = encoder.embed(torch.empty(3, 200, encoder.model.feat_dim), max_frames=120)
    assert embeddings.device.type == "cpu" and embeddings.shape == (3, encoder.model.embedding_dim)
    assert reads.count == 1


@pytest.mark.parametrize("vad", [False, True])
def test_a_waveform_is_embedded_with_one_read(vad: bool, reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.embeddings.encoder.find_voiced", lambda waveform, args: np.arange(98) % 3 > 0)
    encoder = load("resnet_small", vad=vad)
    fbank = make_fbank(encoder.config.dataset_args.fbank_args).to(GPU)
    with one_device():
        embedding = encoder.embed_wave(np.zeros(16_000, np.float32), fbank)
    assert embedding.shape == (encoder.model.embedding_dim,) and reads.count == 1


@pytest.mark.usefixtures("reads")
def test_a_wait_and_a_tensor_left_on_the_cpu_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load("resnet_small")

    def waits(feats: Tensor) -> Tensor:
        return feats[:, 0] * float(feats.sum())

    monkeypatch.setattr(encoder.model, "encode", waits)
    with pytest.raises(DataDependentOutputException):
        encoder.embed(torch.empty(3, 200, 80))
    monkeypatch.setattr(encoder.model, "encode", lambda feats: feats[:, 0] + torch.ones(80))
    with one_device(), pytest.raises(RuntimeError, match="two devices"):
        encoder.embed(torch.empty(3, 200, 80))
