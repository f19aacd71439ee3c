"""Hold code to one device: raise where it mixes devices, or makes the CPU wait for a copy.

torch's stand-ins for a GPU (meta and fake tensors) refuse only some operators that meet tensors of two devices.
Indexing takes a tensor from the CPU, a matrix product too, and a copy may wait: no error tells of it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class OneDevice(TorchDispatchMode):
    """Check each operator of the code inside, of its backward pass too.

    Numbers as 0-d tensors on the CPU may meet tensors of any device, since a GPU gets them with the launch. A copy to a
    device must be non-blocking. What this cannot see on the meta device is torch.tensor(values, device=...).

    Args:
        model: encoder that runs inside; WavLM's copies may wait, since torchaudio copies positions in each call.

    Raises:
        RuntimeError: with the name of the operator.
    """

    def __init__(self, model: str = "") -> None:
        super().__init__()
        self._copies_wait = model.startswith("WavLM")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _COPIES:
            _check_devices(func, [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)])
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        if not self._copies_wait:
            _check_copy(func, args, kwargs, result)
        return result


def _check_devices(func: Any, tensors: list[Tensor]) -> None:
    devices = {tensor.device for tensor in tensors if tensor.dim()}
    if len(devices) > 1:
        raise RuntimeError(f"{func} meets tensors of two devices: {', '.join(sorted(map(str, devices)))}")


def _check_copy(func: Any, args: Any, kwargs: Any, result: Tensor) -> None:
    source = args[1] if func is torch.ops.aten.copy_.default else args[0]
    waits = not kwargs.get("non_blocking", len(args) > 2 and args[2])
    if source.device.type == "cpu" != result.device.type and waits:
        raise RuntimeError(f"{func} to {result.device} makes the CPU wait; copy with non_blocking=True")
