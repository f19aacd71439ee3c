"""X-vector TDNN: size and names as WeSpeaker's, arithmetic against one written out with functions."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.errors import UserError
from sv.models import build_model


def test_size_and_names_are_wespeakers() -> None:
    with torch.device("meta"):
        model = build_model("XVEC", {})
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert len(shapes) == 32
    assert sum(p.numel() for p in model.parameters()) == 4_610_524
    assert shapes["frame_1.conv_1d.weight"] == (512, 80, 5)
    assert shapes["frame_5.conv_1d.bias"] == (1500,)
    assert shapes["frame_5.bn.running_var"] == (1500,)
    assert "frame_5.bn.weight" not in shapes
    assert shapes["seg_1.weight"] == (512, 3000)
    assert shapes["seg_bn_1.running_mean"] == (512,)
    assert "seg_bn_1.weight" not in shapes
    assert shapes["seg_2.weight"] == (512, 512)


def slow_xvector(state: dict[str, Tensor], features: Tensor) -> Tensor:
    """The network from its tensors, one operation after the other."""

    def bn(x: Tensor, at: str) -> Tensor:
        return functional.batch_norm(x, state[f"{at}.running_mean"], state[f"{at}.running_var"])

    x = features.transpose(1, 2)
    for layer, dilation in zip(range(1, 6), (1, 2, 3, 1, 1), strict=True):
        weight, bias = state[f"frame_{layer}.conv_1d.weight"], state[f"frame_{layer}.conv_1d.bias"]
        x = bn(functional.conv1d(x, weight, bias, dilation=dilation).relu(), f"frame_{layer}.bn")
    stats = torch.cat([x.mean(dim=2), (x.var(dim=2) + 1e-7).sqrt()], dim=1)
    x = functional.linear(stats, state["seg_1.weight"], state["seg_1.bias"]).relu()
    return functional.linear(bn(x, "seg_bn_1"), state["seg_2.weight"], state["seg_2.bias"])


def test_arithmetic_is_wespeakers() -> None:
    torch.manual_seed(1)
    model = build_model("XVEC", {"feat_dim": 10, "hid_dim": 12, "stats_dim": 18, "embed_dim": 8}).double()
    features = torch.randn(4, 31, 10, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    torch.testing.assert_close(model(features), slow_xvector(model.state_dict(), features), rtol=1e-9, atol=1e-9)


def test_fewer_than_15_frames_are_refused() -> None:
    model = build_model("XVEC", {"hid_dim": 12, "stats_dim": 18, "embed_dim": 8}).eval()
    assert model(torch.randn(2, 15, 80)).isfinite().all()
    with pytest.raises(UserError, match="an input of 14 frames is too short, XVector takes 15 or more; leave out"):
        model(torch.randn(2, 14, 80))
