"""Hold code to one device: raise where it mixes devices, or makes the CPU wait for a copy or a value.

torch's stand-ins for a GPU (meta and fake tensors) refuse only some operators that meet tensors of two devices.
Indexing takes a tensor from the CPU, a matrix product too, a copy may wait, and a mask or a matrix that cannot be
inverted is read back by a GPU alone: no error tells of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_ATEN = torch.ops.aten
_COPIES = {_ATEN._to_copy.default, _ATEN.copy_.default}
_READ_BACK = {  # a GPU's operators that look at error codes or values
    _ATEN._linalg_check_errors,  # cholesky, solve, inv, lu_factor
    _ATEN._linalg_eigh,
    _ATEN._linalg_svd,
    _ATEN.linalg_eig,
    _ATEN.linalg_matrix_exp,
}
_PUTS = {_ATEN.index_put, _ATEN.index_put_, _ATEN._index_put_impl_}
# Encoders with more or wider layers of the kinds that others have
LARGER = {"ResNet34", "ResNet101", "ResNet152", "ResNet221", "ResNet293", "SimAM_ResNet100_ASP"}
LARGER |= {"Gemini_DF_ResNet114", "Gemini_DF_ResNet183", "Gemini_DF_ResNet237", "WavLM_Large_MFA"}
LARGER |= {"ECAPA_TDNN_c1024", "ECAPA_TDNN_GLOB_c1024", "XI_VEC_ECAPA_TDNN_c1024"}
LARGER |= {"Res2Net34_Large", "ERes2Net34_Large", *(f"ReDimNetB{size}" for size in "2346")}
LARGER |= {*(f"ReDimNet2B{size}" for size in "1235"), *(f"REPVGG_RSBB_{size}" for size in ("A0", "A2", "B0"))}
LARGER |= {f"REPVGG_{size}" for size in ("A0", "A1", "A2", "B0", "B1", "B2", "B3")}
LARGER |= {f"REPVGG_{size}" for size in ("B1g4", "B2g2", "B2g4", "B3g2", "B3g4")}
_FROM_VALUES = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}


@contextmanager
def one_device(model: str = "") -> Iterator[None]:
    """Check each operator of the code inside, of its backward pass too.

    Numbers as 0-d tensors on the CPU may meet tensors of any device, since a GPU gets them with the launch. A copy to a
    device must be non-blocking. Whether the copied memory is pinned cannot be seen.

    Args:
        model: encoder that runs inside; WavLM's copies may wait, since torchaudio copies positions in each call.

    Raises:
        RuntimeError: with the name of the operator.
    """
    with _Values(), _Operators(copies_wait=model.startswith("WavLM")):
        yield


class _Operators(TorchDispatchMode):
    def __init__(self, *, copies_wait: bool) -> None:
        super().__init__()
        self._copies_wait = copies_wait

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and func is not torch.ops.prim.device.default:
            with self:  # operators that are made of others come whole
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if func not in _COPIES:
            _check_devices(func, [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)])
            _check_values(func, args)
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        if not self._copies_wait:
            _check_copy(func, args, kwargs, result)
        return result


class _Values(TorchFunctionMode):
    """Check what operators do not show: values of Python that are copied, and what is written through a mask."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _FROM_VALUES and _elsewhere(result) and not isinstance(args[-1], Tensor):
            raise RuntimeError(f"values that torch copies to {result.device} make the CPU wait; keep them in a buffer")
        if func in (Tensor.__getitem__, Tensor.__setitem__) and _elsewhere(args[0]):
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list | range | np.ndarray) for part in parts):
                raise RuntimeError(f"an index list that torch copies to {args[0].device} makes the CPU wait")
            if func is Tensor.__setitem__ and isinstance(args[2], Tensor) and any(map(_is_mask, parts)):
                _raise_for_mask(args[0])
        return result


def _elsewhere(tensor: Any) -> bool:
    return isinstance(tensor, Tensor) and tensor.device.type != "cpu"


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _raise_for_mask(tensor: Tensor) -> None:
    raise RuntimeError(f"writing a tensor through a mask makes the CPU wait for {tensor.device}; use torch.where")


def _check_values(func: Any, args: Any) -> None:
    if func.overloadpacket in _READ_BACK and _elsewhere(args[0]):
        raise RuntimeError(f"{func} makes the CPU wait for {args[0].device}: it reads back error codes or values")
    if func.overloadpacket in _PUTS and _elsewhere(args[0]) and any(map(_is_mask, args[1])) and args[2].numel() != 1:
        _raise_for_mask(args[0])


def _check_devices(func: Any, tensors: list[Tensor]) -> None:
    devices = {tensor.device for tensor in tensors if tensor.dim()}
    if len(devices) > 1:
        raise RuntimeError(f"{func} meets tensors of two devices: {', '.join(sorted(map(str, devices)))}")


def _check_copy(func: Any, args: Any, kwargs: Any, result: Tensor) -> None:
    source = args[1] if func is _ATEN.copy_.default else args[0]
    waits = not kwargs.get("non_blocking", len(args) > 2 and args[2])
    if source.device.type == "cpu" != result.device.type and waits:
        raise RuntimeError(f"{func} to {result.device} makes the CPU wait; copy with non_blocking=True")
