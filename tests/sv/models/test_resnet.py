"""ResNets: sizes and names as WeSpeaker's, arithmetic against one written out with functions."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.models import build_model
from sv.models.resnet import PointwiseConv2d


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [
        ("resnet_small", 79, 241_432),
        ("ResNet18", 122, 4_105_440),
        ("ResNet34", 218, 6_634_336),
        ("ResNet50", 320, 11_131_360),
        ("ResNet101", 626, 15_892_448),
        ("ResNet152", 932, 19_814_880),
        ("ResNet221", 1346, 23_792_224),
        ("ResNet293", 1778, 28_626_016),
    ],
)
def test_size_is_wespeakers(name: str, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(name, {})
    assert len(model.state_dict()) == tensors
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_tensors_are_named_as_wespeakers() -> None:
    with torch.device("meta"):
        basic = {k: tuple(v.shape) for k, v in build_model("ResNet34", {}).state_dict().items()}
        deep = {k: tuple(v.shape) for k, v in build_model("ResNet221", {"two_emb_layer": True}).state_dict().items()}
    assert basic["conv1.weight"] == (32, 1, 3, 3)
    assert basic["layer1.0.conv1.weight"] == (32, 32, 3, 3)
    assert "layer1.0.shortcut.0.weight" not in basic
    assert basic["layer2.0.shortcut.0.weight"] == (64, 32, 1, 1)
    assert basic["layer2.0.shortcut.1.running_var"] == (64,)
    assert basic["layer4.2.bn2.num_batches_tracked"] == ()
    assert basic["seg_1.weight"] == (256, 5120)
    assert not [key for key in basic if key.startswith(("seg_bn_1", "seg_2"))]
    assert deep["layer1.0.shortcut.0.weight"] == (128, 32, 1, 1)
    assert deep["layer3.47.conv3.weight"] == (512, 128, 1, 1)
    assert deep["layer3.47.bn3.weight"] == (512,)
    assert deep["seg_1.weight"] == (256, 20480)
    assert deep["seg_bn_1.running_mean"] == (256,)
    assert "seg_bn_1.weight" not in deep
    assert deep["seg_2.weight"] == (256, 256)


def slow_resnet(state: dict[str, Tensor], features: Tensor, num_blocks: tuple[int, ...], convs: int) -> Tensor:
    """The network from its tensors, one operation after the other."""

    def conv_bn(x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        weight = state[f"{conv}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, var, gain, shift = (state[f"{bn}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, gain, shift)

    x = conv_bn(features.transpose(1, 2)[:, None], "conv1", "bn1").relu()
    for group, blocks in enumerate(num_blocks, start=1):
        for block in range(blocks):
            at = f"layer{group}.{block}"
            stride = 2 if group > 1 and block == 0 else 1
            out = x
            for conv in range(1, convs + 1):
                strides = conv == (1 if convs == 2 else 2)
                out = conv_bn(out, f"{at}.conv{conv}", f"{at}.bn{conv}", stride if strides else 1)
                out = out.relu() if conv < convs else out
            has_shortcut = f"{at}.shortcut.0.weight" in state
            out = out + (conv_bn(x, f"{at}.shortcut.0", f"{at}.shortcut.1", stride) if has_shortcut else x)
            x = out.relu()
    frames = x.shape[-1]
    mean = x.sum(dim=-1) / frames
    deviation = (((x - mean[..., None]) ** 2).sum(dim=-1) / (frames - 1) + 1e-7).sqrt()
    stats = torch.cat([mean.reshape(len(x), -1), deviation.reshape(len(x), -1)], dim=1)
    embedding = functional.linear(stats, state["seg_1.weight"], state["seg_1.bias"])
    if "seg_2.weight" in state:
        embedding = functional.batch_norm(
            embedding.relu(), state["seg_bn_1.running_mean"], state["seg_bn_1.running_var"]
        )
        embedding = functional.linear(embedding, state["seg_2.weight"], state["seg_2.bias"])
    return embedding


@pytest.mark.parametrize(
    ("name", "options", "num_blocks", "convs"),
    [
        ("resnet_small", {"emb_bn": False}, (1, 1, 1, 1), 2),
        ("ResNet18", {"m_channels": 4, "embed_dim": 7, "two_emb_layer": True}, (2, 2, 2, 2), 2),
        ("ResNet50", {"m_channels": 4, "embed_dim": 7}, (3, 4, 6, 3), 3),
    ],
)
def test_arithmetic_is_wespeakers(name: str, options: dict[str, int], num_blocks: tuple[int, ...], convs: int) -> None:
    torch.manual_seed(1)
    model = build_model(name, options).double()
    features = torch.randn(3, 37, 80, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    expected = slow_resnet(model.state_dict(), features, num_blocks, convs)
    torch.testing.assert_close(model(features), expected, rtol=1e-9, atol=1e-9)
    assert expected.shape == (3, model.embedding_dim)


def test_any_number_of_mels_fits() -> None:
    for mels in (17, 40, 64, 81):
        model = build_model("resnet_small", {"feat_dim": mels}).eval()
        assert model(torch.randn(1, 20, mels)).shape == (1, 128)


def test_channels_last_gives_the_same_embedding() -> None:
    torch.manual_seed(2)
    model = build_model("resnet_small", {}).eval()
    features = torch.randn(2, 50, 80)
    expected = model(features)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(model(features), expected, rtol=1e-4, atol=1e-5)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_a_strided_pointwise_convolution_of_few_channels_has_its_gradients_in_channels_last(
    precision, tolerance, training
):
    """Those of nn.Conv2d end in a segmentation fault on CPUs with AVX-512, and are wrong on others."""
    torch.manual_seed(3)
    conv = PointwiseConv2d(8, 16, 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(4, 8, 80, 200).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
        out = conv.train(training)(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    slope = torch.randn_like(out)
    out.backward(slope)
    taken = x.detach()[:, :, ::2, ::2].double()
    weight = conv.weight.detach().flatten(1).double()
    assert relative_error(out, torch.einsum("oi,bihw->bohw", weight, taken)) < tolerance
    by_weight = torch.einsum("bohw,bihw->oi", slope.double(), taken)
    assert relative_error(conv.weight.grad.flatten(1), by_weight) < tolerance
    by_input = torch.zeros(x.shape, dtype=torch.float64)
    by_input[:, :, ::2, ::2] = torch.einsum("oi,bohw->bihw", weight, slope.double())
    assert relative_error(x.grad, by_input) < tolerance


def test_channels_last_takes_the_same_training_steps() -> None:
    features = torch.randn(8, 100, 80, generator=torch.Generator().manual_seed(3))
    losses = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(2)
        model = build_model("resnet_small", {})
        model.to(memory_format=layout)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        losses[layout] = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(features), torch.arange(8))
            loss.backward()
            optimizer.step()
            losses[layout].append(loss.item())
    assert losses[torch.channels_last] == pytest.approx(losses[torch.contiguous_format], rel=1e-3)
    assert losses[torch.channels_last][-1] < losses[torch.channels_last][0]
