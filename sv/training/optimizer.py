"""Optimizers over encoder and head: SGD with Nesterov momentum, or AdamW."""

import torch
from torch import nn

from sv.config import Config
from sv.training.network import SpeakerNet
from sv.training.parameter_groups import lr_factors

FACTOR = "lr_factor"  # key of a group of parameters


def build_optimizer(net: SpeakerNet, config: Config) -> torch.optim.Optimizer:
    """Build the optimizer; the learning rate of each group is set before each step, as `set_learning_rate` does.

    Parameters that the head lists as `no_weight_decay` (SphereFace2's bias) are not decayed. Pretrained parameters have
    the factors of `fine_tuning`.
    """
    args, undecayed = config.optimizer_args, _undecayed(net)
    factors = lr_factors(net.backbone, config.fine_tuning)
    # Those that thaw are in groups of their own: the fused kernel takes no group in which only some have momenta.
    found: dict[tuple[float, float | None], list[nn.Parameter]] = {(args.weight_decay, None): [], (0.0, None): []}
    for name, p in net.named_parameters():
        decay = 0.0 if name in undecayed else args.weight_decay
        found.setdefault((decay, factors.get(id(p))), []).append(p)
    groups = [
        {"params": params, "weight_decay": decay, FACTOR: 1.0 if factor is None else factor}
        for (decay, factor), params in found.items()
        if params
    ]
    fused = _can_fuse(net, config)
    if config.optimizer == "SGD":
        nesterov = args.nesterov and args.momentum > 0
        sgd = torch.optim.SGD(groups, lr=0.0, momentum=args.momentum, nesterov=nesterov, fused=fused)
        if fused and config.precision == "fp16" and args.momentum > 0:
            start_momenta(sgd)
        return sgd
    assert config.optimizer == "AdamW", config.optimizer
    return torch.optim.AdamW(groups, lr=0.0, fused=fused)


def start_momenta(sgd: torch.optim.SGD) -> None:
    """Start with momenta of 0, which do not change the first step.

    Otherwise torch's fused kernel uses uninitialized memory, and keeps it if the first step of fp16 overflows.
    """
    for group in sgd.param_groups:
        for parameter in group["params"]:
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, times each group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(FACTOR, 1.0)  # checkpoints of before have none


def match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give momenta the memory layout of their parameters, which the fused kernels assume."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)


def _undecayed(net: SpeakerNet) -> set[str]:
    return {f"head.{name}" for name in getattr(net.head, "no_weight_decay", ())}


def _can_fuse(net: SpeakerNet, config: Config) -> bool:
    """Return whether one kernel may update all parameters.

    With fp16 the kernel skips a step that overflows, so that nothing waits, but only a GPU's does so, and only if one
    process alone counts: those of a split head add up how many overflow, and the kernel looks for exactly 1.
    """
    kinds: tuple[str, ...] = ("cpu", "cuda")
    if config.precision == "fp16":
        kinds = () if net.head.part is not None else ("cuda",)
    return all(p.device.type in kinds for p in net.parameters())
