"""Optimizers over encoder and head: SGD with Nesterov momentum, or AdamW."""

import torch
from torch import nn

from sv.config import Config
from sv.training.network import SpeakerNet


def build_optimizer(net: SpeakerNet, config: Config) -> torch.optim.Optimizer:
    """Build the optimizer; its learning rate is set before each step.

    Parameters that the head lists as `no_weight_decay` (SphereFace2's bias) are not decayed.
    """
    args, undecayed = config.optimizer_args, _undecayed(net)
    groups = [
        {
            "params": [p for name, p in net.named_parameters() if name not in undecayed],
            "weight_decay": args.weight_decay,
        },
        {"params": [p for name, p in net.named_parameters() if name in undecayed], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "SGD":
        nesterov = args.nesterov and args.momentum > 0
        return torch.optim.SGD(groups, lr=0.0, momentum=args.momentum, nesterov=nesterov, fused=_can_fuse(net, config))
    assert config.optimizer == "AdamW", config.optimizer
    return torch.optim.AdamW(groups, lr=0.0, fused=_can_fuse(net, config))


def match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give momenta the memory layout of their parameters, which the fused kernels assume."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)


def _undecayed(net: SpeakerNet) -> set[str]:
    return {f"head.{name}" for name in getattr(net.head, "no_weight_decay", ())}


def _can_fuse(net: nn.Module, config: Config) -> bool:
    """Return whether one kernel may update all parameters; with fp16 on the CPU it would not skip overflows."""
    return config.precision != "fp16" and all(p.device.type in ("cpu", "cuda") for p in net.parameters())
