"""ERes2NetV2: sizes and names as 3D-Speaker's, arithmetic against one written out, any length."""

import pytest
import torch
from torch import Tensor

from sv.errors import UserError
from sv.models import MODELS, build_model
from sv.models.loading import load_backbone
from tests.sv.models import plain_res2net as plain

SMALL = {"m_channels": 4, "embed_dim": 7}
PUBLISHED = {
    "ERes2NetV2": (plain.eres2netv2(64, 26, 2, 2, 192), 557, 17_859_632),
    "ERes2NetV2_w24s4ep4": (plain.eres2netv2(64, 24, 4, 4, 192), 1001, 53_513_632),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_tensors_and_size_are_the_published(name: str) -> None:
    plain.check_published(name, *PUBLISHED[name])


def test_checkpoint_with_the_published_names_loads() -> None:
    sizes = plain.eres2netv2(8, 24, 4, 4, 16)
    state: dict[str, Tensor] = {key: torch.rand(shape) for key, shape in plain.published_shapes(sizes).items()}
    model = build_model("ERes2NetV2_w24s4ep4", {"m_channels": 8, "embed_dim": 16})
    load_backbone(model, state, "eres2netv2.ckpt")
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if value.dim())


@pytest.mark.parametrize(
    ("name", "scale", "two_emb_layer"), [("ERes2NetV2", 2, False), ("ERes2NetV2_w24s4ep4", 4, True)]
)
def test_arithmetic_is_the_published(name: str, scale: int, two_emb_layer: bool) -> None:
    torch.manual_seed(1)
    model = build_model(name, {**SMALL, "two_emb_layer": two_emb_layer}).double()
    features = torch.randn(3, 37, 80, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    state = model.state_dict()
    _, _, out3, out4 = plain.groups(state, features, scale)
    fused = plain.fuse(state, out4, plain.conv(state, out3, "layer3_ds", stride=2), "fuse34")
    torch.testing.assert_close(model(features), plain.embed(state, fused), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frames", [1, 2, 9, 64, 201])
def test_any_length_is_finite_and_alone_as_in_a_batch(frames: int) -> None:
    torch.manual_seed(1)
    model = build_model("ERes2NetV2", SMALL).eval()
    features = torch.randn(3, frames, 80)
    embeddings = model(features)
    assert embeddings.shape == (3, 7) and embeddings.isfinite().all()
    alone = torch.cat([model(row[None]) for row in features])
    torch.testing.assert_close(embeddings, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_bf16_autocast_gives_finite_gradients(name: str) -> None:
    torch.manual_seed(1)
    model = build_model(name, SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(torch.randn(4, 50, 80))
    (embeddings.float() * torch.randn(4, 7)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", [*PUBLISHED, "ERes2Net34_aug", "Res2Net34_Base"])
def test_parts_without_channels_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="m_channels is 3: Input should be greater than or equal to 4"):
        MODELS.resolve(name, {"m_channels": 3})
