"""Compile the encoder by torch.compile, for training steps only.

The crops of a training have one length, so one graph is enough. Held-out tests and class means use the encoder
uncompiled, since each length of an utterance would need its own graph. The head is not compiled: it computes its
gradients itself, in passes over blocks of speakers. Each process compiles for itself, inside DistributedDataParallel,
so split heads and the sums of gradients do not change. torch keeps compiled code in TORCHINDUCTOR_CACHE_DIR (a folder
in /tmp), so the next start is quick.
"""

from typing import cast

import torch
from torch import nn

from sv.errors import UserError, log
from sv.training.network import SpeakerNet

BACKEND = "inductor"  # torch's own: Triton on GPUs, C++ on CPUs


def compile_encoder(net: SpeakerNet, device: torch.device) -> None:
    """Make a network train with its encoder compiled; the names in its state dict do not change.

    Raises:
        UserError: torch.compile does not work here.
    """
    check_compiler(device)
    log.info("the encoder is compiled at the first step (torch.compile)")
    net.wrap_backbone(lambda encoder: cast(nn.Module, torch.compile(encoder, backend=BACKEND, dynamic=False)))


def check_compiler(device: torch.device) -> None:
    """Check that torch.compile works, by compiling one addition.

    Raises:
        UserError: it does not work.
    """
    try:
        torch.compile(lambda x: x + 1, backend=BACKEND)(torch.zeros(2, device=device))
    except Exception as error:  # torch raises nearly anything where a compiler is missing or broken
        needed = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler (g++)"
        reason = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"compile: torch.compile, which needs {needed}, does not work on {device.type} here ({reason}); "
            "install that, or set compile=false"
        ) from error
