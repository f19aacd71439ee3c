"""The GPUs that a user names with --gpus; copies to them. torch is loaded only to look for them."""

from typing import TYPE_CHECKING

from sv.errors import UserError, WrongCall

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def parse_gpus(gpus: str) -> list[int]:
    """Read --gpus, counted among the visible GPUs: "0,1" or "[0,1]"; "auto" for the first, if any; or "none".

    Raises:
        WrongCall: something else.
        UserError: a GPU that is not there.
    """
    numbers = named_gpus(gpus)
    if numbers == []:
        return []
    import torch  # takes seconds to load

    count = torch.cuda.device_count()
    if numbers is None:
        return [0] if count else []
    absent = [number for number in numbers if number >= count]
    if absent:
        raise UserError(f"--gpus {gpus}: no GPU {absent[0]} here, torch sees {count}; give --gpus none for the CPU")
    return numbers


def named_gpus(gpus: str) -> list[int] | None:
    """Read the numbers in --gpus, whether such GPUs are here or not; None for "auto".

    Raises:
        WrongCall: something else than `parse_gpus` reads.
    """
    text = gpus.strip().strip("[]").replace(" ", "")  # WeSpeaker's users write "[0,1]"
    if text == "auto":
        return None
    words = [] if text in ("", "none", "cpu") else text.split(",")
    if not all(word.isdecimal() for word in words) or len(set(words)) < len(words):
        raise WrongCall(f"--gpus {gpus!r}: expected numbers, as in 0,1; or auto, or none")
    return [int(word) for word in words]


def choose_device(gpus: str, job: int) -> str:
    """Choose the device of job 1, 2, ...: the GPUs of `parse_gpus` in turn, or the CPU."""
    numbers = parse_gpus(gpus)
    return f"cuda:{numbers[(job - 1) % len(numbers)]}" if numbers else "cpu"


def count_procs(gpus: str, num_procs: int, num_nodes: int) -> int:
    """Count the training processes on all nodes; GPUs are not looked for, since another machine may have them."""
    return (len(named_gpus(gpus) or []) or num_procs) * num_nodes


def send(tensor: "Tensor", device: "torch.device") -> "Tensor":
    """Copy a tensor to a device without waiting for it: to a GPU from page-locked memory."""
    pin = device.type == "cuda" and tensor.device.type == "cpu"
    return (tensor.pin_memory() if pin else tensor).to(device, non_blocking=True)
