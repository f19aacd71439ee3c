"""Gather and split the tensors of a split head, so that files look as if one process had trained."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sv.losses.head import Head
from sv.losses.split import HeadPart


def whole_rows(rows: Tensor, part: HeadPart) -> Tensor:
    """Return the rows of all processes in the main one, and own rows in the others; on the CPU. All call this."""
    rows = rows.detach()
    if part.rank:
        dist.send(rows.contiguous(), dst=0)
        return rows.cpu()
    whole = torch.empty(part.num_speakers, *rows.shape[1:], dtype=rows.dtype)
    whole[: part.last] = rows.cpu()
    for rank in range(1, part.size):
        first, last = part.bounds(rank)
        theirs = rows.new_empty(last - first, *rows.shape[1:])  # one share at a time, on this process's device
        dist.recv(theirs, src=rank)
        whole[first:last] = theirs.cpu()
    return whole


def own_rows(whole: Tensor, part: HeadPart) -> Tensor:
    """Return this process's rows of a whole tensor."""
    return whole[part.first : part.last]


def whole_head(head: Head) -> dict[str, Tensor]:
    """Return the whole head's state dict in the main process; all processes call this."""
    state = head.state_dict()
    if head.part is not None:
        state |= {name: whole_rows(state[name], head.part) for name in head.row_parameters}
    return state


def own_head(head: Head, whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return this process's part of a whole head's state dict."""
    if head.part is None:
        return whole
    return whole | {name: own_rows(whole[name], head.part) for name in head.row_parameters if name in whole}


def whole_optimizer(optimizer: torch.optim.Optimizer, head: Head) -> dict[str, Any]:
    """Return the optimizer's state dict for the whole head in the main process; all processes call this."""
    state = optimizer.state_dict()
    if head.part is not None:
        for number, parameter in _row_parameters(optimizer, head):
            state["state"][number] = {
                name: whole_rows(value, head.part) if _is_like(value, parameter.shape) else value
                for name, value in state["state"].get(number, {}).items()
            }
    return state


def own_optimizer(optimizer: torch.optim.Optimizer, head: Head, whole: dict[str, Any]) -> dict[str, Any]:
    """Return this process's part of an optimizer's whole state dict."""
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
    """Return the split parameters, with their numbers in the optimizer's state dict."""
    split = {id(head.get_parameter(name)) for name in head.row_parameters}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return [(number, p) for number, p in enumerate(parameters) if id(p) in split]


def _is_like(value: Any, shape: torch.Size) -> bool:
    return isinstance(value, Tensor) and value.shape == shape
