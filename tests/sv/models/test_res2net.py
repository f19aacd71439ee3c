"""Res2Net: sizes and names as WeSpeaker's, arithmetic against one written out, and what holds at any length."""

import pytest
import torch
from torch import Tensor

from sv.models import build_model
from sv.models.loading import load_backbone
from sv.models.res2net import Res2Block
from tests.sv.models import plain_res2net as plain

SMALL = {"m_channels": 4, "embed_dim": 7}


@pytest.mark.parametrize(
    ("name", "m_channels", "parameters"), [("Res2Net34_Base", 32, 4_689_024), ("Res2Net34_Large", 64, 13_481_472)]
)
def test_tensors_and_size_are_wespeakers(name: str, m_channels: int, parameters: int) -> None:
    plain.check_published(name, plain.res2net(m_channels, 256), 320, parameters)


def test_checkpoint_with_the_published_names_loads() -> None:
    state: dict[str, Tensor] = {k: torch.rand(v) for k, v in plain.published_shapes(plain.res2net(32, 256)).items()}
    model = build_model("Res2Net34_Base", {})
    load_backbone(model, state, "res2net.pt")
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if value.dim())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_block_convolves_all_parts_but_the_last(scale: int) -> None:
    torch.manual_seed(1)
    block = Res2Block(6, 16, 2, base_width=24, scale=scale, expansion=2).double()
    x = 30 * torch.randn(3, 6, 9, 11, dtype=torch.float64)  # some activations reach 20
    block.train()(x)  # so that batch norm has statistics
    block.eval()
    torch.nn.init.normal_(block.bn3.bias, 15, 10)
    state = {f"block.{key}": value for key, value in block.state_dict().items()}
    expected = plain.block(state, x, "block", 2, scale)
    assert (expected == 20).any() and (expected == 0).any()
    torch.testing.assert_close(block(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("two_emb_layer", [False, True])
def test_arithmetic_is_wespeakers(two_emb_layer: bool) -> None:
    torch.manual_seed(1)
    model = build_model("Res2Net34_Base", {**SMALL, "two_emb_layer": two_emb_layer}).double()
    features = torch.randn(3, 37, 80, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    state = model.state_dict()
    expected = plain.embed(state, plain.groups(state, features, scale=2)[-1])
    torch.testing.assert_close(model(features), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frames", [1, 2, 9, 64, 201])
def test_any_length_is_finite_and_alone_as_in_a_batch(frames: int) -> None:
    torch.manual_seed(1)
    model = build_model("Res2Net34_Base", SMALL).eval()
    features = torch.randn(3, frames, 80)
    embeddings = model(features)
    assert embeddings.shape == (3, 7) and embeddings.isfinite().all()
    alone = torch.cat([model(row[None]) for row in features])
    torch.testing.assert_close(embeddings, alone, rtol=1e-4, atol=1e-5)


def test_any_number_of_mels_fits() -> None:
    for mels in (17, 40, 81):
        model = build_model("Res2Net34_Base", {**SMALL, "feat_dim": mels}).eval()
        assert model(torch.randn(1, 20, mels)).shape == (1, 7)
