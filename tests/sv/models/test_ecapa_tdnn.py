"""ECAPA-TDNN: sizes and names as WeSpeaker's, arithmetic against one written out with functions."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.models import build_model


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ECAPA_TDNN_c512", 5_797_504),
        ("ECAPA_TDNN_GLOB_c512", 6_190_720),
        ("ECAPA_TDNN_c1024", 14_263_872),
        ("ECAPA_TDNN_GLOB_c1024", 14_657_088),
    ],
)
def test_size_is_wespeakers(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(name, {})
    assert len(model.state_dict()) == 221
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_tensors_are_named_as_wespeakers() -> None:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in build_model("ECAPA_TDNN_GLOB_c1024", {}).state_dict().items()}
    assert shapes["layer1.conv.weight"] == (1024, 80, 5)
    assert shapes["layer1.bn.running_mean"] == (1024,)
    assert shapes["layer2.se_res2block.0.conv.weight"] == (1024, 1024, 1)
    assert shapes["layer3.se_res2block.1.convs.6.weight"] == (128, 128, 3)
    assert shapes["layer3.se_res2block.1.bns.6.weight"] == (128,)
    assert shapes["layer4.se_res2block.2.bn.bias"] == (1024,)
    assert shapes["layer4.se_res2block.3.linear1.weight"] == (128, 1024)
    assert shapes["layer4.se_res2block.3.linear2.bias"] == (1024,)
    assert shapes["conv.weight"] == (1536, 3072, 1)
    assert shapes["pool.linear1.weight"] == (128, 4608, 1)
    assert shapes["pool.linear2.weight"] == (1536, 128, 1)
    assert shapes["bn.weight"] == (3072,)
    assert shapes["linear.weight"] == (192, 3072)


def slow_ecapa(state: dict[str, Tensor], features: Tensor, with_context: bool) -> Tensor:
    """The network from its tensors, one operation after the other."""

    def conv(x: Tensor, at: str, dilation: int = 1) -> Tensor:
        weight = state[f"{at}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return functional.conv1d(x, weight, state[f"{at}.bias"], padding=padding, dilation=dilation)

    def bn(x: Tensor, at: str) -> Tensor:
        mean, var, gain, shift = (state[f"{at}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, gain, shift)

    def linear(x: Tensor, at: str) -> Tensor:
        return functional.linear(x, state[f"{at}.weight"], state[f"{at}.bias"])

    x = bn(conv(features.transpose(1, 2), "layer1.conv").relu(), "layer1.bn")
    outputs = []
    for layer in (2, 3, 4):
        at = f"layer{layer}.se_res2block"
        y = bn(conv(x, f"{at}.0.conv").relu(), f"{at}.0.bn")
        parts = list(y.chunk(8, dim=1))
        for i in range(7):
            before = parts[i] if i == 0 else parts[i] + parts[i - 1]
            parts[i] = bn(conv(before, f"{at}.1.convs.{i}", dilation=layer).relu(), f"{at}.1.bns.{i}")
        y = bn(conv(torch.cat(parts, dim=1), f"{at}.2.conv").relu(), f"{at}.2.bn")
        gate = linear(linear(y.mean(dim=2), f"{at}.3.linear1").relu(), f"{at}.3.linear2").sigmoid()
        x = x + y * gate[:, :, None]
        outputs.append(x)
    x = conv(torch.cat(outputs, dim=1), "conv").relu()
    seen = x
    if with_context:
        mean, deviation = x.mean(dim=2, keepdim=True), (x.var(dim=2, keepdim=True) + 1e-7).sqrt()
        seen = torch.cat([x, mean.expand_as(x), deviation.expand_as(x)], dim=1)
    alpha = conv(conv(seen, "pool.linear1").tanh(), "pool.linear2").softmax(dim=2)
    mean = (alpha * x).sum(dim=2)
    deviation = ((alpha * x**2).sum(dim=2) - mean**2).clamp(min=1e-7).sqrt()
    return linear(bn(torch.cat([mean, deviation], dim=1), "bn"), "linear")


@pytest.mark.parametrize(("name", "with_context"), [("ECAPA_TDNN_c512", False), ("ECAPA_TDNN_GLOB_c512", True)])
def test_arithmetic_is_wespeakers(name: str, with_context: bool) -> None:
    torch.manual_seed(1)
    model = build_model(name, {"feat_dim": 20, "embed_dim": 16}).double()
    features = torch.randn(3, 23, 20, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    expected = slow_ecapa(model.state_dict(), features, with_context)
    torch.testing.assert_close(model(features), expected, rtol=1e-9, atol=1e-9)
    assert expected.shape == (3, 16)


def test_batch_norm_on_the_embedding_is_an_option() -> None:
    with torch.device("meta"):
        model = build_model("ECAPA_TDNN_c512", {"emb_bn": True})
    assert model.state_dict()["bn2.weight"].shape == (192,)
