"""Encoder and head as one module, and its file: WeSpeaker's flat state dict.

In the file the encoder's tensors carry their own names and the head's begin with `projection.`; models/model_N.pt,
avg_model.pt and the "model" of a checkpoint look alike.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sv.config import Config
from sv.errors import UserError, log
from sv.inference import load_state
from sv.io import read_table
from sv.losses import Head, HeadOutput, build_head
from sv.models import build_model, load_backbone
from sv.models.loading import HEAD_PREFIX
from sv.training.schedules import Margin
from sv.training.shards import own_head, whole_head


class SpeakerNet(nn.Module):
    """Features to losses.

    Args:
        backbone: features (batch, frames, mels) to embeddings (batch, dim).
        head: embeddings to losses.
    """

    def __init__(self, backbone: nn.Module, head: Head, *, freeze_batch_norm: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.freeze_batch_norm = freeze_batch_norm
        self._encode: Callable[[Tensor], Tensor] = backbone.__call__

    def forward(self, features: Tensor, speaker: Tensor, margin: float) -> HeadOutput:
        """(batch, frames, mels), (batch,) -> the mean loss, losses (batch,) and whether each was right."""
        return self.head(self._encode(features), speaker, margin)

    def parallel_backbone(self, backbone: nn.Module) -> None:
        """Train by this wrapper of `backbone`, whose state stays where it is."""
        self._encode = backbone.__call__

    def split_parameters(self) -> set[int]:
        """The ids of parameters of which this process has some rows, and others the rest."""
        if self.head.shard is None:
            return set()
        return {id(self.head.get_parameter(name)) for name in self.head.row_parameters}

    def train(self, mode: bool = True) -> "SpeakerNet":
        super().train(mode)
        if mode and self.freeze_batch_norm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def flat_state(self) -> dict[str, Tensor]:
        """All tensors on the CPU, in the layout of the file; all processes call this if they share the head's rows."""
        named = {
            **self.backbone.state_dict(),
            **{HEAD_PREFIX + key: value for key, value in whole_head(self.head).items()},
        }
        return {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in named.items()}

    def load_flat(self, state: Mapping[str, Any], where: str) -> None:
        """Load what `flat_state` gave; the head too."""
        load_backbone(self.backbone, state, where)
        head = {key.removeprefix(HEAD_PREFIX): value for key, value in state.items() if key.startswith(HEAD_PREFIX)}
        self.head.load_state_dict(own_head(self.head, head))


def build_network(config: Config) -> SpeakerNet:
    """The network of a resolved configuration, initialized from torch's random state."""
    assert config.num_speakers is not None, "num_speakers is filled in before the network is built"
    backbone = build_model(config.model, config.model_args)
    head = build_head(config.loss, backbone.embedding_dim, config.num_speakers, config.loss_args)
    assert config.margin_update.final_margin is not None, "a resolved configuration has a final margin"
    head.start(Margin(config.margin_update, config.margin_update.final_margin, steps_per_epoch=1)(0))
    return SpeakerNet(backbone, head, freeze_batch_norm=config.freeze_batch_norm)


def read_model(path: str | Path) -> dict[str, Tensor]:
    """The flat state dict of a model or checkpoint file, on the CPU.

    Raises:
        UserError: no such file, or not one of tensors and plain values.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; give a model such as exp/NAME/models/avg_model.pt")
    state, _ = load_state(Path(path))
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no state dict; give a model such as exp/NAME/models/avg_model.pt")
    return state


def start_from(net: SpeakerNet, path: Path, speakers: list[str]) -> None:
    """Load the weights of another training: the encoder whole, the head as far as it fits.

    Where a `spk2id` stands with the file (exp/NAME/spk2id beside exp/NAME/models/), the head's rows are matched by
    speaker; else the head is taken if it has the same shape.

    Raises:
        UserError: the encoder is another one.
    """
    state = read_model(path)
    load_backbone(net.backbone, state, str(path))
    theirs = {key.removeprefix(HEAD_PREFIX): value for key, value in state.items() if key.startswith(HEAD_PREFIX)}
    log.info("%s: encoder loaded; head: %s", path, _start_head(net.head, theirs, path, speakers))


def _start_head(head: nn.Module, theirs: dict[str, Tensor], path: Path, speakers: list[str]) -> str:
    """Load what fits, and say what was done."""
    own = head.state_dict()
    if theirs.keys() != own.keys():
        return "initialized anew, the file's is of another loss" if theirs else "initialized anew, the file has none"
    rows = read_speakers(path.parent.parent / "spk2id")
    if rows and rows != speakers:
        theirs, matched = _by_speaker(own, theirs, rows, speakers), True
    else:
        matched = False
    for key, tensor in own.items():
        if theirs[key].shape != tensor.shape:
            return f"initialized anew, the file's {key} is {tuple(theirs[key].shape)}, here {tuple(tensor.shape)}"
    head.load_state_dict(theirs)
    return f"{len(set(rows) & set(speakers))} of {len(speakers)} speakers matched by name" if matched else "loaded"


def _by_speaker(
    own: dict[str, Tensor], theirs: dict[str, Tensor], rows: list[str], speakers: list[str]
) -> dict[str, Tensor]:
    """`theirs` with its rows in the order of `speakers`, and our own row for a speaker that it lacks."""
    number = {speaker: row for row, speaker in enumerate(rows)}
    known = [row for row, speaker in enumerate(speakers) if speaker in number]
    source = [number[speakers[row]] for row in known]
    matched = dict(theirs)
    for key, tensor in own.items():
        shapes = (len(speakers), *tensor.shape[1:]), (len(rows), *tensor.shape[1:])
        if (tensor.shape, theirs[key].shape) == shapes:
            matched[key] = tensor.clone()
            matched[key][known] = theirs[key][source].to(tensor.dtype)
    return matched


def read_speakers(spk2id: Path) -> list[str]:
    """Speakers in the order of the classes, from the `spk2id` of a training; none if there is no such file."""
    if not spk2id.is_file():
        return []
    table = read_table(spk2id)
    return sorted(table, key=lambda speaker: int(table[speaker]))
