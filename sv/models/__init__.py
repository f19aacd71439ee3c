"""Encoders: features (batch, frames, mels) in, embedding (batch, dim) out, under WeSpeaker's names.

build_model("ResNet34", {"embed_dim": 256})(features)

An encoder is a file with its layers, a class of options in `options.py` and a row here. Nothing here loads torch; an
encoder's module is imported when it is built.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sv.errors import UserError
from sv.models import options
from sv.registry import Registry

if TYPE_CHECKING:
    from sv.models.encoder import Encoder

MODELS: "Registry[Encoder]" = Registry("model")

_RESNET = "sv.models.resnet:ResNet"
MODELS.add("resnet_small", options.ResNetSmallOptions, _RESNET, num_blocks=(1, 1, 1, 1), bottleneck=False)
MODELS.add("ResNet18", options.ResNetOptions, _RESNET, num_blocks=(2, 2, 2, 2), bottleneck=False)
MODELS.add("ResNet34", options.ResNetOptions, _RESNET, num_blocks=(3, 4, 6, 3), bottleneck=False)
MODELS.add("ResNet50", options.ResNetOptions, _RESNET, num_blocks=(3, 4, 6, 3), bottleneck=True)
MODELS.add("ResNet101", options.ResNetOptions, _RESNET, num_blocks=(3, 4, 23, 3), bottleneck=True)
MODELS.add("ResNet152", options.ResNetOptions, _RESNET, num_blocks=(3, 8, 36, 3), bottleneck=True)
MODELS.add("ResNet221", options.ResNetOptions, _RESNET, num_blocks=(6, 16, 48, 3), bottleneck=True)
MODELS.add("ResNet293", options.ResNetOptions, _RESNET, num_blocks=(10, 20, 64, 3), bottleneck=True)

_SIMAM = "sv.models.simam_resnet:SimamResNet"
MODELS.add("SimAM_ResNet34_ASP", options.SimamResNetOptions, _SIMAM, num_blocks=(3, 4, 6, 3))
MODELS.add("SimAM_ResNet100_ASP", options.SimamResNetOptions, _SIMAM, num_blocks=(6, 16, 24, 3))

_ECAPA = "sv.models.ecapa_tdnn:EcapaTdnn"
MODELS.add("ECAPA_TDNN_c512", options.EcapaOptions, _ECAPA, channels=512)
MODELS.add("ECAPA_TDNN_c1024", options.EcapaOptions, _ECAPA, channels=1024)
MODELS.add("ECAPA_TDNN_GLOB_c512", options.EcapaGlobOptions, _ECAPA, channels=512)
MODELS.add("ECAPA_TDNN_GLOB_c1024", options.EcapaGlobOptions, _ECAPA, channels=1024)

MODELS.add("ECAPA_TDNN_SpeechBrain", options.SpeechBrainEcapaOptions, "sv.models.ecapa_speechbrain:SpeechBrainEcapa")

MODELS.add("GE2E_LSTM", options.Ge2eLstmOptions, "sv.models.ge2e_lstm:Ge2eLstm")
MODELS.add("XVEC", options.XVectorOptions, "sv.models.xvector:XVector")
MODELS.add("CAMPPlus", options.CamPlusPlusOptions, "sv.models.campplus:CamPlusPlus")

_REDIMNET = "sv.models.redimnet:ReDimNet"
MODELS.add("ReDimNet", options.ReDimNetOptions, _REDIMNET)
for _name in options.REDIMNETS:
    MODELS.add(_name, options.redimnet_options(_name), _REDIMNET)

_RES2NET = "sv.models.res2net:Res2Net"
MODELS.add("Res2Net34_Base", options.Res2NetOptions, _RES2NET, base_width=32, scale=2, expansion=2)
MODELS.add("Res2Net34_Large", options.Res2NetLargeOptions, _RES2NET, base_width=32, scale=2, expansion=2)

_ERES2NET = "sv.models.eres2net:ERes2Net"
MODELS.add("ERes2Net34_Base", options.ERes2NetOptions, _ERES2NET, base_width=32, scale=2, expansion=2)
MODELS.add("ERes2Net34_Large", options.ERes2NetLargeOptions, _ERES2NET, base_width=32, scale=2, expansion=2)
MODELS.add("ERes2Net34_aug", options.ERes2NetLargeOptions, _ERES2NET, base_width=24, scale=3, expansion=4)

_ERES2NETV2 = "sv.models.eres2netv2:ERes2NetV2"
MODELS.add("ERes2NetV2", options.ERes2NetLargeOptions, _ERES2NETV2, base_width=26, scale=2, expansion=2)
MODELS.add("ERes2NetV2_w24s4ep4", options.ERes2NetLargeOptions, _ERES2NETV2, base_width=24, scale=4, expansion=4)


def build_model(name: str, args: Mapping[str, Any]) -> "Encoder":
    """Build the encoder `name`, with the options given (WeSpeaker's `model_args`) and the defaults of the others.

    Raises:
        UserError: the name or an option is unknown; a value has another type or is out of range; layers of these sizes
            cannot be built.
    """
    try:
        return MODELS.build(name, **args)
    except (RuntimeError, ValueError) as error:  # torch's, of sizes that the ranges allow, and of memory
        reason = str(error).split("\n")[0]
        raise UserError(f"model {name} cannot be built with model_args {dict(args)}: {reason}") from error
