"""ERes2Net: sizes and names as 3D-Speaker's and WeSpeaker's, arithmetic against one written out, any length."""

import pytest
import torch
from torch import Tensor

from sv.errors import UserError
from sv.models import build_model
from sv.models.eres2net import AttentionalFusion, FusedBlock, PlainBlock
from sv.models.loading import load_backbone
from tests.sv.models import plain_res2net as plain

SMALL = {"m_channels": 4, "embed_dim": 7}
PUBLISHED = {
    "ERes2Net34_Base": (plain.eres2net(32, 32, 2, 2, 192), 587, 6_610_688),
    "ERes2Net34_Large": (plain.eres2net(64, 32, 2, 2, 192), 587, 22_462_784),
    "ERes2Net34_aug": (plain.eres2net(64, 24, 3, 4, 192), 809, 55_165_024),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_tensors_and_size_are_the_published(name: str) -> None:
    plain.check_published(name, *PUBLISHED[name])


def test_size_with_512_dims_is_the_published() -> None:
    with torch.device("meta"):
        model = build_model("ERes2Net34_Base", {"embed_dim": 512})
    assert sum(p.numel() for p in model.parameters()) == 9_887_808


def wespeakers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors WeSpeaker's names: the first convolution of a block in layer3 and layer4 is conv2_1."""
    renamed = {}
    for key, value in state.items():
        words = key.split(".")
        if words[0] in ("layer3", "layer4") and words[2] in ("convs", "bns"):
            new = {"convs": "conv2_1", "bns": "bn2_1"}[words[2]]
            words[2:4] = [new] if words[3] == "0" else [words[2], str(int(words[3]) - 1)]
        renamed[".".join(words)] = value
    return renamed


@pytest.mark.parametrize("name", ["ERes2Net34_Base", "ERes2Net34_aug"])
def test_checkpoints_of_3d_speaker_and_wespeaker_load(name: str) -> None:
    torch.manual_seed(1)
    sizes, _, _ = PUBLISHED[name]
    small = plain.eres2net(8, sizes.base_width, sizes.scale, sizes.expansion, 16)
    state: dict[str, Tensor] = {key: torch.rand(shape) for key, shape in plain.published_shapes(small).items()}
    theirs = wespeakers(state)
    assert len(theirs.keys() - state.keys()) == len(state.keys() - theirs.keys()) == 54
    for published in (state, theirs):
        model = build_model(name, {"m_channels": 8, "embed_dim": 16})
        load_backbone(model, published, "eres2net.pt")
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if value.dim())


def test_checkpoint_without_a_tensor_is_refused() -> None:
    model = build_model("ERes2Net34_Base", SMALL)
    state = wespeakers(dict(model.state_dict()))
    del state["layer3.0.convs.0.weight"]
    with pytest.raises(UserError, match=r"not a checkpoint of this ERes2Net: it has no layer3.0.convs.1.weight"):
        load_backbone(model, state, "eres2net.pt")


def test_fusion_is_plain_arithmetic() -> None:
    torch.manual_seed(1)
    fusion = AttentionalFusion(8).double()
    x, y = torch.randn(2, 3, 8, 5, 6, dtype=torch.float64)
    fusion.train()(x, y)  # so that batch norm has statistics
    fusion.eval()
    state = {f"fusion.{key}": value for key, value in fusion.state_dict().items()}
    torch.testing.assert_close(fusion(x, y), plain.fuse(state, x, y, "fusion"), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fusion(x, x), 2 * x)  # the weights sum to 2


@pytest.mark.parametrize("block_type", [PlainBlock, FusedBlock])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_block_convolves_all_parts(block_type: type[PlainBlock], scale: int) -> None:
    torch.manual_seed(1)
    block = block_type(6, 16, 2, base_width=24, scale=scale, expansion=2).double()
    x = torch.randn(3, 6, 9, 11, dtype=torch.float64)
    block.train()(x)  # so that batch norm has statistics
    block.eval()
    state = {f"block.{key}": value for key, value in block.state_dict().items()}
    torch.testing.assert_close(block(x), plain.block(state, x, "block", 2, scale), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scale", "two_emb_layer"), [("ERes2Net34_Base", 2, True), ("ERes2Net34_aug", 3, False)]
)
def test_arithmetic_is_the_published(name: str, scale: int, two_emb_layer: bool) -> None:
    torch.manual_seed(1)
    model = build_model(name, {**SMALL, "two_emb_layer": two_emb_layer}).double()
    features = torch.randn(3, 37, 80, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    state = model.state_dict()
    fused, *outputs = plain.groups(state, features, scale)
    for group, (output, fusion) in enumerate(zip(outputs, ("12", "123", "1234"), strict=True), start=1):
        halved = plain.conv(state, fused, f"layer{group}_downsample", stride=2)
        fused = plain.fuse(state, output, halved, f"fuse_mode{fusion}")
    torch.testing.assert_close(model(features), plain.embed(state, fused), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frames", [1, 2, 9, 64, 201])
def test_any_length_is_finite_and_alone_as_in_a_batch(frames: int) -> None:
    torch.manual_seed(1)
    model = build_model("ERes2Net34_Base", SMALL).eval()
    features = torch.randn(3, frames, 80)
    embeddings = model(features)
    assert embeddings.shape == (3, 7) and embeddings.isfinite().all()
    alone = torch.cat([model(row[None]) for row in features])
    torch.testing.assert_close(embeddings, alone, rtol=1e-4, atol=1e-5)


def test_any_number_of_mels_fits() -> None:
    for mels in (17, 40, 81):
        model = build_model("ERes2Net34_Base", {**SMALL, "feat_dim": mels}).eval()
        assert model(torch.randn(1, 20, mels)).shape == (1, 7)


@pytest.mark.parametrize("name", ["ERes2Net34_Base", "ERes2Net34_aug"])
def test_bf16_autocast_gives_finite_gradients(name: str) -> None:
    torch.manual_seed(1)
    model = build_model(name, SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(torch.randn(4, 50, 80))
    (embeddings.float() * torch.randn(4, 7)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
