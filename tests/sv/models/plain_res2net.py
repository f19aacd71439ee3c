"""Res2Net, ERes2Net and ERes2NetV2 written out: their tensors, and their arithmetic from a state dict."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sv.models import build_model

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]
BLOCKS = (3, 4, 6, 3)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network.

    Attributes:
        downsamplings: name of each halving convolution -> the group whose channels it takes.
        fusions: name of each fusion of groups -> the group whose output it takes.
        convolves_all: parts of a block, or all but the last.
    """

    m_channels: int
    base_width: int
    scale: int
    expansion: int
    embed_dim: int
    downsamplings: dict[str, int]
    fusions: dict[str, int]
    convolves_all: bool = True


def res2net(m_channels: int, embed_dim: int) -> Sizes:
    return Sizes(m_channels, 32, 2, 2, embed_dim, {}, {}, convolves_all=False)


def eres2net(m_channels: int, base_width: int, scale: int, expansion: int, embed_dim: int) -> Sizes:
    downsamplings = {f"layer{group}_downsample": group for group in (1, 2, 3)}
    fusions = {"fuse_mode12": 2, "fuse_mode123": 3, "fuse_mode1234": 4}
    return Sizes(m_channels, base_width, scale, expansion, embed_dim, downsamplings, fusions)


def eres2netv2(m_channels: int, base_width: int, scale: int, expansion: int, embed_dim: int) -> Sizes:
    return Sizes(m_channels, base_width, scale, expansion, embed_dim, {"layer3_ds": 3}, {"fuse34": 4})


def check_published(name: str, sizes: Sizes, tensors: int, parameters: int) -> None:
    """Assert that an encoder has the published tensors, of the published numbers."""
    with torch.device("meta"):
        model = build_model(name, {})
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert shapes == published_shapes(sizes)
    assert len(shapes) == tensors
    assert sum(p.numel() for p in model.parameters()) == parameters


def published_shapes(sizes: Sizes) -> Shapes:
    """Return the tensors of a published model for 80 mels, without `two_emb_layer`."""
    shapes: Shapes = {}

    def norm(at: str, channels: int) -> None:
        shapes.update({f"{at}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{at}.num_batches_tracked"] = ()

    def fusion(at: str, channels: int) -> None:
        inner = channels // 4
        shapes[f"{at}.local_att.0.weight"], shapes[f"{at}.local_att.0.bias"] = (inner, 2 * channels, 1, 1), (inner,)
        norm(f"{at}.local_att.1", inner)
        shapes[f"{at}.local_att.3.weight"], shapes[f"{at}.local_att.3.bias"] = (channels, inner, 1, 1), (channels,)
        norm(f"{at}.local_att.4", channels)

    m, expansion, scale = sizes.m_channels, sizes.expansion, sizes.scale
    shapes["conv1.weight"] = (m, 1, 3, 3)
    norm("bn1", m)
    inputs = m
    for group in (1, 2, 3, 4):
        planes = m * (1, 2, 4, 8)[group - 1]
        width = int(planes * sizes.base_width / 64)
        for block in range(BLOCKS[group - 1]):
            at = f"layer{group}.{block}"
            shapes[f"{at}.conv1.weight"] = (width * scale, inputs, 1, 1)
            norm(f"{at}.bn1", width * scale)
            for part in range(scale if sizes.convolves_all else scale - 1):
                shapes[f"{at}.convs.{part}.weight"] = (width, width, 3, 3)
                norm(f"{at}.bns.{part}", width)
            if sizes.fusions and group > 2:
                for part in range(scale - 1):
                    fusion(f"{at}.fuse_models.{part}", width)
            shapes[f"{at}.conv3.weight"] = (planes * expansion, width * scale, 1, 1)
            norm(f"{at}.bn3", planes * expansion)
            if block == 0:
                shapes[f"{at}.shortcut.0.weight"] = (planes * expansion, inputs, 1, 1)
                norm(f"{at}.shortcut.1", planes * expansion)
            inputs = planes * expansion
    for name, group in sizes.downsamplings.items():
        channels = m * expansion * 2 ** (group - 1)
        shapes[f"{name}.weight"] = (2 * channels, channels, 3, 3)
    for name, group in sizes.fusions.items():
        fusion(name, m * expansion * 2 ** (group - 1))
    shapes["seg_1.weight"] = (sizes.embed_dim, 2 * 10 * 8 * m * expansion)
    shapes["seg_1.bias"] = (sizes.embed_dim,)
    return shapes


def norm(state: State, x: Tensor, at: str) -> Tensor:
    """Apply batch norm by its definition, to (batch, channels, mels, frames)."""
    mean, var, gain, shift = (
        state[f"{at}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * gain + shift


def conv(state: State, x: Tensor, at: str, stride: int = 1) -> Tensor:
    weight = state[f"{at}.weight"]
    return functional.conv2d(x, weight, state.get(f"{at}.bias"), stride=stride, padding=weight.shape[-1] // 2)


def fuse(state: State, x: Tensor, y: Tensor, at: str) -> Tensor:
    """Fuse two maps; the 1x1 convolutions are matrix products, SiLU and tanh come from exponentials."""
    both = torch.cat([x, y], dim=1)
    first, second = (state[f"{at}.local_att.{i}.weight"][:, :, 0, 0] for i in (0, 3))
    hidden = torch.einsum("oi,bift->boft", first, both) + state[f"{at}.local_att.0.bias"][:, None, None]
    hidden = norm(state, hidden, f"{at}.local_att.1")
    hidden = hidden / (1 + torch.exp(-hidden))
    out = torch.einsum("oi,bift->boft", second, hidden) + state[f"{at}.local_att.3.bias"][:, None, None]
    out = norm(state, out, f"{at}.local_att.4")
    share = 1 / (1 + torch.exp(-2 * out))  # (1 + tanh) / 2
    return 2 * (share * x + (1 - share) * y)


def block(state: State, x: Tensor, at: str, stride: int, scale: int) -> Tensor:
    """Run a Res2 block; its tensors tell whether it fuses its parts, and convolves the last one."""
    out = norm(state, conv(state, x, f"{at}.conv1", stride), f"{at}.bn1").clamp(0, 20)
    width = out.shape[1] // scale
    done: list[Tensor] = []
    for i in range(scale):
        part = out[:, i * width : (i + 1) * width]
        if f"{at}.convs.{i}.weight" in state:
            if i > 0 and f"{at}.fuse_models.{i - 1}.local_att.0.weight" in state:
                part = fuse(state, done[i - 1], part, f"{at}.fuse_models.{i - 1}")
            elif i > 0:
                part = done[i - 1] + part
            part = norm(state, conv(state, part, f"{at}.convs.{i}"), f"{at}.bns.{i}").clamp(0, 20)
        done.append(part)
    out = norm(state, conv(state, torch.cat(done, dim=1), f"{at}.conv3"), f"{at}.bn3")
    if f"{at}.shortcut.0.weight" in state:
        x = norm(state, conv(state, x, f"{at}.shortcut.0", stride), f"{at}.shortcut.1")
    return (out + x).clamp(0, 20)


def groups(state: State, features: Tensor, scale: int) -> list[Tensor]:
    """Return the outputs of the four groups, for features (batch, frames, mels)."""
    x = norm(state, conv(state, features.transpose(1, 2)[:, None], "conv1"), "bn1").clamp(min=0)
    outputs = []
    for group, blocks in enumerate(BLOCKS, start=1):
        for number in range(blocks):
            x = block(state, x, f"layer{group}.{number}", 2 if group > 1 and number == 0 else 1, scale)
        outputs.append(x)
    return outputs


def embed(state: State, x: Tensor) -> Tensor:
    """Pool (batch, channels, mels, frames) by mean and deviation, and map to embeddings (batch, dim)."""
    frames = x.shape[-1]
    mean = x.sum(dim=-1) / frames
    deviation = (((x - mean[..., None]) ** 2).sum(dim=-1) / (frames - 1) + 1e-7).sqrt()
    stats = torch.cat([mean.reshape(len(x), -1), deviation.reshape(len(x), -1)], dim=1)
    embedding = stats @ state["seg_1.weight"].T + state["seg_1.bias"]
    if "seg_2.weight" not in state:
        return embedding
    mean, var = state["seg_bn_1.running_mean"], state["seg_bn_1.running_var"]
    hidden = (embedding.clamp(min=0) - mean) / (var + 1e-5).sqrt()
    return hidden @ state["seg_2.weight"].T + state["seg_2.bias"]
