"""CAM++: sizes and names as WeSpeaker's, arithmetic against loops and functions, short input, export."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.models import build_model, campplus
from sv.models.campplus import DenseLayer, MaskedConv, repeat_segments, segment_means
from sv.models.encoder import Encoder
from sv.models.loading import load_backbone

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """The network with two layers in each block, in evaluation, after its batch norm has seen a batch."""
    monkeypatch.setattr(campplus, "BLOCKS", ((2, 1), (2, 2), (2, 2)))
    torch.manual_seed(1)
    model = build_model("CAMPPlus", {"embed_dim": 16})
    model(torch.randn(4, 60, 80))
    return model.eval()


def published_shapes(embed_dim: int) -> Shapes:
    """The tensors of the published models, written out from the architecture."""
    shapes: Shapes = {}

    def norm(at: str, channels: int, affine: bool = True) -> None:
        parts = ["weight", "bias"] * affine + ["running_mean", "running_var"]
        shapes.update({f"{at}.{part}": (channels,) for part in parts})
        shapes[f"{at}.num_batches_tracked"] = ()

    for number, inputs in (("1", 1), ("2", 32)):
        shapes[f"head.conv{number}.weight"] = (32, inputs, 3, 3)
        norm(f"head.bn{number}", 32)
    for layer in ("head.layer1", "head.layer2"):
        for block in (f"{layer}.0", f"{layer}.1"):
            for number in "12":
                shapes[f"{block}.conv{number}.weight"] = (32, 32, 3, 3)
                norm(f"{block}.bn{number}", 32)
        shapes[f"{layer}.0.shortcut.0.weight"] = (32, 32, 1, 1)
        norm(f"{layer}.0.shortcut.1", 32)
    shapes["xvector.tdnn.linear.weight"] = (128, 320, 5)
    norm("xvector.tdnn.nonlinear.batchnorm", 128)
    for block_number, layers, first, last in ((1, 12, 128, 512), (2, 24, 256, 1024), (3, 16, 512, 1024)):
        for i in range(layers):
            at = f"xvector.block{block_number}.tdnnd{i + 1}"
            norm(f"{at}.nonlinear1.batchnorm", first + 32 * i)
            shapes[f"{at}.linear1.weight"] = (128, first + 32 * i, 1)
            norm(f"{at}.nonlinear2.batchnorm", 128)
            shapes[f"{at}.cam_layer.linear_local.weight"] = (32, 128, 3)
            shapes[f"{at}.cam_layer.linear1.weight"], shapes[f"{at}.cam_layer.linear1.bias"] = (64, 128, 1), (64,)
            shapes[f"{at}.cam_layer.linear2.weight"], shapes[f"{at}.cam_layer.linear2.bias"] = (32, 64, 1), (32,)
        norm(f"xvector.transit{block_number}.nonlinear.batchnorm", last)
        shapes[f"xvector.transit{block_number}.linear.weight"] = (last // 2, last, 1)
    norm("xvector.out_nonlinear.batchnorm", 512)
    shapes["xvector.dense.linear.weight"] = (embed_dim, 1024, 1)
    norm("xvector.dense.nonlinear.batchnorm", embed_dim, affine=False)
    return shapes


@pytest.mark.parametrize(("embed_dim", "parameters"), [(192, 6_848_544), (512, 7_176_224)])
def test_tensors_and_size_are_the_published(embed_dim: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model("CAMPPlus", {"embed_dim": embed_dim})
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert shapes == published_shapes(embed_dim)
    assert len(shapes) == 937
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.slow
def test_checkpoint_with_the_published_names_loads() -> None:
    state: dict[str, Tensor] = {key: torch.rand(shape) for key, shape in published_shapes(192).items()}
    model = build_model("CAMPPlus", {"embed_dim": 192})
    load_backbone(model, state, "campplus.pt")
    key = "xvector.block3.tdnnd16.linear1.weight"
    assert torch.equal(model.state_dict()[key], state[key])


@pytest.mark.parametrize("frames", [1, 99, 100, 101, 250])
def test_segment_means_are_those_of_a_loop(frames: int) -> None:
    x = torch.randn(2, 3, frames, dtype=torch.float64)
    expected = torch.empty_like(x)
    for frame in range(frames):
        start = frame - frame % 100
        expected[:, :, frame] = x[:, :, start : min(start + 100, frames)].mean(dim=2)
    torch.testing.assert_close(repeat_segments(segment_means(x), frames), expected, rtol=1e-12, atol=1e-12)


def slow_dense_layer(state: dict[str, Tensor], x: Tensor, dilation: int) -> Tensor:
    """A dense layer from its tensors, frame by frame where frames or segments meet."""

    def norm_relu(x: Tensor, at: str) -> Tensor:
        mean, var, gain, shift = (
            state[f"{at}.batchnorm.{p}"] for p in ("running_mean", "running_var", "weight", "bias")
        )
        scale = gain / (var + 1e-5).sqrt()
        return ((x - mean[:, None]) * scale[:, None] + shift[:, None]).clamp(min=0)

    inner = torch.einsum("oi,bit->bot", state["linear1.weight"][:, :, 0], norm_relu(x, "nonlinear1"))
    inner = norm_relu(inner, "nonlinear2")
    frames = inner.shape[2]
    local, down, up = (state[f"cam_layer.{name}.weight"] for name in ("linear_local", "linear1", "linear2"))
    outputs = []
    for t in range(frames):
        y = torch.zeros(len(x), 32, dtype=x.dtype)
        for tap in range(3):
            at = t + (tap - 1) * dilation
            if 0 <= at < frames:
                y += inner[:, :, at] @ local[:, :, tap].T
        start = t // 100 * 100
        context = inner.mean(dim=2) + inner[:, :, start : start + 100].mean(dim=2)
        hidden = (context @ down[:, :, 0].T + state["cam_layer.linear1.bias"]).clamp(min=0)
        outputs.append(y * torch.sigmoid(hidden @ up[:, :, 0].T + state["cam_layer.linear2.bias"]))
    return torch.cat([x, torch.stack(outputs, dim=2)], dim=1)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("frames", [1, 230])
def test_dense_layer_is_plain_arithmetic(frames: int, dilation: int) -> None:
    torch.manual_seed(1)
    layer = DenseLayer(20, dilation=dilation).double()
    layer.train()(torch.randn(4, 20, 150, dtype=torch.float64))  # so that batch norm has statistics
    layer.eval()
    x = torch.randn(2, 20, frames, dtype=torch.float64)
    torch.testing.assert_close(layer(x), slow_dense_layer(layer.state_dict(), x, dilation), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_network_is_its_layers_in_turn(small: Encoder) -> None:
    small = small.double()
    state = small.state_dict()

    def norm(x: Tensor, at: str) -> Tensor:
        mean, var = state[f"{at}.running_mean"], state[f"{at}.running_var"]
        return functional.batch_norm(x, mean, var, state.get(f"{at}.weight"), state.get(f"{at}.bias"))

    def conv2d(x: Tensor, at: str, stride: tuple[int, int] = (1, 1)) -> Tensor:
        weight = state[f"{at}.weight"]
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    features = torch.randn(2, 231, 80, dtype=torch.float64)
    x = norm(conv2d(features.transpose(1, 2)[:, None], "head.conv1"), "head.bn1").relu()
    for at, stride in [(f"head.layer{i}.{j}", (2 - j, 1)) for i in (1, 2) for j in (0, 1)]:
        y = norm(conv2d(x, f"{at}.conv1", stride), f"{at}.bn1").relu()
        short = x if stride == (1, 1) else norm(conv2d(x, f"{at}.shortcut.0", stride), f"{at}.shortcut.1")
        x = (norm(conv2d(y, f"{at}.conv2"), f"{at}.bn2") + short).relu()
    x = norm(conv2d(x, "head.conv2", (2, 1)), "head.bn2").relu().reshape(2, 320, 231)
    x = functional.conv1d(x, state["xvector.tdnn.linear.weight"], stride=2, padding=2)
    x = norm(x, "xvector.tdnn.nonlinear.batchnorm").relu()
    for block, dilation in ((1, 1), (2, 2), (3, 2)):
        for layer in (1, 2):
            prefix = f"xvector.block{block}.tdnnd{layer}."
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            x = slow_dense_layer(own, x, dilation)
        x = norm(x, f"xvector.transit{block}.nonlinear.batchnorm").relu()
        x = functional.conv1d(x, state[f"xvector.transit{block}.linear.weight"])
    x = norm(x, "xvector.out_nonlinear.batchnorm").relu()
    stats = torch.cat([x.mean(dim=2), (x.var(dim=2) + 1e-7).sqrt()], dim=1)
    expected = norm(stats @ state["xvector.dense.linear.weight"][:, :, 0].T, "xvector.dense.nonlinear.batchnorm")
    torch.testing.assert_close(small(features), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [1, 2, 3, 199, 200, 201, 410])
def test_any_length_is_finite_and_alone_as_in_a_batch(small: Encoder, frames: int) -> None:
    features = torch.randn(3, frames, 80)
    embeddings = small(features)
    assert embeddings.shape == (3, 16) and embeddings.isfinite().all()
    alone = torch.cat([small(row[None]) for row in features])
    torch.testing.assert_close(embeddings, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("feat_dim", [40, 60])
def test_other_mels(feat_dim: int) -> None:
    model = build_model("CAMPPlus", {"feat_dim": feat_dim, "embed_dim": 16}).eval()
    assert model(torch.randn(2, 20, feat_dim)).shape == (2, 16)


def test_mask_depends_on_the_segment() -> None:
    torch.manual_seed(1)
    layer = MaskedConv(8, 4, dilation=1)
    x = torch.randn(1, 8, 200)
    other = x.clone()
    other[:, :, [120, 121]] = torch.stack([x[:, :, 120] + 9, x[:, :, 121] - 9], dim=2)  # the means stay
    torch.testing.assert_close(layer(x)[:, :, :100], layer(other)[:, :, :100])
    other[:, :, 120] += 9
    assert (layer(x)[:, :, :100] - layer(other)[:, :, :100]).abs().max() > 1e-4  # the mean of the utterance


@pytest.mark.slow
def test_export_takes_any_length_from_three_frames(small: Encoder) -> None:
    axes = ({1: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(small, (torch.randn(2, 30, 80),), dynamic_shapes=axes).module()
    for length in (3, 199, 200, 201, 410):
        features = torch.randn(2, length, 80)
        torch.testing.assert_close(exported(features), small(features))
