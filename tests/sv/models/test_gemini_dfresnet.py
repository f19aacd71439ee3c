"""Gemini DF-ResNets: sizes and names as WeSpeaker's, arithmetic against one written out with functions."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.models import build_model


@pytest.mark.parametrize(
    ("depth", "tensors", "parameters"),
    [(60, 356, 4_047_840), (114, 680, 6_531_552), (183, 1094, 9_196_384), (237, 1418, 11_680_096)],
)
def test_size_and_names_are_wespeakers(depth: int, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(f"Gemini_DF_ResNet{depth}", {})
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert len(shapes) == tensors
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert shapes["downsample_layers.0.0.weight"] == (32, 1, 3, 3)
    assert shapes["downsample_layers.4.1.running_var"] == (256,)
    assert shapes["stages.3.2.conv1.weight"] == (1024, 256, 1, 1)
    assert shapes["stages.0.0.conv2.weight"] == (128, 1, 3, 3)
    assert shapes["stages.1.0.bn3.bias"] == (64,)
    assert shapes["seg_1.weight"] == (256, 2 * 256 * 5)


def slow_gemini(state: dict[str, Tensor], features: Tensor) -> Tensor:
    """The network from its tensors, one operation after the other."""

    def bn(x: Tensor, at: str) -> Tensor:
        return functional.batch_norm(
            x, *(state[f"{at}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        )

    x = features.transpose(1, 2)[:, None]
    x = bn(functional.conv2d(x, state["downsample_layers.0.0.weight"], padding=1), "downsample_layers.0.1").relu()
    for stage, frames in enumerate((1, 2, 1, 1)):
        at = f"downsample_layers.{stage + 1}"
        x = bn(functional.conv2d(x, state[f"{at}.0.weight"], stride=(2, frames), padding=1), f"{at}.1")
        block = 0
        while (at := f"stages.{stage}.{block}") + ".conv1.weight" in state:
            y = bn(functional.conv2d(x, state[f"{at}.conv1.weight"]), f"{at}.bn1").relu()
            y = functional.conv2d(y, state[f"{at}.conv2.weight"], padding=1, groups=y.shape[1])
            y = functional.conv2d(bn(y, f"{at}.bn2").relu(), state[f"{at}.conv3.weight"])
            x, block = (bn(y, f"{at}.bn3") + x).relu(), block + 1
    stats = torch.cat([x.mean(dim=3).flatten(1), (x.var(dim=3) + 1e-7).sqrt().flatten(1)], dim=1)
    first = functional.linear(stats, state["seg_1.weight"], state["seg_1.bias"]).relu()
    normed = functional.batch_norm(first, state["seg_bn_1.running_mean"], state["seg_bn_1.running_var"])
    return functional.linear(normed, state["seg_2.weight"], state["seg_2.bias"])


@pytest.mark.slow
def test_arithmetic_is_wespeakers() -> None:
    torch.manual_seed(1)
    args = {"feat_dim": 20, "embed_dim": 8, "two_emb_layer": True}
    model = build_model("Gemini_DF_ResNet60", args).double()
    features = torch.randn(3, 13, 20, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    torch.testing.assert_close(model(features), slow_gemini(model.state_dict(), features), rtol=1e-9, atol=1e-9)
