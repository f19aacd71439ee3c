"""RepVGG: sizes and names as WeSpeaker's, one convolution that equals its branches, the branches written out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.models import MODELS, build_model
from sv.models.encoder import Encoder
from sv.models.loading import load_backbone

SMALL = {"feat_dim": 16, "embed_dim": 8}


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [
        ("REPVGG_TINY_A0", 560, 6_833_792),
        ("REPVGG_TINY_RSBB_A0", 560, 11_233_152),
        ("REPVGG_A0", 356, 14_380_960),
        ("REPVGG_RSBB_A0", 356, 20_623_648),
        ("REPVGG_A1", 356, 19_363_968),
        ("REPVGG_A2", 351, 34_009_536),
        ("REPVGG_B0", 458, 21_089_664),
        ("REPVGG_B1g4", 453, 48_401_792),
        ("REPVGG_D2SE", 985, 138_356_400),
    ],
)
def test_size_is_wespeakers(name: str, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(name, {})
    assert len(model.state_dict()) == tensors
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_tensors_are_named_as_wespeakers() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in build_model("REPVGG_B1g2", {}).state_dict().items()}
        rsbb = {key: tuple(value.shape) for key, value in build_model("REPVGG_RSBB_A0", {}).state_dict().items()}
        gated = set(build_model("REPVGG_D2SE", {}).state_dict())
        converted = {key: tuple(v.shape) for key, v in build_model("REPVGG_A0", {"deploy": True}).state_dict().items()}
    assert shapes["stage0.rbr_dense.conv.weight"] == (64, 1, 3, 3)
    assert shapes["stage1.0.rbr_dense.conv.weight"] == (128, 64, 3, 3)  # layer 1
    assert shapes["stage1.1.rbr_dense.conv.weight"] == (128, 64, 3, 3)  # layer 2, two groups
    assert shapes["stage1.1.rbr_1x1.bn.running_mean"] == (128,)
    assert shapes["stage1.1.rbr_identity.weight"] == (128,)
    assert "stage2.0.rbr_identity.weight" not in shapes  # it strides
    assert rsbb["stage3.5.rbr_dense_dilation.conv.weight"] == (192, 192, 3, 3)
    assert {"stage4.0.se.fc_1.weight", "stage4.0.se.fc_2.bias"} <= gated
    assert converted["stage4.0.rbr_reparam.weight"] == (1280, 192, 3, 3)
    assert converted["stage4.0.rbr_reparam.bias"] == (1280,)
    assert not [key for key in converted if "rbr_dense" in key]


def trained(name: str, **options: object) -> Encoder:
    torch.manual_seed(1)
    model = build_model(name, {**SMALL, **options}).double()
    model.train()(torch.randn(3, 20, 16, dtype=torch.float64))  # so that batch norm has statistics
    return model.eval()


def slow_block(state: dict[str, Tensor], at: str, x: Tensor, stride: int) -> Tensor:
    def bn(x: Tensor, at: str) -> Tensor:
        parts = (state[f"{at}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *parts)

    def conv(name: str, around: int, dilation: int = 1) -> Tensor:
        weight = state[f"{at}.{name}.conv.weight"]
        groups = x.shape[1] // weight.shape[1]
        y = functional.conv2d(x, weight, stride=stride, padding=around, dilation=dilation, groups=groups)
        return bn(y, f"{at}.{name}.bn")

    out = conv("rbr_dense", 1)
    if f"{at}.rbr_1x1.conv.weight" in state:
        out = out + conv("rbr_1x1", 0)
    else:
        out = out + conv("rbr_dense_dilation", 2, dilation=2)
    if f"{at}.rbr_identity.weight" in state:
        out = out + bn(x, f"{at}.rbr_identity")
    out = out.relu()
    if f"{at}.se.fc_1.weight" in state:
        gate = functional.linear(out.mean(dim=(2, 3)), state[f"{at}.se.fc_1.weight"], state[f"{at}.se.fc_1.bias"])
        gate = functional.linear(gate.relu(), state[f"{at}.se.fc_2.weight"], state[f"{at}.se.fc_2.bias"]).sigmoid()
        out = out * gate[:, :, None, None]
    return out


def slow_repvgg(state: dict[str, Tensor], features: Tensor) -> Tensor:
    """The network from its tensors, one operation after the other."""
    x = slow_block(state, "stage0", features.transpose(1, 2)[:, None], 1)
    for stage in (1, 2, 3, 4):
        block = 0
        while (at := f"stage{stage}.{block}") + ".rbr_dense.conv.weight" in state:
            x, block = slow_block(state, at, x, 2 if stage > 1 and block == 0 else 1), block + 1
    stats = torch.cat([x.mean(dim=3).flatten(1), (x.var(dim=3) + 1e-7).sqrt().flatten(1)], dim=1)
    return functional.linear(stats, state["seg.weight"], state["seg.bias"])


VARIANTS = [("REPVGG_TINY_A0", {"use_se": True}), ("REPVGG_TINY_RSBB_A0", {}), ("REPVGG_A0", {})]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_arithmetic_is_wespeakers_with_branches_and_fused(name: str, options: dict[str, bool]) -> None:
    model, features = trained(name, **options), torch.randn(2, 17, 16, dtype=torch.float64)
    expected = slow_repvgg(model.state_dict(), features)
    torch.testing.assert_close(model(features), expected, rtol=1e-9, atol=1e-9)
    fused = model.for_inference()
    assert [key for key in fused.state_dict() if "rbr" in key and "rbr_reparam" not in key] == []
    torch.testing.assert_close(fused(features), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.slow
def test_grouped_branches_are_fused_group_by_group() -> None:
    torch.manual_seed(1)
    model = build_model("REPVGG_B1g4", SMALL)
    model.train()(torch.randn(2, 12, 16))
    model.eval()
    features = torch.randn(1, 9, 16)
    expected = model(features)
    torch.testing.assert_close(model.for_inference()(features), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_converted_checkpoint_is_loaded_with_deploy() -> None:
    fused = trained("REPVGG_TINY_A0").for_inference()
    model = build_model("REPVGG_TINY_A0", {**SMALL, "deploy": True}).double().eval()
    load_backbone(model, fused.state_dict(), "x.pt")
    features = torch.randn(2, 17, 16, dtype=torch.float64)
    assert torch.equal(model(features), fused(features))


def test_registry_holds_wespeakers_names() -> None:
    names = ["TINY_A0", "TINY_RSBB_A0", "A0", "RSBB_A0", "A1", "A2", "RSBB_A2", "B0", "RSBB_B0", "B1", "B1g2", "B1g4"]
    names += ["B2", "B2g2", "B2g4", "B3", "B3g2", "B3g4", "D2SE"]
    assert {name for name in MODELS.names() if name.startswith("REPVGG")} == {f"REPVGG_{name}" for name in names}
