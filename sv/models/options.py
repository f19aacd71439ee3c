"""The options of all encoders, and of the poolings that they name; without torch, so that they are checked at once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from sv.registry import Options, Registry

if TYPE_CHECKING:
    from sv.models.pooling import Pooling


class PoolingOptions(Options):
    """Base of the options of all poolings; the plain ones have none."""


class AttentionOptions(PoolingOptions):
    """Options of attentive statistics."""

    bottleneck_dim: int = Field(128, gt=0)
    global_context_att: bool = False  # the attention also sees the utterance's mean and deviation


POOLINGS: "Registry[Pooling]" = Registry("pooling")

POOLINGS.add("TAP", PoolingOptions, "sv.models.pooling:TemporalAverage")
POOLINGS.add("TSDP", PoolingOptions, "sv.models.pooling:TemporalDeviation")
POOLINGS.add("TSTP", PoolingOptions, "sv.models.pooling:TemporalStatistics")
POOLINGS.add("ASTP", AttentionOptions, "sv.models.pooling:AttentiveStatistics")


class EncoderOptions(Options):
    """Base of the options of all encoders."""

    feat_dim: int = Field(80, gt=0)  # mels of the input
    embed_dim: int = Field(256, gt=0)  # dim of the embedding


class PooledOptions(EncoderOptions):
    """Options of encoders that pool over time by one of `POOLINGS`."""

    pooling_args: ClassVar[Mapping[str, Any]] = {}  # options that the encoder gives the pooling

    pooling_func: str = "TSTP"

    @model_validator(mode="after")
    def _check_pooling(self) -> "PooledOptions":
        POOLINGS.options(self.pooling_func, self.pooling_args)
        return self


class ResNetOptions(PooledOptions):
    """Options of ResNets.

    Attributes:
        m_channels: channels of the first group.
        two_emb_layer: another ReLU, batch norm (without affine) and linear layer after the first one.
        emb_bn: batch norm of the embedding. Without it the embeddings' common part makes their cosines alike at first,
            and a softmax over cosines takes long to leave that: with it, AAM on 1,760 utterances of 110 speakers came
            to 5 % EER in 4 epochs instead of 23 %.
    """

    m_channels: int = Field(32, gt=0)
    two_emb_layer: bool = False
    emb_bn: bool = False


class ResNetSmallOptions(ResNetOptions):
    """Options of resnet_small, the ResNet of small corpora."""

    m_channels: int = Field(8, gt=0)
    embed_dim: int = Field(128, gt=0)
    emb_bn: bool = True


class EcapaOptions(PooledOptions):
    """Options of ECAPA-TDNN."""

    embed_dim: int = Field(192, gt=0)
    pooling_func: str = "ASTP"
    emb_bn: bool = False  # batch norm after the last linear layer


class EcapaGlobOptions(EcapaOptions):
    """Options of ECAPA-TDNN whose attention sees the whole utterance (WeSpeaker's `GLOB`; the paper)."""

    pooling_args: ClassVar[Mapping[str, Any]] = {"global_context_att": True}


class XVectorOptions(PooledOptions):
    """Options of the x-vector TDNN."""

    embed_dim: int = Field(512, gt=0)
    hid_dim: int = Field(512, gt=0)  # channels of the first four layers
    stats_dim: int = Field(1500, gt=0)  # channels of the fifth, which are pooled


class CamPlusPlusOptions(PooledOptions):
    """Options of CAM++."""

    embed_dim: int = Field(512, gt=0)  # 192 in 3D-Speaker's "common" models
