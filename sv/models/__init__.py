"""Encoders: features (batch, frames, mels) in, embedding (batch, dim) out. One registry, WeSpeaker's names.

build_model("ResNet34", {"embed_dim": 256})(features)
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from sv.models.ecapa_tdnn import EcapaTdnn
from sv.models.encoder import Encoder
from sv.models.loading import load_backbone
from sv.models.resnet import BasicBlock, Bottleneck, ResNet
from sv.models.xvector import XVector
from sv.registry import Registry

MODELS: Registry[Encoder] = Registry("model")

MODELS.register("resnet_small")(partial(ResNet, BasicBlock, (1, 1, 1, 1), m_channels=8, embed_dim=128, emb_bn=True))
MODELS.register("ResNet18")(partial(ResNet, BasicBlock, (2, 2, 2, 2)))
MODELS.register("ResNet34")(partial(ResNet, BasicBlock, (3, 4, 6, 3)))
MODELS.register("ResNet50")(partial(ResNet, Bottleneck, (3, 4, 6, 3)))
MODELS.register("ResNet101")(partial(ResNet, Bottleneck, (3, 4, 23, 3)))
MODELS.register("ResNet152")(partial(ResNet, Bottleneck, (3, 8, 36, 3)))
MODELS.register("ResNet221")(partial(ResNet, Bottleneck, (6, 16, 48, 3)))
MODELS.register("ResNet293")(partial(ResNet, Bottleneck, (10, 20, 64, 3)))
MODELS.register("ECAPA_TDNN_c512")(partial(EcapaTdnn, 512, False))
MODELS.register("ECAPA_TDNN_c1024")(partial(EcapaTdnn, 1024, False))
MODELS.register("ECAPA_TDNN_GLOB_c512")(partial(EcapaTdnn, 512, True))
MODELS.register("ECAPA_TDNN_GLOB_c1024")(partial(EcapaTdnn, 1024, True))
MODELS.register("XVEC")(XVector)


def build_model(name: str, args: Mapping[str, Any]) -> Encoder:
    """The encoder `name`, with the options given (WeSpeaker's `model_args`) and the defaults of the others.

    Raises:
        UserError: an unknown name or option, a value of another type.
    """
    return MODELS.build(name, **args)


__all__ = ["MODELS", "Encoder", "build_model", "load_backbone"]
