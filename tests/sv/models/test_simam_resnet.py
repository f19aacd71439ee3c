"""SimAM-ResNets: sizes and names as WeSpeaker's, arithmetic against one written out."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.models import build_model
from sv.models.encoder import Encoder
from sv.models.loading import load_backbone
from sv.models.simam_resnet import simam


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [("SimAM_ResNet34_ASP", 227, 25_213_760), ("SimAM_ResNet100_ASP", 623, 50_232_896)],
)
def test_size_is_wespeakers(name: str, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(name, {})
    assert len(model.state_dict()) == tensors
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_tensors_are_named_as_wespeakers() -> None:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in build_model("SimAM_ResNet100_ASP", {}).state_dict().items()}
    assert shapes["front.conv1.weight"] == (64, 1, 3, 3)
    assert shapes["front.bn1.running_mean"] == (64,)
    assert "front.layer1.0.downsample.0.weight" not in shapes
    assert shapes["front.layer2.0.downsample.0.weight"] == (128, 64, 1, 1)
    assert shapes["front.layer2.0.downsample.1.running_var"] == (128,)
    assert shapes["front.layer3.23.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["front.layer4.2.bn2.num_batches_tracked"] == ()
    assert shapes["pooling.attention.0.weight"] == (128, 5120, 1)
    assert shapes["pooling.attention.2.running_mean"] == (128,)
    assert shapes["pooling.attention.3.weight"] == (5120, 128, 1)
    assert shapes["bottleneck.weight"] == (256, 10_240)


def slow_simam(rows: list[list[float]]) -> list[list[float]]:
    """Weigh one channel of one utterance, rows[bin][frame]."""
    values = [value for row in rows for value in row]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    weights = [[1 / (1 + math.exp(-((v - mean) ** 2) / (4 * (variance + 1e-4)) - 0.5)) for v in row] for row in rows]
    return [[v * w for v, w in zip(row, line, strict=True)] for row, line in zip(rows, weights, strict=True)]


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 1, 2), (2, 3, 1, 1)])
def test_weights_are_plain_arithmetic(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    x = torch.randn(shape, dtype=torch.float64)
    expected = torch.tensor([[slow_simam(c) for c in row] for row in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(simam(x), expected, rtol=1e-12, atol=1e-12)


def test_weights_of_large_half_values_are_finite() -> None:
    x = torch.tensor([[[[-900.0, 900.0, 900.0, 900.0]]]])
    half = simam(x.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), simam(x), rtol=1e-3, atol=0)


@pytest.fixture
def small() -> Encoder:
    """The encoder with few channels, and batch norm with statistics."""
    torch.manual_seed(1)
    model = build_model("SimAM_ResNet34_ASP", {"in_planes": 4, "embed_dim": 16})
    model.train()(torch.randn(4, 60, 80))
    return model.eval()


@pytest.mark.parametrize("frames", [1, 37])
def test_network_is_its_layers_in_turn(small: Encoder, frames: int) -> None:
    small = small.double()
    state = small.state_dict()

    def norm(x: Tensor, at: str) -> Tensor:
        mean, var, gain, shift = (state[f"{at}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, gain, shift)

    def conv(x: Tensor, at: str, stride: int = 1) -> Tensor:
        weight = state[f"{at}.weight"]
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def linear(x: Tensor, at: str) -> Tensor:
        return torch.einsum("oi,bit->bot", state[f"{at}.weight"][:, :, 0], x) + state[f"{at}.bias"][:, None]

    features = torch.randn(3, frames, 80, dtype=torch.float64)
    x = norm(conv(features.transpose(1, 2)[:, None], "front.conv1"), "front.bn1").relu()
    for group, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            at, stride = f"front.layer{group}.{block}", 2 if group > 1 and block == 0 else 1
            y = norm(conv(x, f"{at}.conv1", stride), f"{at}.bn1").relu()
            y = norm(conv(y, f"{at}.conv2"), f"{at}.bn2")
            y = torch.tensor([[slow_simam(c) for c in row] for row in y.tolist()], dtype=torch.float64)
            short = x if stride == 1 else norm(conv(x, f"{at}.downsample.0", stride), f"{at}.downsample.1")
            x = (y + short).relu()
    x = x.reshape(3, 320, -1)
    hidden = norm(linear(x, "pooling.attention.0").relu(), "pooling.attention.2")
    weights = linear(hidden, "pooling.attention.3").exp()
    weights = weights / weights.sum(dim=2, keepdim=True)
    mean = (weights * x).sum(dim=2)
    deviation = ((weights * x**2).sum(dim=2) - mean**2).clamp(min=1e-5).sqrt()
    stats = torch.cat([mean, deviation], dim=1)
    expected = stats @ state["bottleneck.weight"].T + state["bottleneck.bias"]
    torch.testing.assert_close(small(features), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 101])
def test_any_length_is_finite_and_alone_as_in_a_batch(small: Encoder, frames: int) -> None:
    features = torch.randn(3, frames, 80)
    embeddings = small(features)
    assert embeddings.shape == (3, 16) and embeddings.isfinite().all()
    alone = torch.cat([small(row[None]) for row in features])
    torch.testing.assert_close(embeddings, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("feat_dim", [40, 60])
def test_other_mels(feat_dim: int) -> None:
    model = build_model("SimAM_ResNet34_ASP", {"feat_dim": feat_dim, "in_planes": 4}).eval()
    assert model(torch.randn(2, 20, feat_dim)).shape == (2, 256)


def test_a_saved_encoder_loads(small: Encoder) -> None:
    twin = build_model("SimAM_ResNet34_ASP", {"in_planes": 4, "embed_dim": 16}).eval()
    load_backbone(twin, {**small.state_dict(), "projection.weight": torch.zeros(9, 16)}, "x.pt")
    features = torch.randn(2, 30, 80)
    assert torch.equal(twin(features), small(features))
