"""Settings of a GPU in training, and its description for the log; docs/gpu.md lists everything about GPUs."""

import torch

from sv.config import Config


def set_up_gpu(config: Config) -> None:
    """Set what applies to training only: extraction and held-out tests choose exact algorithms for any length.

    Matrix products outside of convolutions stay in float32, torch's default: the head needs it.
    """
    torch.backends.cudnn.benchmark = True  # crops have one size
    torch.backends.cudnn.allow_tf32 = config.tf32


def describe_gpu(device: torch.device, samples_per_second: float) -> str:
    """Return the GPU's name, the most memory that tensors have taken, and the speed, without waiting for the GPU."""
    peak, total = torch.cuda.max_memory_allocated(device), torch.cuda.get_device_properties(device).total_memory
    name, gib = torch.cuda.get_device_name(device), 2**30
    return f"{name}: at most {peak / gib:.1f} of {total / gib:.1f} GiB, {samples_per_second:.0f} samples/s"
