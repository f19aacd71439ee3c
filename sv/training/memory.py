"""How the C library handles the large tensors of a step."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Have freed memory stay with the process, to be used again, and not go back to the system (glibc).

    By default a tensor of over 32 MiB is mapped anew each time and its pages are cleared by the kernel one by one:
    a fifth of the time of a `resnet_small` step of 64 crops. Without glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)  # never
