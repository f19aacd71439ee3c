"""The options of encoders, and the poolings that they name; without torch, so that they are checked at once.

Those of ReDimNets, with their tables of stages, are in redimnet_options.py, those of poolings in pooling_options.py.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from sv.models.pooling_options import (
    AttentionOptions,
    MultiHeadOptions,
    MultiQueryOptions,
    NormedAttentionOptions,
    PoolingOptions,
    XiOptions,
)
from sv.registry import Options, Registry

if TYPE_CHECKING:
    from sv.models.pooling import Pooling


POOLINGS: "Registry[Pooling]" = Registry("pooling")

POOLINGS.add("TAP", PoolingOptions, "sv.models.pooling:TemporalAverage")
POOLINGS.add("TSDP", PoolingOptions, "sv.models.pooling:TemporalDeviation")
POOLINGS.add("TSTP", PoolingOptions, "sv.models.pooling:TemporalStatistics")
POOLINGS.add("ASTP", AttentionOptions, "sv.models.pooling:AttentiveStatistics")
POOLINGS.add("ASP", NormedAttentionOptions, "sv.models.pooling:NormedAttentiveStatistics")
POOLINGS.add("XI", XiOptions, "sv.models.pooling:XiPosterior")
POOLINGS.add("MHASTP", MultiHeadOptions, "sv.models.pooling:MultiHeadStatistics")
POOLINGS.add("MQMHASTP", MultiQueryOptions, "sv.models.pooling:MultiQueryStatistics")


class EncoderOptions(Options):
    """Base of the options of all encoders."""

    front_end: ClassVar[Mapping[str, Any]] = {}  # fbank_args of an encoder that takes no other features
    weights: ClassVar[str] = ""  # what to fetch for --pretrained, of an encoder that is built on another network

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


class XiEcapaOptions(EcapaOptions):
    """Options of ECAPA-TDNN with the pooling of the xi-vector."""

    pooling_func: str = "XI"


class SpeechBrainEcapaOptions(EncoderOptions):
    """Options of SpeechBrain's ECAPA-TDNN."""

    embed_dim: int = Field(192, gt=0)
    channels: int = Field(1024, gt=0, multiple_of=8)


class Ge2eLstmOptions(EncoderOptions):
    """Options of the LSTM of GE2E.

    Attributes:
        window_frames: a longer input is cut into overlapping windows of so many frames.
        step_frames: frames from one window to the next.
    """

    feat_dim: int = Field(40, gt=0)
    hidden_dim: int = Field(256, gt=0)
    num_layers: int = Field(3, gt=0)
    window_frames: int = Field(160, gt=0)
    step_frames: int = Field(77, gt=0)  # 1.3 windows a second


class XVectorOptions(PooledOptions):
    """Options of the x-vector TDNN."""

    embed_dim: int = Field(512, gt=0)
    hid_dim: int = Field(512, gt=0)  # channels of the first four layers
    stats_dim: int = Field(1500, gt=0)  # channels of the fifth, which are pooled


class XiXVectorOptions(XVectorOptions):
    """Options of the x-vector TDNN with the pooling of the xi-vector."""

    pooling_func: str = "XI"


class CamPlusPlusOptions(PooledOptions):
    """Options of CAM++."""

    embed_dim: int = Field(512, gt=0)  # 192 in 3D-Speaker's "common" models


class Res2NetOptions(PooledOptions):
    """Options of Res2Nets.

    Attributes:
        m_channels: channels of the first group; with 4, each part of a block has one or more.
        two_emb_layer: another ReLU, batch norm (without affine) and linear layer after the first one.
    """

    m_channels: int = Field(32, ge=4)
    two_emb_layer: bool = False


class Res2NetLargeOptions(Res2NetOptions):
    """Options of the large Res2Net."""

    m_channels: int = Field(64, ge=4)


class ERes2NetOptions(Res2NetOptions):
    """Options of the base ERes2Net."""

    embed_dim: int = Field(192, gt=0)  # 512 in some of 3D-Speaker's models


class ERes2NetLargeOptions(ERes2NetOptions):
    """Options of the larger ERes2Nets, and of ERes2NetV2."""

    m_channels: int = Field(64, ge=4)


class SimamResNetOptions(PooledOptions):
    """Options of SimAM-ResNets."""

    pooling_func: str = "ASP"
    in_planes: int = Field(64, gt=0)  # channels of the first group
    dropout: float = Field(0.0, ge=0, lt=1)  # share of the pooled values that training sets to zero


class GeminiOptions(PooledOptions):
    """Options of Gemini DF-ResNets."""

    two_emb_layer: bool = False  # another ReLU, batch norm (without affine) and linear layer after the first one


class RepVggOptions(PooledOptions):
    """Options of RepVGGs."""

    use_se: bool = False  # a gate for each channel at the end of a block
    deploy: bool = False  # of checkpoints that WeSpeaker has converted for inference


class RepVggSeOptions(RepVggOptions):
    """Options of RepVGGs with gates."""

    use_se: bool = True


class WavLmOptions(PooledOptions):
    """Options of encoders on a WavLM.

    Attributes:
        feat_dim: samples of a frame of the input.
        layers, width, heads, feed_forward: sizes of the transformer.
        conv_channels: channels of the convolutions before it.
        lora_rank: rank of updates of queries and values, which are learnt in place of WavLM's own weights; 0: none.
        lora_alpha: an update counts lora_alpha / lora_rank.
        dropout: in the transformer while it is trained.
        max_seconds: a longer waveform is embedded in equal parts, since memory grows with its square.
    """

    front_end: ClassVar[Mapping[str, Any]] = {
        "kind": "waveform",
        "sample_rate": 16000,
        "num_mel_bins": 160,
        "frame_length": 10.0,
        "frame_shift": 10.0,
        "dither": 0.0,
    }
    weights: ClassVar[str] = (
        "https://download.pytorch.org/torchaudio/models/wavlm_base_plus.pth "
        "(or pytorch_model.bin of microsoft/wavlm-base-plus)"
    )
    pooling_args: ClassVar[Mapping[str, Any]] = {"global_context_att": True}

    feat_dim: int = Field(160, gt=0)
    pooling_func: str = "ASTP"
    layers: int = Field(12, gt=0)
    width: int = Field(768, gt=0, multiple_of=16)
    heads: int = Field(12, gt=0)
    feed_forward: int = Field(3072, gt=0)
    conv_channels: int = Field(512, gt=0)
    lora_rank: int = Field(0, ge=0)
    lora_alpha: float = Field(128.0, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    max_seconds: float = Field(30.0, ge=1)


class WavLmLargeOptions(WavLmOptions):
    """Options of encoders on the large WavLM."""

    weights: ClassVar[str] = (
        "https://download.pytorch.org/torchaudio/models/wavlm_large.pth (or pytorch_model.bin of microsoft/wavlm-large)"
    )

    layers: int = Field(24, gt=0)
    width: int = Field(1024, gt=0, multiple_of=16)
    heads: int = Field(16, gt=0)
    feed_forward: int = Field(4096, gt=0)


class WavLmEcapaOptions(WavLmOptions):
    """Options of WavLM with ECAPA-TDNN."""

    embed_dim: int = Field(192, gt=0)
    channels: int = Field(512, gt=0, multiple_of=8)  # of ECAPA-TDNN


class WavLmLargeEcapaOptions(WavLmLargeOptions):
    """Options of the large WavLM with ECAPA-TDNN."""

    embed_dim: int = Field(192, gt=0)
    channels: int = Field(512, gt=0, multiple_of=8)  # of ECAPA-TDNN


class WavLmMfaOptions(WavLmOptions):
    """Options of WavLM with multi-layer feature aggregation."""

    adapter_dim: int = Field(128, gt=0)  # channels that each layer adds


class WavLmLargeMfaOptions(WavLmLargeOptions):
    """Options of the large WavLM with multi-layer feature aggregation."""

    adapter_dim: int = Field(128, gt=0)  # channels that each layer adds
