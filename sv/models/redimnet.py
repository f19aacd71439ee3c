"""ReDimNet: stages of a 2-d block and a 1-d block, all joined by 1-d feature maps of one size.

Between stages a map is (batch, bins * channels, frames), its rows in the order (bins, channels), bins outermost. A
stage reads a weighted sum of all earlier maps as (batch, channels, bins, frames), convolves it in 2-d, turns it back
and adds context over time in 1-d. A stride divides the bins and multiplies the channels; the frames stay.

Yakovlev et al., "Reshape Dimensions Network for Speaker Recognition", Interspeech 2024, arXiv 2407.18223. Layers, names
and sizes are those of WeSpeaker's ReDimNetB0 to ReDimNetB6. `read_official` reads the checkpoints of the authors, whose
layers have other names. Build these from their `model_config`: their B2 and B5 are not WeSpeaker's.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, relu, scaled_dot_product_attention

from sv.errors import UserError
from sv.models.encoder import Encoder
from sv.models.options import POOLINGS
from sv.models.redimnet_options import ReDimNet2Options, ReDimNetOptions, ReDimNetStage

HEADS = 4
KERNELS_1D = (7, 19, 31, 59)
NORM_EPS = 1e-6


def to_1d(x: Tensor) -> Tensor:
    """Return (batch, bins * channels, frames), bins outermost, of (batch, channels, bins, frames)."""
    return x.transpose(1, 2).flatten(1, 2)


def to_2d(x: Tensor, bins: int) -> Tensor:
    """Return (batch, channels, bins, frames): the inverse of `to_1d`."""
    return x.unflatten(1, (bins, -1)).transpose(1, 2)


class To1d(nn.Module):
    """`to_1d` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return to_1d(x)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (batch, channels, ...) at each position."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.movedim(-1, 1)


class ConvNextLike(nn.Module):
    """Grouped convolution, batch norm, GELU and 1x1, added to the input.

    Args:
        axes: 2 for (batch, channels, bins, frames), 1 for (batch, channels, frames).
    """

    def __init__(self, channels: int, *, axes: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv1d, nn.BatchNorm1d)
        dwconv = conv(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups)
        self.dwconvs = nn.ModuleList([dwconv])
        self.norm = norm(channels)
        self.pwconv1 = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pwconv1(gelu(self.norm(self.dwconvs[0](x))))


class BinExcitation(nn.Module):
    """Multiply each bin by a gate in (0, 1), computed from the means of all bins over channels and frames."""

    def __init__(self, bins: int, channels: int) -> None:
        super().__init__()
        hidden = min(64, max(channels, 32))
        self.squeeze = nn.Linear(bins, hidden)
        self.exitation = nn.Linear(hidden, bins)  # spelled as in the checkpoints

    def forward(self, x: Tensor) -> Tensor:
        gate = self.exitation(relu(self.squeeze(x.mean(dim=(1, 3))))).sigmoid()  # (batch, bins)
        return x * gate[:, None, :, None]


class ResNetLike(nn.Module):
    """Two grouped 3x3 convolutions, each with a 1x1, added to the input.

    Args:
        gate_bins: bins of the input, for a `BinExcitation` before the sum; None for no gate.
    """

    def __init__(self, channels: int, *, groups: int, gate_bins: int | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.conv1pw = nn.Conv2d(channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.conv2pw = nn.Conv2d(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = nn.Identity() if gate_bins is None else BinExcitation(gate_bins, channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(relu(self.conv1pw(self.conv1(x))))  # ReLU before batch norm, as in the checkpoints
        out = self.se(self.bn2(self.conv2pw(self.conv2(out))))
        return relu(out + x)


class Block2d(nn.Module):
    """One 2-d block of the type that the options name."""

    def __init__(self, channels: int, bins: int, options: ReDimNetOptions | ReDimNet2Options) -> None:
        super().__init__()
        groups = _groups(channels, options)
        self.conv_block: nn.Module
        if options.block_2d_type == "convnext_like":
            self.conv_block = ConvNextLike(channels, axes=2, kernel_size=3, groups=groups)
        else:
            gate_bins = bins if options.block_2d_type == "basic_resnet_fwse" else None
            self.conv_block = ResNetLike(channels, groups=groups, gate_bins=gate_bins)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_block(x)


class SelfAttention(nn.Module):
    """Self-attention of four heads over (batch, frames, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            proj(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )  # (batch, heads, frames, dim / heads)
        return self.out_proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a GELU (tanh form) between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(dim, dim)
        self.output_dense = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_dense(gelu(self.intermediate_dense(x), approximate="tanh"))


class TransformerLayer(nn.Module):
    """Attention over time and feed-forward on (batch, dim, frames), each added to its input and normalized after."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attention = SelfAttention(dim)
        self.layer_norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.feed_forward = FeedForward(dim)
        self.final_layer_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # (batch, frames, dim)
        x = self.layer_norm(x + self.attention(x))
        return self.final_layer_norm(x + self.feed_forward(x)).transpose(1, 2)


class TimeContext(nn.Module):
    """The 1-d block: fewer channels, four convolutions and attention over time, all channels again, plus the input."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        if hidden < HEADS or hidden % HEADS:
            raise UserError(
                f"ReDimNet cannot reduce {channels} channels to {hidden}, which is no multiple of {HEADS}; "
                "take another feat_dim or stages_setup"
            )
        self.red_dim_conv = nn.Sequential(nn.Conv1d(channels, hidden, 1), ChannelNorm(hidden))
        convs = (ConvNextLike(hidden, axes=1, kernel_size=size, groups=hidden) for size in KERNELS_1D)
        self.tcm = nn.Sequential(*convs, TransformerLayer(hidden))
        self.exp_dim_conv = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.exp_dim_conv(self.tcm(self.red_dim_conv(x)))


class Backbone(nn.Module):
    """The stem and the stages: features (batch, frames, bins) to one map (batch, bins * channels, frames)."""

    def __init__(self, options: ReDimNetOptions) -> None:
        super().__init__()
        bins, channels, stages = options.feat_dim, options.channels, options.stages_setup
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), ChannelNorm(channels))
        # The weights of the maps before each stage, and at the end. One map alone has weight 1: nothing to learn.
        weights = [nn.Parameter(torch.ones(1, 1, 1, 1), requires_grad=False)]
        weights += [nn.Parameter(torch.zeros(1, maps, bins * channels, 1)) for maps in range(2, len(stages) + 2)]
        self.inputs_weights = nn.ParameterList(weights)
        self.bins: list[int] = []  # of each stage's input
        for i, stage in enumerate(stages):
            stride = stage[0]
            if bins % stride:
                raise UserError(f"ReDimNet's stage {i} cannot divide {bins} bins by {stride}; take another feat_dim")
            self.bins.append(bins)
            self.add_module(f"stage{i}", _stage(channels, bins, stage, options))
            bins, channels = bins // stride, channels * stride

    def forward(self, features: Tensor) -> Tensor:
        maps = [to_1d(self.stem(features.transpose(1, 2).unsqueeze(1)))]  # each (batch, bins * channels, frames)
        for i, bins in enumerate(self.bins):
            maps.append(self.get_submodule(f"stage{i}")(to_2d(self._weighted_sum(maps), bins)))
        return self._weighted_sum(maps)

    def _weighted_sum(self, maps: list[Tensor]) -> Tensor:
        """Return the sum of all maps so far, each row weighted by a softmax over the maps."""
        weights = self.inputs_weights[len(maps) - 1].softmax(dim=1).unbind(dim=1)  # each (1, bins * channels, 1)
        total = weights[0] * maps[0]
        for weight, x in zip(weights[1:], maps[1:], strict=True):
            total = total + weight * x
        return total


class ReDimNet(Encoder):
    """ReDimNet with the stages that the options list."""

    opened = frozenset({"backbone"})

    def __init__(self, options: ReDimNetOptions) -> None:
        super().__init__(options)
        self.backbone = Backbone(options)
        self.pool = POOLINGS.build(options.pooling_func, options.feat_dim * options.channels, **options.pooling_args)
        self.bn = nn.BatchNorm1d(self.pool.out_dim) if options.stats_bn else nn.Identity()
        self.seg_1 = nn.Linear(self.pool.out_dim, options.embed_dim)
        self.two_emb_layer = options.two_emb_layer
        if options.two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(options.embed_dim, affine=False)
            self.seg_2 = nn.Linear(options.embed_dim, options.embed_dim)

    def encode(self, features: Tensor) -> Tensor:
        embedding: Tensor = self.seg_1(self.bn(self.pool(self.backbone(features))))  # (batch, dim)
        return self.seg_2(self.seg_bn_1(relu(embedding))) if self.two_emb_layer else embedding


def _stage(channels: int, bins: int, stage: ReDimNetStage, options: ReDimNetOptions) -> nn.Sequential:
    """Return one stage, from (batch, channels, bins, frames) to (batch, bins * channels, frames)."""
    stride, blocks, expansion, reduction = stage
    rows = bins * channels
    bins, channels = bins // stride, channels * stride
    wide = channels * expansion
    layers: list[nn.Module] = [nn.Conv2d(channels // stride, wide, (stride, 1), stride=(stride, 1))]
    layers += [Block2d(wide, bins, options) for _ in range(blocks)]
    if expansion != 1:
        squeeze = nn.Conv2d(wide, channels, 3, padding=1, groups=_groups(channels, options))
        norm = nn.BatchNorm2d(channels, eps=NORM_EPS)
        layers.append(nn.Sequential(squeeze, norm, nn.GELU(), nn.Conv2d(channels, channels, 1)))
    layers.append(To1d())
    if reduction is not None:
        layers.append(TimeContext(rows, rows // reduction))
    return nn.Sequential(*layers)


def _groups(channels: int, options: ReDimNetOptions | ReDimNet2Options) -> int:
    return max(1, channels // options.group_divisor)


# The authors' names of options, and ours.
_OFFICIAL_OPTIONS = {
    "F": "feat_dim",
    "C": "channels",
    "block_2d_type": "block_2d_type",
    "group_divisor": "group_divisor",
    "stages_setup": "stages_setup",
    "embed_dim": "embed_dim",
    "pooling_func": "pooling_func",
}
_REQUIRED = ("F", "C", "block_2d_type", "group_divisor", "stages_setup")
_ONLY_VALUES = {"block_1d_type": "conv+att", "global_context_att": True}
_FRONT_END = ("feat_type", "hop_length", "spec_params")


def read_official(content: Any, where: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Return options of the model "ReDimNet", its fbank_args and its state dict, from a checkpoint of the authors.

    Args:
        content: {"model_config": ..., "state_dict": ...}.
        where: the file, for the error.

    Raises:
        UserError: the file has no configuration, or one of parts that are not supported.
    """
    content = content if isinstance(content, Mapping) else {}
    config, state = content.get("model_config"), content.get("state_dict")
    if not isinstance(config, Mapping) or not isinstance(state, Mapping):
        raise UserError(f"{where}: has no model_config and state_dict; it is no checkpoint of ReDimNet's authors")
    if missing := [key for key in _REQUIRED if key not in config]:
        raise UserError(f"{where}: its model_config has no {missing[0]}")
    for key, value in config.items():
        known = key in _OFFICIAL_OPTIONS or key in _FRONT_END
        fits = value == _ONLY_VALUES[key] if key in _ONLY_VALUES else not value
        if not known and not fits:
            raise UserError(f"{where}: its model_config has {key}: {value!r}, which is not supported")
    args = {ours: config[theirs] for theirs, ours in _OFFICIAL_OPTIONS.items() if theirs in config}
    args["stages_setup"] = [_official_stage(stage, where) for stage in config["stages_setup"]]
    stages = len(args["stages_setup"])
    renamed = {_our_name(key, stages): value for key, value in state.items() if not key.startswith("spec.")}
    return args | {"stats_bn": True}, official_front_end(config, where), renamed


_FEATURES = {"pt": "redimnet", "pt_mel": "redimnet", "tf": "redimnet_tf", "tf_mel": "redimnet_tf"}
_ONLY_FEATURES = {"n_fft": 512, "win_length": 400, "sample_rate": 16000, "do_preemph": True, "spec_norm": "mn"}


def official_front_end(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return our fbank_args of the authors' configuration; mels are the encoder's."""
    kind = _FEATURES.get(config.get("feat_type", "pt"))
    if kind is None:
        raise UserError(f"{where}: its model_config has feat_type: {config['feat_type']!r}, which is not supported")
    spec = {"hop_length": config.get("hop_length", 160), **(config.get("spec_params") or {})}
    for key, only in _ONLY_FEATURES.items():
        if spec.get(key, only) != only:
            raise UserError(f"{where}: its spec_params have {key}: {spec[key]!r}; only {only} is supported")
    return {
        "kind": kind,
        "num_mel_bins": config["F"],
        "frame_shift": spec["hop_length"] / 16,
        "low_freq": float(spec.get("f_min", 20)),
        "high_freq": float(spec.get("f_max", 7600)),
        "unit_variance": bool(spec.get("norm_signal", False)),
        "dither": 0.0,
    }


def _official_stage(stage: Sequence[Any], where: str) -> tuple[Any, ...]:
    """Return (stride, blocks, expansion, reduction) of the authors' stage, which also lists kernels."""
    if len(stage) != 5 or stage[3] not in ((3, 3), [3, 3], [(3, 3)], [[3, 3]]):
        raise UserError(
            f"{where}: its model_config has the stage {stage}; only stages with one 3x3 kernel are supported"
        )
    return *stage[:3], stage[4]


def _our_name(key: str, stages: int) -> str:
    """Return our name of the authors' tensor `key`."""
    key = re.sub(r"^linear\.", "seg_1.", key)
    key = re.sub(r"^backbone\.fin_wght1d\.w$", f"backbone.inputs_weights.{stages}", key)
    key = re.sub(r"^backbone\.stage(\d+)\.0\.w$", r"backbone.inputs_weights.\1", key)
    # Their stages begin with two layers more: the weighted sum and the reshape to 2-d.
    return re.sub(r"^(backbone\.stage\d+)\.(\d+)", lambda m: f"{m[1]}.{int(m[2]) - 2}", key)
