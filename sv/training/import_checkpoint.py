"""Convert checkpoints of other toolkits to ours: encoder, front-end, head, and tensors under our names.

    wespeaker    a folder with config.yaml and avg_model.pt, or a model file beside its config.yaml
    3dspeaker    a model file: CAM++, ERes2Net, ERes2NetV2, ECAPA
    speechbrain  a folder with embedding_model.ckpt (and classifier.ckpt, label_encoder.txt), or that file: ECAPA
    redimnet     a file of ReDimNet's or ReDimNet2's authors, with its model_config
    resemblyzer  pretrained.pt of Resemblyzer, the LSTM of GE2E

`import_model` makes an experiment folder of one. Files are read with tensors and plain values only.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from sv.config import Config, parse_config, save_config
from sv.embeddings.encoder import load_state
from sv.errors import UserError, log
from sv.io import read_yaml, write_table
from sv.io.nested_keys import unflatten
from sv.losses import build_head
from sv.losses.aam_subcenter import group_rows
from sv.models import MODELS, build_model
from sv.models.loading import HEAD_PREFIX, check_finite, cut_prefix, differences, flat_state, load_backbone
from sv.models.redimnet import read_official
from sv.models.redimnet2 import is_official2, read_official2
from sv.system import resolve
from sv.training.checkpoint import save_tensors
from sv.training.wespeaker_config import import_config, import_encoder

State = dict[str, Any]
OTHER_FILE = "give the file as it was published"


@dataclass(frozen=True)
class Published:
    """A checkpoint in our terms.

    Attributes:
        path: the model file.
        config: keys of our configuration, in blocks; or a whole configuration.
        state: the encoder's tensors, and the head's after the prefix `projection.`.
        speakers: names of the classes, in order; [] if they are not known.
    """

    path: Path
    config: Config
    state: State
    speakers: list[str] = field(default_factory=list)


def import_model(source: str, path: Path, exp_dir: Path, model: str | None = None) -> None:
    """Write an experiment folder with the model of a published checkpoint, whole or not at all.

    Args:
        source: one of `SOURCES`.
        path: the checkpoint, a file or a folder.
        exp_dir: the folder to write; it must not exist.
        model: name of the encoder; None: as the checkpoint tells.

    Raises:
        UserError: the folder exists; the checkpoint is missing, damaged or of another model; see `SOURCES`.
    """
    if exp_dir.exists():
        raise UserError(f"{exp_dir} exists; give a folder that does not, or remove this one")
    if not path.exists():
        raise UserError(f"{path} does not exist; give a checkpoint, see --help")
    found = SOURCES[source](path, model)
    encoder = build_model(found.config.model, found.config.model_args)
    backbone, prefix = cut_prefix(found.state)
    if prefix:
        log.info("%s: the prefix %r of all tensors is left out", found.path, prefix)
    load_backbone(encoder, backbone, str(found.path))
    head = _head(found, backbone)
    state = {**encoder.state_dict(), **head}
    check_finite(state, str(found.path), OTHER_FILE)
    config = found.config.model_copy(update={"num_speakers": len(head[f"{HEAD_PREFIX}weight"]) if head else None})
    _write(exp_dir, config, state, found.speakers if head else [])
    fbank = config.dataset_args.fbank_args
    told = f"head of {config.loss}" if head else "no head"
    log.info("%s: %s of %d tensors, %s", exp_dir, config.model, len(state), told)
    log.info("front-end: %s", ", ".join(f"{key} {value}" for key, value in fbank.model_dump().items()))


def _write(exp_dir: Path, config: Config, state: State, speakers: Sequence[str]) -> None:
    """Write all files into a folder beside it, which then gets its name."""
    folder = exp_dir.with_name(f".{exp_dir.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True)
        save_tensors(state, folder / "models" / "avg_model.pt")
        if speakers:
            write_table(folder / "spk2id", {speaker: str(row) for row, speaker in enumerate(speakers)})
        save_config(config, folder / "config.yaml")
        folder.rename(exp_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _head(found: Published, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of the head, or {} with a line in the log if it is not one of ours."""
    head = {key.removeprefix(HEAD_PREFIX): value for key, value in state.items() if key.startswith(HEAD_PREFIX)}
    if not head:
        return {}
    config = found.config
    if num_subcenters := config.loss_args.get("num_subcenters"):
        head = group_rows(head, num_subcenters)
    weight = head.get("weight")
    classes = len(weight) if isinstance(weight, Tensor) and weight.dim() > 1 else 0
    with torch.device("meta"):
        dim = config.model_args["embed_dim"]
        own = build_head(config.loss, dim, classes, config.loss_args).state_dict() if classes else {}
    if problems := list(differences(own, head)) or ([] if own else ["its weight is not one row a class"]):
        log.warning("%s: the head is left out, it is none of %s: %s", found.path, config.loss, problems[0])
        return {}
    return {HEAD_PREFIX + key: value for key, value in head.items()}


def _wespeaker(path: Path, model: str | None) -> Published:
    file = _file_in(path, ["avg_model.pt", "models/avg_model.pt", "*.pt"])
    configs = [folder / "config.yaml" for folder in (path if path.is_dir() else file.parent, file.parent.parent)]
    config = next((config for config in configs if config.is_file()), None)
    if config is None:
        raise UserError(f"{configs[0]} does not exist; WeSpeaker's models come with one, put it beside {file.name}")
    tree, where = read_yaml(config), str(config)
    if model is not None:
        tree = {**tree, "model": model}
    state = flat_state(_read(file), str(file))
    try:
        ours, told = import_config(tree, where)
    except UserError as error:
        ours, told = import_encoder(tree, where)
        log.warning("%s; only encoder and front-end are taken, with our settings of training", error)
        state = {key: value for key, value in state.items() if not key.startswith(HEAD_PREFIX)}
    for key, why in told.left_out.items():
        log.info("left out: %s (%s)", key, why)
    if ours.dataset_args.fbank_args.kind == "redimnet_tf":  # their networks hold the tensors of tfmel, too
        state = {key: value for key, value in state.items() if "frontend.spec." not in key}
    return Published(file, ours, state)


THREE_D_SPEAKER = ["CAMPPlus", "ERes2Net34_Base", "ERes2Net34_aug", "ERes2NetV2", "ERes2NetV2_w24s4ep4"]
THREE_D_SPEAKER += ["ECAPA_TDNN_SpeechBrain"]


def _three_d_speaker(path: Path, model: str | None) -> Published:
    file = _file_in(path, ["embedding_model.ckpt", "*.pt", "*.ckpt", "*.bin"])
    state = flat_state(_read(file), str(file))
    name, args = guess_encoder(state, [model] if model else THREE_D_SPEAKER)
    front_end = {"window": "povey", "int16_scale": False, "dither": 0.0}
    return Published(file, _config(file, name, args, front_end), state)


def _speechbrain(path: Path, model: str | None) -> Published:
    file = _file_in(path, ["embedding_model.ckpt"])
    state = flat_state(_read(file), str(file))
    name, args = guess_encoder(state, [model or "ECAPA_TDNN_SpeechBrain"])
    front_end = {"kind": "speechbrain", "low_freq": 0.0, "dither": 0.0}
    classifier, labels = file.with_name("classifier.ckpt"), file.with_name("label_encoder.txt")
    speakers: list[str] = []
    if classifier.is_file():
        head = flat_state(_read(classifier), str(classifier))
        state |= {HEAD_PREFIX + key: value for key, value in head.items()}
        speakers = _labels(labels) if labels.is_file() else []
    loss = {"loss": "aam", "loss_args.scale": 30.0, "margin_update.final_margin": 0.2}
    return Published(file, _config(file, name, args, front_end, loss), state, speakers)


def _redimnet(path: Path, model: str | None) -> Published:
    file = _file_in(path, ["*.pt"])
    content = _read(file)
    name, read = ("ReDimNet2", read_official2) if is_official2(content) else ("ReDimNet", read_official)
    args, front_end, state = read(content, str(file))
    return Published(file, _config(file, model or name, args, front_end), state)


def _resemblyzer(path: Path, model: str | None) -> Published:
    file = _file_in(path, ["pretrained.pt"])
    content = _read(file)
    if not isinstance(content, dict) or "model_state" not in content:
        raise UserError(f"{file} is no model of Resemblyzer: it has no model_state; give another --from")
    state = flat_state(content["model_state"], str(file))
    learnt = {key: value for key, value in state.items() if not key.startswith("similarity_")}  # of its loss
    front_end = {"kind": "ge2e", "num_mel_bins": 40, "low_freq": 0.0, "window": "hanning", "dither": 0.0}
    return Published(file, _config(file, model or "GE2E_LSTM", {}, front_end, {"dataset_args.cmvn": False}), learnt)


SOURCES: dict[str, Callable[[Path, str | None], Published]] = {
    "wespeaker": _wespeaker,
    "3dspeaker": _three_d_speaker,
    "speechbrain": _speechbrain,
    "redimnet": _redimnet,
    "resemblyzer": _resemblyzer,
}


def guess_encoder(state: Mapping[str, Any], names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the encoder that a state dict fits best, and the options that follow from its shapes.

    Raises:
        UserError: a name is unknown.
    """
    state, _ = cut_prefix(state)
    shapes = {key: value.shape for key, value in state.items() if isinstance(value, Tensor) and value.dim()}
    told: dict[str, Any] = {}
    for key in ("seg_1.weight", "xvector.dense.linear.weight", "fc.conv.weight"):
        told |= {"embed_dim": shapes[key][0]} if key in shapes else {}
    for key, option in (("conv1.weight", "m_channels"), ("blocks.0.conv.conv.weight", "channels")):
        told |= {option: shapes[key][0]} if key in shapes else {}
    told |= {"two_emb_layer": True} if "seg_2.weight" in shapes else {}
    args_of, misfits = {}, {}
    for name in names:
        known = type(MODELS.options(name, {})).model_fields
        args_of[name] = {option: value for option, value in told.items() if option in known}
        try:
            with torch.device("meta"):
                encoder = build_model(name, args_of[name])
        except UserError:  # of sizes that this encoder does not have
            args_of[name] = {}
            with torch.device("meta"):
                encoder = build_model(name, {})
        misfits[name] = len(list(differences(encoder.state_dict(), encoder.own_names(state))))
    name = min(names, key=lambda name: misfits[name])
    return name, args_of[name]


def _config(
    file: Path,
    model: str,
    args: Mapping[str, Any],
    front_end: Mapping[str, Any],
    other: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """Return the resolved configuration of a model whose checkpoint has none of our kind; `other` are dotted keys."""
    tree = unflatten({"dataset_args.fbank_args": dict(front_end), "model_args": dict(args), **other, "model": model})
    return resolve(parse_config(tree, str(file)), str(file))


def _read(file: Path) -> Any:
    return load_state(file, OTHER_FILE)[0]


def _file_in(path: Path, patterns: Sequence[str]) -> Path:
    """Return the path, or the only file of a folder that the first matching pattern names."""
    if not path.is_dir():
        return path
    for pattern in patterns:
        found = sorted(path.glob(pattern))
        if len(found) > 1:
            raise UserError(f"{path} has {len(found)} files {pattern}; give one of them")
        if found:
            return found[0]
    raise UserError(f"{path} has none of {', '.join(patterns)}; give the model file")


def _labels(path: Path) -> list[str]:
    """Return the names of the classes in SpeechBrain's list, "'id10001' => 0" in each line."""
    rows = re.findall(r"^'(.+)' => (\d+)$", path.read_text(encoding="utf-8").split("====")[0], re.MULTILINE)
    return [name for name, _ in sorted(rows, key=lambda row: int(row[1]))]
