"""Whole tensors of a head that is split over processes, for files: these look as if one process had trained."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sv.losses.head import Head
from sv.losses.split import HeadPart


def whole_rows(rows: Tensor, part: HeadPart) -> Tensor:
    """The rows of all processes in the main one, on the CPU; in the others their own. All of them call this."""
    rows = rows.detach()
    if part.rank:
        dist.send(rows.contiguous(), dst=0)
        return rows.cpu()
    whole = torch.empty(part.num_speakers, *rows.shape[1:], dtype=rows.dtype)
    whole[: part.last] = rows.cpu()
    for rank in range(1, part.size):
        first, last = part.bounds(rank)
        theirs = rows.new_empty(last - first, *rows.shape[1:])  # one share at a time, where this process computes
        dist.recv(theirs, src=rank)
        whole[first:last] = theirs.cpu()
    return whole


def own_rows(whole: Tensor, part: HeadPart) -> Tensor:
    """This process's rows of a whole tensor."""
    return whole[part.first : part.last]


def whole_head(head: Head) -> dict[str, Tensor]:
    """The head's state dict as that of one process, in the main process."""
    state = head.state_dict()
    if head.part is not None:
        state |= {name: whole_rows(state[name], head.part) for name in head.row_parameters}
    return state


def own_head(head: Head, whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """This process's part of a whole head's state dict."""
    if head.part is None:
        return whole
    return whole | {name: own_rows(whole[name], head.part) for name in head.row_parameters if name in whole}


def whole_optimizer(optimizer: torch.optim.Optimizer, head: Head) -> dict[str, Any]:
    """The optimizer's state dict as that of one process, in the main process."""
    state = optimizer.state_dict()
    if head.part is not None:
        for number, parameter in _row_parameters(optimizer, head):
            state["state"][number] = {
                name: whole_rows(value, head.part) if _is_like(value, parameter.shape) else value
                for name, value in state["state"].get(number, {}).items()
            }
    return state


def own_optimizer(optimizer: torch.optim.Optimizer, head: Head, whole: dict[str, Any]) -> dict[str, Any]:
    """This process's part of a whole optimizer's state dict."""
    if head.part is None:
        return whole
    states = dict(whole["state"])
    for number, parameter in _row_parameters(optimizer, head):
        shape = torch.Size([head.num_speakers, *parameter.shape[1:]])
        states[number] = {
            name: own_rows(value, head.part).clone() if _is_like(value, shape) else value
            for name, value in states.get(number, {}).items()
        }
    return {**whole, "state": states}


def _row_parameters(optimizer: torch.optim.Optimizer, head: Head) -> list[tuple[int, nn.Parameter]]:
    """Those that are split, with their numbers in the optimizer's state dict."""
    split = {id(head.get_parameter(name)) for name in head.row_parameters}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [(number, p) for number, p in enumerate(parameters) if id(p) in split]


def _is_like(value: Any, shape: torch.Size) -> bool:
    return isinstance(value, Tensor) and value.shape == shape
