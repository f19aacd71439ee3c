"""ReDimNet: sizes and names as WeSpeaker's and the authors', arithmetic against one written out with functions."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.errors import UserError
from sv.models import build_model
from sv.models.encoder import Encoder
from sv.models.loading import load_backbone
from sv.models.redimnet import read_official, to_1d, to_2d

SMALL: dict[str, Any] = {
    "feat_dim": 12,
    "channels": 8,
    "group_divisor": 4,
    "embed_dim": 7,
    "stages_setup": [[1, 2, 1, 8], [2, 1, 2, None], [3, 2, 3, 12]],
}
BLOCKS = ["basic_resnet", "basic_resnet_fwse", "convnext_like"]


def small_model(**options: Any) -> Encoder:
    """Build a small network with weights that differ from map to map, in double precision."""
    torch.manual_seed(1)
    model = build_model("ReDimNet", {"block_2d_type": "basic_resnet_fwse", **SMALL, **options}).double()
    for name, parameter in model.named_parameters():
        if "inputs_weights" in name:
            torch.nn.init.normal_(parameter)
    return model


def shapes_of(name: str, **options: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build_model(name, options).state_dict().items()}


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [
        ("ReDimNetB0", 583, 1_001_851),
        ("ReDimNetB1", 353, 2_123_481),
        ("ReDimNetB2", 548, 4_888_241),
        ("ReDimNetB3", 1373, 3_220_413),
        ("ReDimNetB4", 1044, 6_432_305),
        ("ReDimNetB5", 1044, 7_650_545),
        ("ReDimNetB6", 1044, 15_006_257),
    ],
)
def test_size_is_wespeakers(name: str, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(name, {})
    assert len(model.state_dict()) == tensors
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [("ReDimNetB0", 591, 1_004_251), ("ReDimNetB2", 556, 4_892_849), ("ReDimNetB6", 1052, 15_015_473)],
)
def test_size_with_norm_of_statistics_is_the_authors(name: str, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(name, {"stats_bn": True})
    assert len(model.state_dict()) == tensors - 3  # three buffers of the front-end
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_tensors_are_named_as_wespeakers() -> None:
    b3, b2 = shapes_of("ReDimNetB3"), shapes_of("ReDimNetB2")
    assert b3["backbone.stem.0.weight"] == (16, 1, 3, 3)
    assert b3["backbone.stem.1.bias"] == (16,)
    assert b3["backbone.inputs_weights.0"] == (1, 1, 1, 1)
    assert b3["backbone.inputs_weights.1"] == (1, 2, 1152, 1)
    assert b3["backbone.inputs_weights.6"] == (1, 7, 1152, 1)
    assert b3["backbone.stage1.0.weight"] == (64, 16, 2, 1)  # strides 2, and twice the channels within
    assert b3["backbone.stage1.1.conv_block.conv1.weight"] == (64, 1, 3, 3)
    assert "backbone.stage1.1.conv_block.conv1.bias" not in b3
    assert b3["backbone.stage1.1.conv_block.conv1pw.bias"] == (64,)
    assert b3["backbone.stage1.6.conv_block.bn2.running_var"] == (64,)
    assert b3["backbone.stage1.6.conv_block.se.squeeze.weight"] == (64, 36)
    assert b3["backbone.stage1.6.conv_block.se.exitation.weight"] == (36, 64)
    assert b3["backbone.stage1.7.0.weight"] == (32, 2, 3, 3)
    assert b3["backbone.stage1.7.1.running_mean"] == (32,)
    assert b3["backbone.stage1.7.3.weight"] == (32, 32, 1, 1)
    at = "backbone.stage1.9"  # 8 is the reshape to 1-d
    assert b3[f"{at}.red_dim_conv.0.weight"] == (36, 1152, 1)
    assert b3[f"{at}.red_dim_conv.1.weight"] == (36,)
    assert [b3[f"{at}.tcm.{i}.dwconvs.0.weight"] for i in range(4)] == [(36, 1, k) for k in (7, 19, 31, 59)]
    assert b3[f"{at}.tcm.3.norm.running_mean"] == (36,)
    assert b3[f"{at}.tcm.3.pwconv1.weight"] == (36, 36, 1)
    assert [b3[f"{at}.tcm.4.attention.{part}_proj.weight"] for part in ("k", "v", "q", "out")] == [(36, 36)] * 4
    assert b3[f"{at}.tcm.4.layer_norm.weight"] == b3[f"{at}.tcm.4.final_layer_norm.bias"] == (36,)
    assert b3[f"{at}.tcm.4.feed_forward.intermediate_dense.weight"] == (36, 36)
    assert b3[f"{at}.tcm.4.feed_forward.output_dense.weight"] == (36, 36)
    assert b3[f"{at}.exp_dim_conv.weight"] == (1152, 36, 1)
    assert b3["pool.linear1.weight"] == (128, 3 * 1152, 1)
    assert b3["pool.linear2.weight"] == (1152, 128, 1)
    assert b3["seg_1.weight"] == (192, 2 * 1152)
    assert not [key for key in b3 if key.startswith(("bn.", "seg_bn_1", "seg_2"))]
    assert b2["backbone.stage1.1.conv_block.dwconvs.0.weight"] == (32, 4, 3, 3)
    assert b2["backbone.stage1.1.conv_block.norm.weight"] == (32,)
    assert b2["backbone.stage1.2.conv_block.pwconv1.bias"] == (32,)
    assert b2["backbone.stage1.4.exp_dim_conv.bias"] == (1152,)


def test_rows_of_1d_maps_have_bins_outermost() -> None:
    bins, channels = 3, 2
    x = torch.arange(2 * channels * bins * 4).reshape(2, channels, bins, 4)
    flat = to_1d(x)
    for f in range(bins):
        for c in range(channels):
            assert torch.equal(flat[:, f * channels + c], x[:, c, f])
    assert torch.equal(to_2d(flat, bins), x)
    other = to_2d(flat, 1)  # the same map in a stage of other bins
    assert torch.equal(other[:, 5, 0], flat[:, 5])


def slow_redimnet(state: dict[str, Tensor], features: Tensor, options: dict[str, Any]) -> Tensor:
    """The network from its tensors, one operation after the other."""

    def conv(x: Tensor, at: str, stride: int = 1, strided: bool = False) -> Tensor:
        weight, bias = state[f"{at}.weight"], state.get(f"{at}.bias")
        groups = x.shape[1] // weight.shape[1]
        if weight.dim() == 3:
            return functional.conv1d(x, weight, bias, padding=weight.shape[2] // 2, groups=groups)
        if strided:
            return functional.conv2d(x, weight, bias, stride=(stride, 1))
        return functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=groups)

    def bn(x: Tensor, at: str, eps: float = 1e-5) -> Tensor:
        mean, var, gain, shift = (state[f"{at}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, gain, shift, eps=eps)

    def linear(x: Tensor, at: str) -> Tensor:
        return x @ state[f"{at}.weight"].T + state[f"{at}.bias"]

    def norm(x: Tensor, at: str, dim: int) -> Tensor:
        mean, var = x.mean(dim=dim, keepdim=True), x.var(dim=dim, keepdim=True, correction=0)
        shape = [-1 if axis == dim % x.dim() else 1 for axis in range(x.dim())]
        gain, shift = (state[f"{at}.{part}"].reshape(shape) for part in ("weight", "bias"))
        return (x - mean) / (var + 1e-6).sqrt() * gain + shift

    def convnext(x: Tensor, at: str) -> Tensor:
        return x + conv(functional.gelu(bn(conv(x, f"{at}.dwconvs.0"), f"{at}.norm")), f"{at}.pwconv1")

    def resnet(x: Tensor, at: str) -> Tensor:
        out = bn(conv(conv(x, f"{at}.conv1"), f"{at}.conv1pw").relu(), f"{at}.bn1")
        out = bn(conv(conv(out, f"{at}.conv2"), f"{at}.conv2pw"), f"{at}.bn2")
        if f"{at}.se.squeeze.weight" in state:
            gate = linear(linear(out.mean(dim=(1, 3)), f"{at}.se.squeeze").relu(), f"{at}.se.exitation").sigmoid()
            out = out * gate.reshape(len(out), 1, -1, 1)
        return (x + out).relu()

    def transformer(x: Tensor, at: str) -> Tensor:
        x = x.transpose(1, 2)
        size = x.shape[2] // 4
        heads = []
        for head in range(4):
            own = slice(head * size, (head + 1) * size)
            q, k, v = (linear(x, f"{at}.attention.{part}_proj")[:, :, own] for part in "qkv")
            heads.append((q @ k.transpose(1, 2) / size**0.5).softmax(dim=2) @ v)
        x = norm(x + linear(torch.cat(heads, dim=2), f"{at}.attention.out_proj"), f"{at}.layer_norm", -1)
        hidden = linear(x, f"{at}.feed_forward.intermediate_dense")
        hidden = 0.5 * hidden * (1 + ((2 / torch.pi) ** 0.5 * (hidden + 0.044715 * hidden**3)).tanh())
        x = norm(x + linear(hidden, f"{at}.feed_forward.output_dense"), f"{at}.final_layer_norm", -1)
        return x.transpose(1, 2)

    def mix(maps: list[Tensor]) -> Tensor:
        weights = state[f"backbone.inputs_weights.{len(maps) - 1}"].softmax(dim=1)
        return (weights * torch.stack(maps, dim=1)).sum(dim=1)

    batch, frames, bins = features.shape
    rows = bins * options["channels"]
    x = features.transpose(1, 2)[:, None]
    maps = [norm(conv(x, "backbone.stem.0"), "backbone.stem.1", 1).permute(0, 2, 1, 3).reshape(batch, rows, frames)]
    for stage, (stride, blocks, expansion, reduction) in enumerate(options["stages_setup"]):
        at = f"backbone.stage{stage}"
        x = mix(maps).reshape(batch, bins, rows // bins, frames).permute(0, 2, 1, 3)
        x = conv(x, f"{at}.0", stride=stride, strided=True)
        bins //= stride
        for block in range(1, blocks + 1):
            key = f"{at}.{block}.conv_block"
            x = convnext(x, key) if f"{key}.pwconv1.weight" in state else resnet(x, key)
        index = blocks + 1
        if expansion != 1:
            x = functional.gelu(bn(conv(x, f"{at}.{index}.0"), f"{at}.{index}.1", eps=1e-6))
            x = conv(x, f"{at}.{index}.3")
            index += 1
        x = x.permute(0, 2, 1, 3).reshape(batch, rows, frames)
        if reduction is not None:
            key = f"{at}.{index + 1}"
            y = norm(conv(x, f"{key}.red_dim_conv.0"), f"{key}.red_dim_conv.1", 1)
            for layer in range(4):
                y = convnext(y, f"{key}.tcm.{layer}")
            x = x + conv(transformer(y, f"{key}.tcm.4"), f"{key}.exp_dim_conv")
        maps.append(x)
    x = mix(maps)
    mean, deviation = x.mean(dim=2, keepdim=True), (x.var(dim=2, keepdim=True) + 1e-7).sqrt()
    seen = torch.cat([x, mean.expand_as(x), deviation.expand_as(x)], dim=1)
    alpha = conv(conv(seen, "pool.linear1").tanh(), "pool.linear2").softmax(dim=2)
    mean = (alpha * x).sum(dim=2)
    deviation = ((alpha * x**2).sum(dim=2) - mean**2).clamp(min=1e-7).sqrt()
    stats = torch.cat([mean, deviation], dim=1)
    return linear(bn(stats, "bn") if "bn.weight" in state else stats, "seg_1")


@pytest.mark.parametrize("stats_bn", [False, True])
@pytest.mark.parametrize("block", BLOCKS)
def test_arithmetic_is_as_published(block: str, stats_bn: bool) -> None:
    model = small_model(block_2d_type=block, stats_bn=stats_bn)
    features = torch.randn(3, 23, 12, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    expected = slow_redimnet(model.state_dict(), features, SMALL)
    torch.testing.assert_close(model(features), expected, rtol=1e-9, atol=1e-9)
    assert expected.shape == (3, 7)


@pytest.mark.parametrize("frames", [1, 2, 57, 130])
def test_one_batch_equals_many_at_any_length(frames: int) -> None:
    model = small_model().eval()
    features = torch.randn(3, frames, 12, dtype=torch.float64)
    alone = torch.cat([model(row[None]) for row in features])
    assert alone.isfinite().all()
    torch.testing.assert_close(model(features), alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("block", BLOCKS)
def test_gradients_under_bf16_are_finite(block: str) -> None:
    model = small_model(block_2d_type=block).float()
    with torch.autocast("cpu", torch.bfloat16):
        embedding = model(torch.randn(4, 40, 12))
    assert embedding.dtype == torch.bfloat16
    embedding.float().square().sum().backward()
    learnt = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in learnt.items() if grad is None or not grad.isfinite().all()] == []
    assert "backbone.inputs_weights.0" not in learnt  # one map alone


def test_second_layer_after_the_embedding_is_an_option() -> None:
    shapes = shapes_of("ReDimNetB0", two_emb_layer=True)
    assert shapes["seg_bn_1.running_mean"] == (192,)
    assert shapes["seg_2.weight"] == (192, 192)
    assert small_model(two_emb_layer=True)(torch.randn(2, 9, 12, dtype=torch.float64)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ReDimNetB1", {"feat_dim": 80}, "stage 2 cannot divide 40 bins by 3; take another feat_dim"),
        ("ReDimNetB0", {"feat_dim": 66}, "cannot reduce 660 channels to 22, which is no multiple of 4"),
        ("ReDimNetB0", {"stages_setup": [[1, 1, 1, 601]]}, "cannot reduce 600 channels to 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        shapes_of(name, **options)


CONFIG: dict[str, Any] = {
    "F": 12,
    "C": 8,
    "block_1d_type": "conv+att",
    "block_2d_type": "convnext_like",
    "group_divisor": 4,
    "stages_setup": [(1, 2, 1, [(3, 3)], 8), (2, 1, 2, [(3, 3)], None), (3, 2, 3, [(3, 3)], 12)],
    "embed_dim": 7,
    "pooling_func": "ASTP",
    "global_context_att": True,
    "hop_length": 240,
    "out_channels": None,
}


def authors_name(key: str) -> str:
    """Name a tensor as the authors do: two layers more in each stage, the weights of maps in the first."""
    if key == "backbone.inputs_weights.3":
        return "backbone.fin_wght1d.w"
    if weights := re.fullmatch(r"backbone\.inputs_weights\.(\d)", key):
        return f"backbone.stage{weights[1]}.0.w"
    if layer := re.fullmatch(r"(backbone\.stage\d)\.(\d)\.(.*)", key):
        return f"{layer[1]}.{int(layer[2]) + 2}.{layer[3]}"
    return key.replace("seg_1", "linear")


def test_checkpoint_of_the_authors_is_read() -> None:
    trained = small_model(block_2d_type="convnext_like", stats_bn=True).eval()
    state = {authors_name(key): value for key, value in trained.state_dict().items()}
    assert {"backbone.stage0.2.weight", "backbone.stage2.0.w", "bn.running_mean", "linear.bias"} <= set(state)
    state["spec.torchfbank.1.flipped_filter"] = torch.zeros(1, 1, 2)
    args, front_end, renamed = read_official({"model_config": CONFIG, "state_dict": state}, "b.pt")
    assert front_end == {
        "kind": "redimnet",
        "num_mel_bins": 12,
        "frame_shift": 15.0,
        "low_freq": 20.0,
        "high_freq": 7600.0,
        "unit_variance": False,
        "dither": 0.0,
    }
    model = build_model("ReDimNet", args).double().eval()
    load_backbone(model, renamed, "b.pt")
    features = torch.randn(2, 31, 12, dtype=torch.float64)
    assert torch.equal(model(features), trained(features))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out_channels": 512}, "b.pt: its model_config has out_channels: 512, which is not supported"),
        ({"feat_type": "pt_stft"}, "b.pt: its model_config has feat_type: 'pt_stft', which is not supported"),
        ({"spec_params": {"n_fft": 1024}}, "b.pt: its spec_params have n_fft: 1024; only 512 is supported"),
        ({"block_1d_type": "gru"}, "block_1d_type: 'gru', which is not supported"),
        ({"stages_setup": [(1, 2, 1, [(3, 3), (5, 5)], 8)]}, "only stages with one 3x3 kernel are supported"),
        ({"stages_setup": [(1, 2, 1, 8)]}, "only stages with one 3x3 kernel are supported"),
    ],
)
def test_checkpoint_with_other_parts_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_official({"model_config": {**CONFIG, **change}, "state_dict": {}}, "b.pt")


def test_front_end_of_the_authors_is_read() -> None:
    spec = {"norm_signal": True, "f_min": 0, "f_max": 8000, "hop_length": 160, "do_spec_aug": True}
    content = {"model_config": {**CONFIG, "feat_type": "pt", "spec_params": spec}, "state_dict": {}}
    _, front_end, _ = read_official(content, "b.pt")
    assert (front_end["unit_variance"], front_end["frame_shift"]) == (True, 10.0)
    assert (front_end["low_freq"], front_end["high_freq"]) == (0.0, 8000.0)


def test_checkpoint_without_a_configuration_is_refused() -> None:
    with pytest.raises(UserError, match="has no model_config and state_dict"):
        read_official({"state_dict": {}}, "b.pt")
    with pytest.raises(UserError, match="model_config has no group_divisor"):
        config = {key: value for key, value in CONFIG.items() if key != "group_divisor"}
        read_official({"model_config": config, "state_dict": {}}, "b.pt")
