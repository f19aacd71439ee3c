"""The options of ReDimNet and ReDimNet2, and the stages of their sizes; without torch, as `options.py`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainSerializer, create_model

from sv.models.options import PooledOptions

_Count = Annotated[int, Field(gt=0)]
ReDimNetBlock = Literal["basic_resnet", "basic_resnet_fwse", "convnext_like"]
ReDimNetStage = tuple[_Count, _Count, _Count, _Count | None]
ReDimNetStages = Annotated[  # lists when written, as YAML reads them back
    tuple[ReDimNetStage, ...], PlainSerializer(lambda stages: [list(stage) for stage in stages]), Field(min_length=1)
]


class ReDimNetOptions(PooledOptions):
    """Options of ReDimNet.

    Attributes:
        channels: channels of the first 2-d map; the authors' C, as `feat_dim` is their F.
        group_divisor: 2-d convolutions have channels / `group_divisor` groups.
        stages_setup: for each stage its stride over the bins, its number of 2-d blocks, how many times more channels
            these have, and by how much the 1-d block divides the channels (None: no 1-d block).
        stats_bn: batch norm of the pooled statistics, as in the authors' checkpoints.
        two_emb_layer: another ReLU, batch norm (without affine) and linear layer after the first one.
    """

    pooling_args: ClassVar[Mapping[str, Any]] = {"global_context_att": True}

    feat_dim: int = Field(72, gt=0)
    embed_dim: int = Field(192, gt=0)
    pooling_func: str = "ASTP"
    channels: int = Field(gt=0)
    block_2d_type: ReDimNetBlock
    group_divisor: int = Field(gt=0)
    stages_setup: ReDimNetStages
    stats_bn: bool = False
    two_emb_layer: bool = False


_B0 = ((1, 2, 1, 30), (2, 3, 2, 30), (1, 3, 3, 30), (2, 4, 2, 10), (1, 3, 1, 10))
_B1 = ((1, 2, 1, None), (2, 3, 1, None), (3, 4, 1, 12), (2, 5, 1, 12), (2, 3, 1, 8))
_B2 = ((1, 2, 1, 12), (2, 2, 1, 12), (1, 3, 1, 12), (2, 4, 1, 8), (1, 4, 1, 8), (2, 4, 1, 4))
_B3 = ((1, 6, 4, 32), (2, 6, 2, 32), (1, 8, 2, 32), (2, 10, 2, 16), (1, 10, 1, 16), (2, 8, 1, 16))
_B4 = ((1, 4, 2, 48), (2, 4, 2, 48), (1, 6, 2, 48), (2, 6, 1, 32), (1, 8, 1, 24), (2, 4, 1, 16))
_B6 = ((1, 4, 4, 32), (2, 6, 2, 32), (1, 6, 2, 24), (3, 8, 1, 24), (1, 8, 1, 16), (2, 8, 1, 16))
REDIMNETS: dict[str, tuple[int, int, ReDimNetBlock, int, tuple[ReDimNetStage, ...]]] = {
    # name: mels, channels, 2-d blocks, group_divisor, stages
    "ReDimNetB0": (60, 10, "basic_resnet", 1, _B0),
    "ReDimNetB1": (72, 12, "convnext_like", 8, _B1),
    "ReDimNetB2": (72, 16, "convnext_like", 4, _B2),
    "ReDimNetB3": (72, 16, "basic_resnet_fwse", 1, _B3),
    "ReDimNetB4": (72, 32, "basic_resnet_fwse", 1, _B4),
    "ReDimNetB5": (72, 32, "basic_resnet_fwse", 16, _B4),
    "ReDimNetB6": (72, 32, "basic_resnet", 32, _B6),
}


def redimnet_options(name: str) -> type[ReDimNetOptions]:
    """Return the options of one of `REDIMNETS`: those of ReDimNet with its values as defaults."""
    mels, channels, block, group_divisor, stages = REDIMNETS[name]
    return create_model(
        f"{name}Options",
        __base__=ReDimNetOptions,
        feat_dim=(int, Field(mels, gt=0)),
        channels=(int, Field(channels, gt=0)),
        block_2d_type=(ReDimNetBlock, block),
        group_divisor=(int, Field(group_divisor, gt=0)),
        stages_setup=(ReDimNetStages, stages),
    )


ReDimNet2Stage = tuple[tuple[_Count, _Count], _Count, Annotated[float, Field(gt=0)], _Count | None]
ReDimNet2Stages = Annotated[
    tuple[ReDimNet2Stage, ...],
    PlainSerializer(lambda stages: [[list(stage[0]), *stage[1:]] for stage in stages]),
    Field(min_length=1),
]


class ReDimNet2Options(PooledOptions):
    """Options of ReDimNet2.

    Attributes:
        channels, block_2d_type, group_divisor: as of ReDimNet.
        stages_setup: for each stage its strides over bins and frames, its number of 2-d blocks, how many times more
            channels these have, and by how much the 1-d block divides the channels (None: no 1-d block).
        out_channels: channels of the map that is pooled; None: all.
        return_2d_output: pool the 2-d map, bins and all.
        compress_tconvs: the strided convolutions have as many groups as divide their channels.
        dual_agg: a stage gives two maps, from before and after its 1-d block.
        agg_gnorm: group norm of each map.
        emb_bn: batch norm after the last linear layer.
    """

    pooling_args: ClassVar[Mapping[str, Any]] = {"global_context_att": True}

    feat_dim: int = Field(72, gt=0)
    embed_dim: int = Field(192, gt=0)
    pooling_func: str = "ASTP"
    channels: int = Field(gt=0)
    block_2d_type: ReDimNetBlock = "basic_resnet"
    group_divisor: int = Field(1, gt=0)
    stages_setup: ReDimNet2Stages
    out_channels: int | None = Field(None, gt=0)
    return_2d_output: bool = False
    compress_tconvs: bool = True
    dual_agg: bool = False
    agg_gnorm: bool = False
    emb_bn: bool = False


_STRIDES2 = ((1, 1), (2, 1), (1, 2), (2, 1), (1, 2), (2, 1))


def _stages2(
    expansions: Sequence[float],
    reductions: Sequence[int],
    blocks: Sequence[int] = (2, 3, 4, 5, 4, 3),
    strides: Sequence[tuple[int, int]] = _STRIDES2,
) -> tuple[ReDimNet2Stage, ...]:
    return tuple(zip(strides, blocks, expansions, reductions, strict=True))


class ReDimNet2B0Options(ReDimNet2Options):
    """Options of ReDimNet2B0."""

    channels: int = Field(12, gt=0)
    out_channels: int | None = Field(64, gt=0)
    stages_setup: ReDimNet2Stages = _stages2((2, 1, 1, 1, 1, 1), (36, 36, 36, 36, 18, 18))


class ReDimNet2B1Options(ReDimNet2B0Options):
    """Options of ReDimNet2B1."""

    channels: int = Field(16, gt=0)
    stages_setup: ReDimNet2Stages = _stages2((2, 1, 1, 1, 1, 1), (32, 32, 32, 32, 16, 16))


class ReDimNet2B2Options(ReDimNet2B0Options):
    """Options of ReDimNet2B2."""

    channels: int = Field(20, gt=0)
    stages_setup: ReDimNet2Stages = _stages2(
        (2, 1, 1, 1, 1, 1),
        (40, 30, 30, 20, 20, 10),
        strides=((1, 1), (2, 1), (1, 2), (3, 1), (1, 2), (2, 1)),
    )


class ReDimNet2B3Options(ReDimNet2B0Options):
    """Options of ReDimNet2B3."""

    channels: int = Field(24, gt=0)


class ReDimNet2B4Options(ReDimNet2Options):
    """Options of ReDimNet2B4."""

    channels: int = Field(32, gt=0)
    stages_setup: ReDimNet2Stages = _stages2((4, 3, 2, 1, 1, 1), (24, 24, 24, 24, 24, 24))


class ReDimNet2B5Options(ReDimNet2Options):
    """Options of ReDimNet2B5."""

    channels: int = Field(48, gt=0)
    out_channels: int | None = Field(256, gt=0)
    stages_setup: ReDimNet2Stages = _stages2((4, 3, 2, 1, 1, 1), (48, 48, 48, 48, 32, 32))


class ReDimNet2B6Options(ReDimNet2Options):
    """Options of ReDimNet2B6."""

    channels: int = Field(64, gt=0)
    out_channels: int | None = Field(224, gt=0)
    return_2d_output: bool = True
    stages_setup: ReDimNet2Stages = _stages2(
        (3, 2, 2, 1, 0.75, 0.5), (64, 64, 48, 48, 32, 24), blocks=(3, 4, 5, 5, 4, 3)
    )
