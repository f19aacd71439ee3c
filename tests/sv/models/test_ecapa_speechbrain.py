"""SpeechBrain's ECAPA-TDNN: size and names as published, arithmetic against one written out with functions."""

import torch
from torch import Tensor
from torch.nn import functional

from sv.models import build_model


def test_size_and_names_are_speechbrains() -> None:
    with torch.device("meta"):
        model = build_model("ECAPA_TDNN_SpeechBrain", {})
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert len(shapes) == 231
    assert sum(p.numel() for p in model.parameters()) == 20_767_552
    assert shapes["blocks.0.conv.conv.weight"] == (1024, 80, 5)
    assert shapes["blocks.0.norm.norm.running_mean"] == (1024,)
    assert shapes["blocks.1.tdnn1.conv.conv.bias"] == (1024,)
    assert shapes["blocks.3.res2net_block.blocks.6.conv.conv.weight"] == (128, 128, 3)
    assert "blocks.3.res2net_block.blocks.7.conv.conv.weight" not in shapes
    assert shapes["blocks.2.se_block.conv1.conv.weight"] == (128, 1024, 1)
    assert shapes["mfa.conv.conv.weight"] == (3072, 3072, 1)
    assert shapes["asp.tdnn.conv.conv.weight"] == (128, 9216, 1)
    assert shapes["asp.conv.conv.bias"] == (3072,)
    assert shapes["asp_bn.norm.weight"] == (6144,)
    assert shapes["fc.conv.weight"] == (192, 6144, 1)


def slow_ecapa(state: dict[str, Tensor], features: Tensor) -> Tensor:
    """The network from its tensors, one operation after the other; frames are mirrored by indexing."""

    def conv(x: Tensor, at: str, dilation: int = 1) -> Tensor:
        weight, bias = state[f"{at}.conv.weight"], state[f"{at}.conv.bias"]
        around, last = dilation * (weight.shape[2] // 2), x.shape[2] - 1
        places = [last - abs(last - abs(t)) for t in range(-around, last + around + 1)]
        return functional.conv1d(x[:, :, places], weight, bias, dilation=dilation)

    def bn(x: Tensor, at: str) -> Tensor:
        parts = (state[f"{at}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *parts)

    def tdnn(x: Tensor, at: str, dilation: int = 1) -> Tensor:
        return bn(conv(x, f"{at}.conv", dilation).relu(), f"{at}.norm")

    x = tdnn(features.transpose(1, 2), "blocks.0")
    outputs = []
    for block in (1, 2, 3):
        at = f"blocks.{block}"
        y = tdnn(x, f"{at}.tdnn1")
        parts = list(y.split(y.shape[1] // 8, dim=1))
        done = [parts[0], tdnn(parts[1], f"{at}.res2net_block.blocks.0", block + 1)]
        for i in range(2, 8):
            done.append(tdnn(parts[i] + done[-1], f"{at}.res2net_block.blocks.{i - 1}", block + 1))
        y = tdnn(torch.cat(done, dim=1), f"{at}.tdnn2")
        gate = conv(y.mean(dim=2, keepdim=True), f"{at}.se_block.conv1").relu()
        x = x + y * conv(gate, f"{at}.se_block.conv2").sigmoid()
        outputs.append(x)
    x = tdnn(torch.cat(outputs, dim=1), "mfa")
    mean, deviation = x.mean(dim=2, keepdim=True), x.var(dim=2, correction=0, keepdim=True).clamp(min=1e-12).sqrt()
    seen = torch.cat([x, mean.expand_as(x), deviation.expand_as(x)], dim=1)
    weights = conv(tdnn(seen, "asp.tdnn").tanh(), "asp.conv").softmax(dim=2)
    mean = (weights * x).sum(dim=2, keepdim=True)
    deviation = (weights * (x - mean) ** 2).sum(dim=2, keepdim=True).clamp(min=1e-12).sqrt()
    return conv(bn(torch.cat([mean, deviation], dim=1), "asp_bn"), "fc").squeeze(2)


def test_arithmetic_is_speechbrains() -> None:
    torch.manual_seed(1)
    model = build_model("ECAPA_TDNN_SpeechBrain", {"feat_dim": 10, "channels": 16, "embed_dim": 8}).double()
    features = torch.randn(4, 31, 10, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    torch.testing.assert_close(model(features), slow_ecapa(model.state_dict(), features), rtol=1e-9, atol=1e-9)
