"""The encoder compiled by torch.compile, for the steps of training alone.

Held-out tests and class means take the encoder as it is: utterances have any length there, and each would be compiled
anew. The crops of a training have one length, thus one graph; large-margin fine-tuning is another training. The head
stays as it is: its passes over blocks of speakers are its own kernels already. Each process compiles for itself, within
DistributedDataParallel, so that a split head and the sums of gradients are what they are without. torch keeps what it
has compiled in TORCHINDUCTOR_CACHE_DIR (a folder in /tmp), from which the next start is quick.
"""

from typing import cast

import torch
from torch import nn

from sv.errors import UserError, log
from sv.training.network import SpeakerNet

BACKEND = "inductor"  # torch's own: Triton on GPUs, C++ on CPUs


def compile_encoder(net: SpeakerNet, device: torch.device) -> None:
    """Have a network train by its compiled encoder; names in its state dict do not change.

    Raises:
        UserError: torch.compile does not work here.
    """
    check_compiler(device)
    log.info("the encoder is compiled at the first step (torch.compile)")
    net.wrap_backbone(lambda encoder: cast(nn.Module, torch.compile(encoder, backend=BACKEND, dynamic=False)))


def check_compiler(device: torch.device) -> None:
    """Compile one addition, which takes what everything takes.

    Raises:
        UserError: it fails.
    """
    try:
        torch.compile(lambda x: x + 1, backend=BACKEND)(torch.zeros(2, device=device))
    except Exception as error:  # torch raises nearly anything where a compiler is missing or broken
        needed = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler (g++)"
        reason = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"compile: torch.compile, which takes {needed}, does not work on {device.type} here ({reason}); "
            "install that, or set compile=false"
        ) from error
