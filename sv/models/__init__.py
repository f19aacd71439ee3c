"""Encoders: features (batch, frames, mels) in, embedding (batch, dim) out, under WeSpeaker's names.

build_model("ResNet34", {"embed_dim": 256})(features)

An encoder is a file with its layers, a class of options in `options.py` and a row here. Nothing here loads torch; an
encoder's module is imported when it is built.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sv.errors import UserError
from sv.models import options, redimnet_options
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

MODELS.add("XI_VEC_ECAPA_TDNN_c512", options.XiEcapaOptions, _ECAPA, channels=512)
MODELS.add("XI_VEC_ECAPA_TDNN_c1024", options.XiEcapaOptions, _ECAPA, channels=1024)
MODELS.add("ECAPA_TDNN_SpeechBrain", options.SpeechBrainEcapaOptions, "sv.models.ecapa_speechbrain:SpeechBrainEcapa")

MODELS.add("GE2E_LSTM", options.Ge2eLstmOptions, "sv.models.ge2e_lstm:Ge2eLstm")
MODELS.add("XVEC", options.XVectorOptions, "sv.models.xvector:XVector")
MODELS.add("XI_VEC_XVEC", options.XiXVectorOptions, "sv.models.xvector:XVector")
MODELS.add("CAMPPlus", options.CamPlusPlusOptions, "sv.models.campplus:CamPlusPlus")

_REDIMNET = "sv.models.redimnet:ReDimNet"
MODELS.add("ReDimNet", redimnet_options.ReDimNetOptions, _REDIMNET)
for _name in redimnet_options.REDIMNETS:
    MODELS.add(_name, redimnet_options.redimnet_options(_name), _REDIMNET)

_REDIMNET2 = "sv.models.redimnet2:ReDimNet2"
MODELS.add("ReDimNet2", redimnet_options.ReDimNet2Options, _REDIMNET2)
MODELS.add("ReDimNet2B0", redimnet_options.ReDimNet2B0Options, _REDIMNET2)
MODELS.add("ReDimNet2B1", redimnet_options.ReDimNet2B1Options, _REDIMNET2)
MODELS.add("ReDimNet2B2", redimnet_options.ReDimNet2B2Options, _REDIMNET2)
MODELS.add("ReDimNet2B3", redimnet_options.ReDimNet2B3Options, _REDIMNET2)
MODELS.add("ReDimNet2B4", redimnet_options.ReDimNet2B4Options, _REDIMNET2)
MODELS.add("ReDimNet2B5", redimnet_options.ReDimNet2B5Options, _REDIMNET2)
MODELS.add("ReDimNet2B6", redimnet_options.ReDimNet2B6Options, _REDIMNET2)

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

_GEMINI = "sv.models.gemini_dfresnet:GeminiDfResNet"
MODELS.add("Gemini_DF_ResNet60", options.GeminiOptions, _GEMINI, num_blocks=(3, 3, 9, 3))
MODELS.add("Gemini_DF_ResNet114", options.GeminiOptions, _GEMINI, num_blocks=(3, 3, 27, 3))
MODELS.add("Gemini_DF_ResNet183", options.GeminiOptions, _GEMINI, num_blocks=(3, 8, 45, 3))
MODELS.add("Gemini_DF_ResNet237", options.GeminiOptions, _GEMINI, num_blocks=(3, 8, 63, 3))

_REPVGG = "sv.models.repvgg:RepVgg"
_TINY, _A, _B = (3, 4, 23, 3), (2, 4, 14, 1), (4, 6, 16, 1)
for _name, _blocks, _widths in (
    ("TINY_A0", _TINY, (0.5, 0.5, 0.5, 0.5)),
    ("A0", _A, (0.75, 0.75, 0.75, 2.5)),
    ("A1", _A, (1, 1, 1, 2.5)),
    ("A2", _A, (1.5, 1.5, 1.5, 2.75)),
    ("B0", _B, (1, 1, 1, 2.5)),
    ("B1", _B, (2, 2, 2, 4)),
    ("B2", _B, (2.5, 2.5, 2.5, 5)),
    ("B3", _B, (3, 3, 3, 5)),
):
    _sizes = {"num_blocks": _blocks, "widths": _widths}
    MODELS.add(f"REPVGG_{_name}", options.RepVggOptions, _REPVGG, **_sizes)
    if _name in ("B1", "B2", "B3"):
        MODELS.add(f"REPVGG_{_name}g2", options.RepVggOptions, _REPVGG, groups=2, **_sizes)
        MODELS.add(f"REPVGG_{_name}g4", options.RepVggOptions, _REPVGG, groups=4, **_sizes)
    elif _name != "A1":
        _rsbb = _name.replace("A0", "RSBB_A0") if _name == "TINY_A0" else f"RSBB_{_name}"
        MODELS.add(f"REPVGG_{_rsbb}", options.RepVggOptions, _REPVGG, rsbb=True, **_sizes)
MODELS.add(
    "REPVGG_D2SE",
    options.RepVggSeOptions,
    _REPVGG,
    num_blocks=(8, 14, 24, 1),
    widths=(2.5, 2.5, 2.5, 5),
    groups=4,
)

_WAVLM_ECAPA, _WAVLM_MFA = "sv.models.wavlm:WavLmEcapa", "sv.models.wavlm:WavLmMfa"
MODELS.add("WavLM_Base_ECAPA", options.WavLmEcapaOptions, _WAVLM_ECAPA, large=False)
MODELS.add("WavLM_Base_MFA", options.WavLmMfaOptions, _WAVLM_MFA, large=False)
MODELS.add("WavLM_Large_ECAPA", options.WavLmLargeEcapaOptions, _WAVLM_ECAPA, large=True)
MODELS.add("WavLM_Large_MFA", options.WavLmLargeMfaOptions, _WAVLM_MFA, large=True)


def encoder_options(name: str, given: Mapping[str, Any]) -> options.EncoderOptions:
    """Return the options of an encoder, those given checked; errors as of `Registry.options`."""
    found = MODELS.options(name, given)
    assert isinstance(found, options.EncoderOptions)
    return found


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
