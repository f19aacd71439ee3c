"""ReDimNet2: ReDimNet whose stages also stride over time; each brings its map back to the frames of the input.

Layers, names and arithmetic are those of the authors' networks and of WeSpeaker's ReDimNet2B0 to ReDimNet2B6, whose
checkpoints load. Build the authors' from their `model_config` (`read_official2`): of their sizes, only B4 and B6 are
WeSpeaker's.

Yakovlev, Okhotnikov, "ReDimNet2", 2026, arXiv 2603.11841; github.com/PalabraAI/redimnet2.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sv.errors import UserError
from sv.models.encoder import Encoder
from sv.models.options import POOLINGS
from sv.models.redimnet import NORM_EPS, Block2d, ChannelNorm, TimeContext, To1d, official_front_end, to_2d
from sv.models.redimnet_options import ReDimNet2Options, ReDimNet2Stage


class WeightedSum(nn.Module):
    """Sum of all maps so far, each row weighted by a softmax over the maps."""

    def __init__(self, maps: int, rows: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, maps, rows, 1), requires_grad=maps > 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        weights = self.w.softmax(dim=1).unbind(dim=1)  # each (1, rows, 1)
        total = weights[0] * maps[0]
        for weight, x in zip(weights[1:], maps[1:], strict=True):
            total = total + weight * x
        return total


class To2d(nn.Module):
    """`to_2d` as a layer."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        return to_2d(x, self.bins)


class Repeat(nn.Module):
    """Repeat each frame."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.times, dim=-1) if self.times > 1 else x


class Backbone2(nn.Module):
    """The stem, the stages and the head: features (batch, frames, bins) to a map over the frames."""

    def __init__(self, options: ReDimNet2Options) -> None:
        super().__init__()
        self.options = options
        bins, channels = options.feat_dim, options.channels
        rows = bins * channels
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), ChannelNorm(channels), To1d())
        if options.agg_gnorm:
            self.stem_gnorm = nn.GroupNorm(channels, rows)
        maps, time_stride = 1, 1
        for number, stage in enumerate(options.stages_setup):
            (stride, frames), *_, reduction = stage
            if bins % stride:
                raise UserError(
                    f"ReDimNet2's stage {number} cannot divide {bins} bins by {stride}; take another feat_dim"
                )
            time_stride *= frames
            layers = [WeightedSum(maps, rows), To2d(bins), *_stage_2d(channels, bins, stage, time_stride, options)]
            bins, channels = bins // stride, channels * stride
            if options.dual_agg and reduction is not None:
                self.add_module(f"stage{number}_pre", nn.Sequential(*layers))
                self.add_module(f"stage{number}_1d", TimeContext(rows, rows // reduction))
                self.add_module(f"stage{number}_up_2d", self._up(time_stride, rows))
                self.add_module(f"stage{number}_up_1d", self._up(time_stride, rows))
                maps += 2
            else:
                context = [] if reduction is None else [TimeContext(rows, rows // reduction)]
                self.add_module(f"stage{number}", nn.Sequential(*layers, *context, *self._up(time_stride, rows)))
                maps += 1
        self.fin_wght1d = WeightedSum(maps, rows)
        self.bins, self.time_stride, self.out_dim = bins, time_stride, rows
        self.head: nn.Module = nn.Identity()
        if options.out_channels is not None and options.return_2d_output:
            self.head = nn.Conv2d(channels, options.out_channels, 1)
            self.out_dim = bins * options.out_channels
        elif options.out_channels is not None:
            self.head = nn.Conv1d(rows, options.out_channels, 1)
            self.out_dim = options.out_channels

    def _up(self, time_stride: int, rows: int) -> nn.Sequential:
        """Return the end of a stage: all frames again, and group norm if the options say so."""
        norm = [nn.GroupNorm(self.options.channels, rows)] if self.options.agg_gnorm else []
        return nn.Sequential(Repeat(time_stride), *norm)

    def forward(self, features: Tensor) -> Tensor:
        frames = features.shape[1] - features.shape[1] % self.time_stride
        x = self.stem(features[:, :frames].transpose(1, 2).unsqueeze(1))  # (batch, rows, frames)
        maps = [self.stem_gnorm(x) if self.options.agg_gnorm else x]
        for number, (*_, reduction) in enumerate(self.options.stages_setup):
            at = f"stage{number}"
            if self.options.dual_agg and reduction is not None:
                pre, context, up_2d, up_1d = (
                    self.get_submodule(f"{at}_{part}") for part in ("pre", "1d", "up_2d", "up_1d")
                )
                x = pre(maps)
                maps = [*maps, up_2d(x), up_1d(context(x))]
            else:
                maps = [*maps, self.get_submodule(at)(maps)]
        x = self.fin_wght1d(maps)
        return self.head(to_2d(x, self.bins) if self.options.return_2d_output else x)


class ReDimNet2(Encoder):
    """ReDimNet2 with the stages that the options list; frames beyond a multiple of its time stride are left out."""

    opened = frozenset({"backbone"})

    def __init__(self, options: ReDimNet2Options) -> None:
        super().__init__(options, min_frames=math.prod(stage[0][1] for stage in options.stages_setup))
        self.backbone = Backbone2(options)
        self.pool = POOLINGS.build(options.pooling_func, self.backbone.out_dim, **options.pooling_args)
        self.bn = nn.BatchNorm1d(self.pool.out_dim)
        self.linear = nn.Linear(self.pool.out_dim, options.embed_dim)
        self.bn2 = nn.BatchNorm1d(options.embed_dim) if options.emb_bn else nn.Identity()

    def encode(self, features: Tensor) -> Tensor:
        return self.bn2(self.linear(self.bn(self.pool(self.backbone(features)))))  # (batch, dim)


def _stage_2d(
    channels: int, bins: int, stage: ReDimNet2Stage, time_stride: int, options: ReDimNet2Options
) -> list[nn.Module]:
    """Return the layers of a stage from (batch, channels, bins, frames) to (batch, rows, frames / time stride)."""
    (stride, _), blocks, expansion, _ = stage
    outputs = stride * channels
    wide = int(outputs * expansion)
    kernel = (stride, time_stride)
    groups = math.gcd(channels, wide) if options.compress_tconvs else 1
    layers: list[nn.Module] = [nn.Conv2d(channels, wide, kernel, stride=kernel, groups=groups)]
    layers += [Block2d(wide, bins // stride, options) for _ in range(blocks)]
    if expansion != 1:
        layers.append(nn.Sequential(nn.Conv2d(wide, outputs, 1), nn.BatchNorm2d(outputs, eps=NORM_EPS)))
    return [*layers, To1d()]


# The authors' names of options, and ours.
_SAME = ["block_2d_type", "group_divisor", "embed_dim", "pooling_func", "out_channels", "return_2d_output"]
_SAME += ["compress_tconvs", "dual_agg", "agg_gnorm", "emb_bn", "stages_setup"]
_OFFICIAL_OPTIONS = {"F": "feat_dim", "C": "channels"} | {name: name for name in _SAME}
_ONLY_VALUES = {"block_1d_type": "conv+att", "global_context_att": True, "causal": "none", "fm_weigthing_type": "NC"}
_ONLY_VALUES |= {"spec_in_channels": 1}
_FRONT_END = ("feat_type", "hop_length", "spec_params")


def is_official2(content: Any) -> bool:
    """Return whether a checkpoint's stages stride over time too, as those of ReDimNet2."""
    config = content.get("model_config") if isinstance(content, Mapping) else None
    stages = config.get("stages_setup") if isinstance(config, Mapping) else None
    return isinstance(stages, (list, tuple)) and bool(stages) and isinstance(stages[0][0], (list, tuple))


def read_official2(content: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Return options of the model "ReDimNet2", its fbank_args and its state dict, from a checkpoint of the authors.

    Args:
        content: {"model_config": ..., "state_dict": ...}.
        where: the file, for the error.

    Raises:
        UserError: the configuration has parts that are not supported.
    """
    config = content["model_config"]
    for key, value in config.items():
        known = key in _OFFICIAL_OPTIONS or key in _FRONT_END
        fits = value == _ONLY_VALUES[key] if key in _ONLY_VALUES else not value
        if not known and not fits:
            raise UserError(f"{where}: its model_config has {key}: {value!r}, which is not supported")
    args = {ours: config[theirs] for theirs, ours in _OFFICIAL_OPTIONS.items() if theirs in config}
    args = {"feat_dim": 72, "channels": 24, **args}
    args["stages_setup"] = [[list(stage[0]), stage[1], stage[2], stage[-1]] for stage in config["stages_setup"]]
    state = {key: value for key, value in content["state_dict"].items() if not key.startswith("spec.")}
    return args, official_front_end({**config, "F": args["feat_dim"]}, where), state
