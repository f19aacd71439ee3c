"""Weights of a published WavLM under each of its three namings, and files that do not fit."""

import re

import pytest
import torch
from torch import Tensor

from sv.errors import UserError
from sv.models.wavlm import WavLmEncoder
from sv.models.wavlm_weights import load_weights, own_names
from tests.sv.models.test_wavlm import small

State = dict[str, Tensor]


def split(state: State) -> State:
    """Queries, keys and values apart."""
    parts: State = {}
    for key, value in state.items():
        if ".attention.in_proj_" in key:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                parts[key.replace("in_proj_", f"{letter}_proj.")] = part
        else:
            parts[key] = value
    return parts


def as_transformers(state: State) -> State:
    named = {}
    for key, value in split(state).items():
        key = key.replace("encoder.transformer.", "encoder.").replace(
            "encoder.feature_projection", "feature_projection"
        )
        named[f"wavlm.{key.replace('attention.attention.', 'attention.')}"] = value
    return {**named, "wavlm.masked_spec_embed": torch.zeros(3), "classifier.weight": torch.zeros(3)}


def as_microsoft(state: State, large: bool) -> State:
    named = {}
    for key, value in as_transformers(state).items():
        key = key.removeprefix("wavlm.")
        for old, new in (
            (r"(conv_layers\.\d+)\.conv\.", r"\1.0."),
            (r"(conv_layers\.\d+)\.layer_norm\.", r"\1.2.1." if large else r"\1.2."),
            (r"^feature_projection\.layer_norm", "layer_norm"),
            (r"^feature_projection\.projection", "post_extract_proj"),
            (r"pos_conv_embed\.conv\.parametrizations\.weight\.original0", "pos_conv.0.weight_g"),
            (r"pos_conv_embed\.conv\.parametrizations\.weight\.original1", "pos_conv.0.weight_v"),
            (r"pos_conv_embed\.conv\.bias", "pos_conv.0.bias"),
            (r"(layers\.\d+)\.layer_norm", r"\1.self_attn_layer_norm"),
            (r"attention\.rel_attn_embed", "self_attn.relative_attention_bias"),
            (r"attention\.gru_rel_pos_linear", "self_attn.grep_linear"),
            (r"attention\.gru_rel_pos_const", "self_attn.grep_a"),
            (r"attention\.(\w+_proj)", r"self_attn.\1"),
            (r"feed_forward\.intermediate_dense", "fc1"),
            (r"feed_forward\.output_dense", "fc2"),
            (r"masked_spec_embed", "mask_emb"),
        ):
            key = re.sub(old, new, key)
        named[key] = value
    del named["classifier.weight"]
    return named


def weights_of(model: WavLmEncoder) -> State:
    return {key: value.clone() for key, value in model.wavlm.state_dict().items()}


@pytest.mark.parametrize("naming", ["torchaudio", "transformers", "microsoft"])
@pytest.mark.parametrize("name", ["WavLM_Base_ECAPA", "WavLM_Large_MFA"])
def test_each_naming_loads_all_weights(name: str, naming: str) -> None:
    source, model = small(name), small(name)
    for parameter in source.parameters():
        parameter.data += 1
    state = weights_of(source)
    named = {
        "torchaudio": state,
        "transformers": as_transformers(state),
        "microsoft": as_microsoft(state, "Large" in name),
    }[naming]
    assert naming == "torchaudio" or not set(named) & set(state)
    rest = {key: value.clone() for key, value in model.state_dict().items() if not key.startswith("wavlm.")}
    load_weights(model, named, "file")
    assert all(torch.equal(value, state[key]) for key, value in model.wavlm.state_dict().items())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in rest.items())


def test_names_of_older_files_of_torchaudio_and_transformers_are_known() -> None:
    top = "encoder.transformer.pos_conv_embed.conv."
    state = {"feature_extractor.conv_layers.0.conv.weight": torch.zeros(1), f"{top}weight_g": torch.zeros(1)}
    assert f"{top}parametrizations.weight.original0" in own_names(state, "file")
    state = {"feature_extractor.conv_layers.0.conv.weight": torch.zeros(1)}
    state["encoder.pos_conv_embed.conv.weight_v"] = torch.zeros(1)
    assert f"{top}parametrizations.weight.original1" in own_names(state, "file")


def test_low_rank_updates_are_left_as_they_are() -> None:
    source, model = small("WavLM_Base_MFA"), small("WavLM_Base_MFA", lora_rank=2)
    updates = {name: p.clone() for name, p in model.named_parameters() if p.requires_grad}
    load_weights(model, weights_of(source), "file")
    assert all(torch.equal(p, model.get_parameter(name)) for name, p in updates.items())
    block = model.wavlm.encoder.transformer.layers[0].attention.attention
    theirs = source.wavlm.encoder.transformer.layers[0].attention.attention.in_proj_weight
    assert torch.equal(block.parametrizations.in_proj_weight.original, theirs)


def test_missing_unknown_and_ill_shaped_tensors_are_listed() -> None:
    model = small("WavLM_Base_MFA")
    before = weights_of(model)
    state = as_transformers(before)
    del state["wavlm.encoder.layers.1.attention.k_proj.weight"]
    state["wavlm.encoder.layer_norm.bias"] = torch.zeros(7)
    state["wavlm.encoder.extra"] = torch.zeros(1)
    with pytest.raises(UserError) as error:
        load_weights(model, state, "wavlm.bin")
    told = str(error.value)
    assert told.startswith("wavlm.bin: not the WavLM of this encoder: ")
    for words in (
        r"it has no encoder\.transformer\.layers\.1\.attention\.attention\.in_proj_weight \(96, 32\)",
        r"its encoder\.transformer\.layer_norm\.bias is \(7,\), the model's \(32,\)",
        r"its encoder\.extra is not in the model",
        r"; give the file of that size \(--model WavLM_Base_\.\.\. or WavLM_Large_\.\.\.\)$",
    ):
        assert re.search(words, told)
    assert "\n" not in told and all(torch.equal(value, before[key]) for key, value in model.wavlm.state_dict().items())


def test_nan_is_refused() -> None:
    model = small("WavLM_Base_MFA")
    state = weights_of(model)
    state["encoder.transformer.layer_norm.bias"][3] = torch.nan
    with pytest.raises(UserError, match=r"layer_norm.bias has NaN or infinite values; fetch it again"):
        load_weights(model, state, "file")


def test_a_file_of_another_network_is_refused() -> None:
    with pytest.raises(UserError, match=r"file: not a WavLM: it has no tensor feature_extractor.conv_layers.0; give"):
        load_weights(small("WavLM_Base_MFA"), {"conv1.weight": torch.zeros(1)}, "file")
