"""Weights of a published WavLM, under the names of torchaudio's layers.

    torchaudio    encoder.transformer.layers.0.attention.attention.in_proj_weight
    transformers  encoder.layers.0.attention.q_proj.weight     (pytorch_model.bin of the hub)
    Microsoft     encoder.layers.0.self_attn.q_proj.weight     (WavLM-Base+.pt, WavLM-Large.pt)

All names may have a prefix, such as "wavlm.". What was trained on top of it, and tensors that only its own training
needs, are left out.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sv.errors import UserError, log
from sv.models.loading import check_finite, check_same
from sv.models.wavlm import WavLmEncoder

_FIRST = re.compile(r"(.*)feature_extractor\.conv_layers\.0\.(?:conv|0)\.weight")  # the prefix, of any naming
_LEFT_OUT = re.compile(r"masked_spec_embed|mask_emb|label_embs_concat|final_proj\..*|aux\..*")
_LAYERS = r"^encoder\.layers\.(\d+)\."
_RULES = [  # applied one after the other
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(?:1\.)?", r"\1.layer_norm."),
    (r"^layer_norm\.", "encoder.feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "encoder.feature_projection.projection."),
    (r"^feature_projection\.", "encoder.feature_projection."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (_LAYERS + r"self_attn\.relative_attention_bias\.", r"encoder.layers.\1.attention.rel_attn_embed."),
    (_LAYERS + r"self_attn\.grep_linear\.", r"encoder.layers.\1.attention.gru_rel_pos_linear."),
    (_LAYERS + r"self_attn\.grep_a$", r"encoder.layers.\1.attention.gru_rel_pos_const"),
    (_LAYERS + r"self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (_LAYERS + r"fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (_LAYERS + r"fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
    (_LAYERS + r"(?:self_attn|attention)\.(\w+_proj)\.", r"encoder.layers.\1.attention.attention.\2."),
    (r"^encoder\.(layers|pos_conv_embed|layer_norm)\.", r"encoder.transformer.\1."),
    (r"conv\.weight_g$", "conv.parametrizations.weight.original0"),
    (r"conv\.weight_v$", "conv.parametrizations.weight.original1"),
]
_JOINED = re.compile(r"(.*\.attention\.attention)\.q_proj\.(weight|bias)")
_OF_UPDATES = "parametrizations.in_proj_weight."  # of low rank


def load_weights(encoder: WavLmEncoder, state: Mapping[str, Any], where: str) -> None:
    """Load the weights of a WavLM into an encoder that is built on one.

    Args:
        encoder: gets the weights; what it has of its own is left as it is.
        state: tensors by name, as a file has them.
        where: the file, for errors.

    Raises:
        UserError: the tensors are not those of a WavLM, or of one of another size (the differences are listed), or
            have NaN.
    """
    given, own = own_names(state, where), encoder.wavlm.state_dict()
    plain = {
        key.replace(f"{_OF_UPDATES}original", "in_proj_weight"): key for key in own if f"{_OF_UPDATES}0." not in key
    }
    check_same(
        {name: own[key] for name, key in plain.items()},
        given,
        f"{where}: not the WavLM of this encoder",
        "give the file of that size (--model WavLM_Base_... or WavLM_Large_...)",
    )
    check_finite(given, where, "fetch it again")
    encoder.wavlm.load_state_dict(own | {plain[name]: tensor for name, tensor in given.items()})
    log.info("%s: %d tensors of WavLM loaded", where, len(given))


def own_names(state: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the tensors of a WavLM under torchaudio's names.

    Raises:
        UserError: there are none.
    """
    prefix = next((found[1] for found in map(_FIRST.fullmatch, state) if found), None)
    if prefix is None:
        raise UserError(f"{where}: not a WavLM: it has no tensor feature_extractor.conv_layers.0; give such a file")
    cut = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    named = {_renamed(key): value for key, value in cut.items() if not _LEFT_OUT.fullmatch(key)}
    for key in list(named):
        if found := _JOINED.fullmatch(key):
            keys = [f"{found[1]}.{part}_proj.{found[2]}" for part in "qkv"]
            if all(isinstance(named.get(key), Tensor) for key in keys):
                named[f"{found[1]}.in_proj_{found[2]}"] = torch.cat([named.pop(key) for key in keys])
    return named


def _renamed(key: str) -> str:
    for pattern, name in _RULES:
        key = re.sub(pattern, name, key)
    return key
