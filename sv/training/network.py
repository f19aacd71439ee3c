"""Encoder and head as one module, and its file: WeSpeaker's flat state dict.

In the file the encoder's tensors have their own names and the head's begin with `projection.`; models/model_N.pt,
avg_model.pt and the "model" of a checkpoint have the same layout.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sv.config import Config
from sv.embeddings.encoder import load_state
from sv.embeddings.experiment import existing_model
from sv.io import read_table
from sv.losses import build_head
from sv.losses.distillation import Distillation
from sv.losses.head import Head, HeadOutput
from sv.losses.label_confidence import Confidence
from sv.models import build_model
from sv.models.loading import HEAD_PREFIX, flat_state, load_backbone
from sv.training.schedules import build_margin
from sv.training.split_head import own_head, whole_head

EXACT_VALUES = 2**20  # in a channel of a batch; batch norm in channels_last on a CPU adds up squares one by one


class SpeakerNet(nn.Module):
    """Encoder and head, which compute losses from features.

    Args:
        backbone: the encoder, from features (batch, frames, mels) to embeddings (batch, dim).
        head: computes losses from embeddings.
        freeze_batch_norm: keep batch norm in eval mode while the rest trains.
    """

    def __init__(self, backbone: nn.Module, head: Head, *, freeze_batch_norm: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.freeze_batch_norm = freeze_batch_norm
        self._encoder = (backbone,)  # or its wrapper; the tuple hides it from torch, which would count its state twice
        self._frozen: tuple[nn.Module, ...] = ()
        self._thawed: list[nn.Parameter] = []  # those that train again after `freeze(None)`

    def forward(
        self,
        features: Tensor,
        speaker: Tensor,
        margin: float,
        confidence: Confidence | None = None,
        target: Tensor | None = None,
    ) -> HeadOutput:
        """Return the output of `Head.forward`, from features (batch, frames, mels) instead of embeddings."""
        return self.head(self._encoder[0](features), speaker, margin, confidence, target)

    def wrap_backbone(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Wrap `backbone` for training (compiled, parallel), around earlier wrappers; its state keeps its names."""
        self._encoder = (wrap(self._encoder[0]),)

    def split_parameters(self) -> set[int]:
        """Return the ids (`id`) of the parameters of which this process has only some rows."""
        if self.head.part is None:
            return set()
        return {id(self.head.get_parameter(name)) for name in self.head.row_parameters}

    @property
    def is_frozen(self) -> bool:
        """Tell whether a part is frozen."""
        return bool(self._frozen)

    def freeze(self, part: nn.Module | None) -> None:
        """Keep a part as it is, its batch norm's statistics included, and train all others; None: train all."""
        for parameter in self._thawed:
            parameter.requires_grad_(True)
        self._frozen = () if part is None else (part,)
        self._thawed = [p for frozen in self._frozen for p in frozen.parameters() if p.requires_grad]
        for parameter in self._thawed:
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "SpeakerNet":
        super().train(mode)
        for part in self._frozen:
            part.eval()
        if mode and self.freeze_batch_norm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def flat_state(self) -> dict[str, Tensor]:
        """Return all tensors on the CPU, in the layout of the file; if the head is split, all processes call this."""
        named = {
            **self.backbone.state_dict(),
            **{HEAD_PREFIX + key: value for key, value in whole_head(self.head).items()},
        }
        return {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in named.items()}

    def load_flat(self, state: Mapping[str, Any], where: str) -> None:
        """Load the tensors of `flat_state`, the head's included."""
        load_backbone(self.backbone, state, where)
        head = {key.removeprefix(HEAD_PREFIX): value for key, value in state.items() if key.startswith(HEAD_PREFIX)}
        self.head.load_state_dict(own_head(self.head, head))


def build_network(config: Config) -> SpeakerNet:
    """Build the network of a resolved configuration, initialized from torch's random state."""
    assert config.num_speakers is not None, "num_speakers is filled in before the network is built"
    backbone = build_model(config.model, config.model_args)
    head = build_head(config.loss, backbone.embedding_dim, config.num_speakers, config.loss_args)
    head.start(build_margin(config, steps_per_epoch=1)(0))
    if config.teacher:
        assert config.teacher_args.dim is not None, "dim is filled in before the network is built"
        head.distillation = Distillation(backbone.embedding_dim, config.teacher_args.dim, config.teacher_args.weight)
    return SpeakerNet(backbone, head, freeze_batch_norm=config.freeze_batch_norm)


def in_channels_last(config: Config, device: torch.device) -> bool:
    """Return whether 2-d encoders train in channels_last: not where the float32 sums of batch norm would be inexact."""
    args = config.dataset_args
    values = config.dataloader_args.batch_size * args.num_frms * args.fbank_args.num_mel_bins
    return config.channels_last and (device.type == "cuda" or values <= EXACT_VALUES)


def read_model(path: str | Path) -> dict[str, Tensor]:
    """Read the flat state dict of a model or checkpoint file, on the CPU.

    Raises:
        UserError: there is no such file, or it holds anything but tensors and plain values.
    """
    return flat_state(load_state(existing_model(path))[0], str(path))


def read_speakers(spk2id: Path) -> list[str]:
    """Read the speakers of a training's `spk2id`, in the order of the classes; [] if there is no such file."""
    if not spk2id.is_file():
        return []
    table = read_table(spk2id)
    return sorted(table, key=lambda speaker: int(table[speaker]))
