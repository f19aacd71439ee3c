"""Pretrained weights that begin to train later, or train slower, than the rest: `fine_tuning` of the configuration.

They are those of the whole encoder, or of the part that the encoder names as `pretrained`. Of layers 1 to n, from input
to output, layer i has the learning rate  lr * encoder_lr * layer_decay^(n - i).
"""

from collections.abc import Iterator
from typing import cast

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sv.config import Config, FineTuning
from sv.errors import UserError
from sv.models.encoder import Encoder
from sv.training.distributed import World
from sv.training.network import SpeakerNet

_CONTAINERS = nn.Sequential | nn.ModuleList


def pretrained_part(backbone: nn.Module) -> nn.Module:
    """Return the part of an encoder that `fine_tuning` is about."""
    return backbone.get_submodule(backbone.pretrained if isinstance(backbone, Encoder) else "")


def check_fine_tuning(net: SpeakerNet, config: Config) -> None:
    """Raise UserError if freezing leaves nothing to train, or would keep random weights."""
    told = f"fine_tuning.frozen_epochs is {config.fine_tuning.frozen_epochs}, but"
    part = pretrained_part(net.backbone)
    if not config.fine_tuning.frozen_epochs:
        return
    if part is net.backbone and not config.model_init:
        raise UserError(f"{told} there is no model to start from; give one (--checkpoint), or set it to 0")
    if part is net.backbone and not any(p.requires_grad for p in net.head.parameters()):
        raise UserError(f"{told} loss {config.loss} has no weights to train meanwhile; set it to 0")


def layers_of(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of each layer of the pretrained part, from input to output, as it registers them.

    Containers (`Sequential`, `ModuleList`) and what an encoder lists as `opened` hold layers. A module that has only
    vectors, such as batch norm, belongs to the layer before it.
    """
    layers: list[list[nn.Parameter]] = []
    opened = backbone.opened if isinstance(backbone, Encoder) else frozenset()
    for parameters in _by_module(pretrained_part(backbone), opened):
        if layers and all(p.dim() < 2 for p in parameters):
            layers[-1] += parameters
        elif parameters:
            layers.append(parameters)
    return layers


def _by_module(module: nn.Module, opened: frozenset[str]) -> Iterator[list[nn.Parameter]]:
    yield list(module.parameters(recurse=False))
    for name, child in module.named_children():
        if isinstance(child, _CONTAINERS) or name in opened:
            yield from _by_module(child, opened)
        else:
            yield list(child.parameters())


def lr_factors(backbone: nn.Module, args: FineTuning) -> dict[int, float]:
    """Return the factor of the learning rate for each pretrained parameter (`id`); none if they train like others."""
    if args == FineTuning():
        return {}
    layers = layers_of(backbone)
    return {
        id(p): args.encoder_lr * args.layer_decay**after for after, layer in enumerate(reversed(layers)) for p in layer
    }


def set_frozen(net: SpeakerNet, args: FineTuning, epoch: int) -> bool:
    """Freeze or thaw the pretrained part as an epoch (from 1) needs it; return whether that changed something."""
    frozen = epoch <= args.frozen_epochs
    if frozen == net.is_frozen:
        return False
    net.freeze(pretrained_part(net.backbone) if frozen else None)
    return True


def join_processes(net: SpeakerNet, world: World) -> nn.Module:
    """Connect the gradients that the processes compute, of the parameters that train now; return what to call.

    This can be called again when other parameters train; all processes call it.
    """
    if net.head.part is not None:  # its rows belong to this process, and its other gradients are summed already
        net.wrap_backbone(_joined if any(p.requires_grad for p in net.backbone.parameters()) else _alone)
        return net
    return DistributedDataParallel(net, broadcast_buffers=False) if world.size > 1 else net


def _joined(encoder: nn.Module) -> nn.Module:
    return DistributedDataParallel(_alone(encoder), broadcast_buffers=False)


def _alone(encoder: nn.Module) -> nn.Module:
    return cast(nn.Module, encoder.module) if isinstance(encoder, DistributedDataParallel) else encoder
