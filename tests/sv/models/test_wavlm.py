"""Encoders on WavLM: sizes, its layers in plain arithmetic, long inputs, and low-rank updates."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from sv.models import build_model
from sv.models.wavlm import WavLmEncoder

SMALL: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2, "feed_forward": 24, "conv_channels": 8, "embed_dim": 16}


def small(name: str, **changes: Any) -> WavLmEncoder:
    torch.manual_seed(0)
    model = build_model(name, {**SMALL, **({"channels": 16} if name.endswith("ECAPA") else {}), **changes})
    assert isinstance(model, WavLmEncoder)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(
    ("name", "wavlm", "whole", "tensors"),
    [
        ("WavLM_Base_ECAPA", 94_381_168, 102_333_181, 199),
        ("WavLM_Base_MFA", 94_381_168, 97_591_408, 199),
        ("WavLM_Large_ECAPA", 315_452_096, 324_059_481, 391),
        ("WavLM_Large_MFA", 315_452_096, 322_444_480, 391),
    ],
)
def test_sizes(name: str, wavlm: int, whole: int, tensors: int) -> None:
    with torch.device("meta"):
        model = build_model(name, {})
    assert isinstance(model, WavLmEncoder)
    assert sum(p.numel() for p in model.wavlm.parameters()) == wavlm
    assert sum(p.numel() for p in model.parameters()) == whole
    assert len(model.wavlm.state_dict()) == tensors


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def bucket(distance: int) -> int:
    """The number of a relative position: exact up to 80, then logarithmic up to 800; later keys come second."""
    side, size = (160 if distance > 0 else 0), abs(distance)
    if size >= 80:
        size = min(80 + int(math.log(size / 80) / math.log(800 / 80) * 80), 159)
    return side + size


def attention(x: Tensor, state: dict[str, Tensor], name: str, table: Tensor, heads: int) -> Tensor:
    """Attention with gated relative positions of one utterance (frames, width), a head and a query at a time."""
    width = x.shape[1] // heads
    joint = x @ state[f"{name}.attention.in_proj_weight"].T + state[f"{name}.attention.in_proj_bias"]
    queries, keys, values = joint.chunk(3, dim=1)
    outputs = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i, frame in enumerate(x[:, part]):
            gates = state[f"{name}.gru_rel_pos_linear.weight"] @ frame + state[f"{name}.gru_rel_pos_linear.bias"]
            update, reset = gates[:4].sum().sigmoid(), gates[4:].sum().sigmoid()
            gate = update * (reset * state[f"{name}.gru_rel_pos_const"][0, head, 0, 0] - 1) + 2
            bias = torch.stack([gate * table[bucket(j - i), head] for j in range(len(x))])
            weights = (keys[:, part] @ queries[i, part] / math.sqrt(width) + bias).softmax(dim=0)
            outputs[i, part] = weights @ values[:, part]
    return outputs @ state[f"{name}.attention.out_proj.weight"].T + state[f"{name}.attention.out_proj.bias"]


def plain_layers(state: dict[str, Tensor], waveform: Tensor, *, large: bool) -> list[Tensor]:
    """The layers of one waveform (samples,)."""
    if large:
        waveform = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-5).sqrt()
    x = waveform[None]
    for number, stride in enumerate([5, 2, 2, 2, 2, 2, 2]):
        conv = f"feature_extractor.conv_layers.{number}"
        kernels = state[f"{conv}.conv.weight"]  # (outputs, inputs, size)
        x = torch.stack([(x.unfold(1, kernels.shape[2], stride) * k[:, None]).sum(dim=(0, 2)) for k in kernels])
        if large:
            x = norm(x.T, state, f"{conv}.layer_norm").T
        elif number == 0:  # each channel over time
            x = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
            x = x * state[f"{conv}.layer_norm.weight"][:, None] + state[f"{conv}.layer_norm.bias"][:, None]
        x = gelu(x)
    project, top = "encoder.feature_projection", "encoder.transformer"
    x = norm(x.T, state, f"{project}.layer_norm") @ state[f"{project}.projection.weight"].T
    x = x + state[f"{project}.projection.bias"]
    length, direction = (
        state[f"{top}.pos_conv_embed.conv.parametrizations.weight.original{number}"] for number in (0, 1)
    )
    kernels = length * direction / direction.square().sum(dim=(0, 1), keepdim=True).sqrt()
    padded = torch.cat([torch.zeros(64, x.shape[1]), x, torch.zeros(63, x.shape[1])])
    inputs = x.shape[1] // 16
    places = [
        torch.stack(
            [
                (padded[t : t + 128, n // inputs * inputs : (n // inputs + 1) * inputs].T * kernels[n]).sum()
                for n in range(x.shape[1])
            ]
        )
        for t in range(len(x))
    ]
    x = x + gelu(torch.stack(places) + state[f"{top}.pos_conv_embed.conv.bias"])
    if not large:
        x = norm(x, state, f"{top}.layer_norm")
    found, table = [x], state[f"{top}.layers.0.attention.rel_attn_embed.weight"]
    for number in range(SMALL["layers"]):
        name = f"{top}.layers.{number}"
        dense = f"{name}.feed_forward"

        def feed(y: Tensor, dense: str = dense) -> Tensor:
            hidden = gelu(y @ state[f"{dense}.intermediate_dense.weight"].T + state[f"{dense}.intermediate_dense.bias"])
            return hidden @ state[f"{dense}.output_dense.weight"].T + state[f"{dense}.output_dense.bias"]

        if large:
            x = x + attention(norm(x, state, f"{name}.layer_norm"), state, f"{name}.attention", table, SMALL["heads"])
            x = x + feed(norm(x, state, f"{name}.final_layer_norm"))
        else:
            x = norm(x + attention(x, state, f"{name}.attention", table, SMALL["heads"]), state, f"{name}.layer_norm")
            x = norm(x + feed(x), state, f"{name}.final_layer_norm")
        found.append(x)
    return [*found[:-1], norm(x, state, f"{top}.layer_norm")] if large else found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["WavLM_Base_MFA", "WavLM_Large_MFA"])
def test_layers_are_those_of_plain_arithmetic(name: str) -> None:
    model = small(name).double().eval()
    waveform = torch.randn(2, 30_000, dtype=torch.float64)  # 93 frames, some further apart than 80
    state = {key: value.detach() for key, value in model.wavlm.state_dict().items()}
    torch.set_default_dtype(torch.float64)
    try:
        expected = plain_layers(state, waveform[1], large="Large" in name)
    finally:
        torch.set_default_dtype(torch.float32)
    found = [layer[1] for layer in model.layers(waveform)]
    assert len(found) == len(expected) == 3
    for layer, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(layer, plain, rtol=1e-6, atol=1e-6)


def test_ecapa_gets_the_weighted_mean_of_the_layers_less_its_mean_over_time() -> None:
    model: Any = small("WavLM_Base_ECAPA").eval()
    model.layer_weights.data = torch.tensor([0.0, 1.0, 2.0])
    layers = [torch.randn(2, 9, 32) for _ in range(3)]
    total = 1 + math.e + math.e**2
    frames = sum(layer * math.e**n / total for n, layer in enumerate(layers))
    torch.testing.assert_close(model.embed(layers), model.ecapa(frames - frames.mean(dim=1, keepdim=True)))


def test_mfa_pools_all_layers_side_by_side() -> None:
    model: Any = small("WavLM_Base_MFA", adapter_dim=4).eval()
    layers = [torch.randn(2, 9, 32) for _ in range(3)]
    adapted = []
    for layer, (first, normed, _, last) in zip(layers, model.adapters, strict=True):
        hidden = layer_norm(layer @ first.weight.T + first.bias, (4,), normed.weight, normed.bias).relu()
        adapted.append(hidden @ last.weight.T + last.bias)
    frames = torch.cat(adapted, dim=2).transpose(1, 2)  # (batch, 12, frames)
    assert model.pool.in_dim == 12
    torch.testing.assert_close(model.embed(layers), model.linear(model.bn(model.pool(frames))))


@pytest.mark.parametrize("name", ["WavLM_Base_ECAPA", "WavLM_Large_MFA"])
def test_a_long_waveform_is_embedded_in_equal_parts(name: str) -> None:
    model = small(name, max_seconds=1).eval()
    features = 0.1 * torch.randn(2, 250, 160)  # 2.5 s
    parts = [model(part) for part in features.tensor_split(3, dim=1)]
    torch.testing.assert_close(model(features), torch.stack(parts).mean(dim=0))
    assert model(features[:, :100]).equal(model.embed(model.layers(features[:, :100].flatten(1))))


def test_the_large_wavlm_does_not_hear_how_loud_a_waveform_is() -> None:
    model = small("WavLM_Large_MFA").eval()
    features = torch.randn(1, 40, 160)
    torch.testing.assert_close(model(features), model(0.1 * features), rtol=1e-2, atol=1e-3)


def test_low_rank_updates_begin_at_nothing_and_alone_are_learnt() -> None:
    plain, updated = (small("WavLM_Base_MFA", lora_rank=rank) for rank in (0, 2))
    names = [name for name, p in updated.wavlm.named_parameters() if p.requires_grad]
    assert len(names) == 4 and all(name.endswith(("in_proj_weight.0.down", "in_proj_weight.0.up")) for name in names)
    block = updated.wavlm.encoder.transformer.layers[1].attention.attention
    update = block.parametrizations.in_proj_weight[0]
    update.up.data = torch.randn(2, 32, 2)
    change = block.in_proj_weight - block.parametrizations.in_proj_weight.original
    expected = torch.zeros(96, 32)
    for row, pair in ((0, 0), (64, 1)):
        expected[row : row + 32] = 128 / 2 * update.up[pair] @ update.down[pair]
    torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-3)
    update.up.data.zero_()
    assert torch.equal(block.in_proj_weight, block.parametrizations.in_proj_weight.original)
    assert sum(p.numel() for p in plain.wavlm.parameters() if p.requires_grad) > 20 * 4 * 2 * 32
