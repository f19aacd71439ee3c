"""TorchScript files against the network that they were made from."""

from pathlib import Path

import pytest
import torch

from sv.audio.centered_fbank import make_fbank
from sv.embeddings.encoder import load_encoder
from sv.export.files import write_file
from sv.export.parity import cosines
from tests.sv.export.exported_system import make_exp


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["feats", "waveform"])
def test_torchscript_gives_the_same_embeddings(kind: str, tmp_path: Path) -> None:
    exp = make_exp(tmp_path / "exp")
    write_file(exp, tmp_path / "x.pt", "torchscript", kind)
    encoder, network = load_encoder(exp), torch.jit.load(tmp_path / "x.pt")
    front_end = make_fbank(encoder.config.dataset_args.fbank_args)
    for samples in (16000, 50077):
        waveform = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
        feats = front_end(waveform)
        found = network(feats if kind == "feats" else waveform).numpy()
        assert cosines(found, encoder.embed(feats).numpy()).min() >= 1 - 1e-4
