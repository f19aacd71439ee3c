"""Losses, as heads that own the speakers' weight vectors. One registry, one file a loss.

head = build_head("sphereface2", 256, 5994, {"margin_type": "A"})
losses, correct = head(embedding, speaker, margin=head.default_margin)
"""

from collections.abc import Mapping
from typing import Any

from sv.losses.aam_softmax import AamSoftmax
from sv.losses.am_softmax import AmSoftmax
from sv.losses.head import Head, HeadOutput
from sv.losses.softmax import Softmax
from sv.losses.sphereface2 import SphereFace2
from sv.registry import Registry

LOSSES: Registry[Head] = Registry("loss")

LOSSES.register("softmax")(Softmax)
LOSSES.register("am")(AmSoftmax)
LOSSES.register("aam")(AamSoftmax)
LOSSES.register("sphereface2")(SphereFace2)


def build_head(name: str, embedding_dim: int, num_speakers: int, args: Mapping[str, Any]) -> Head:
    """The head of the loss `name`, with the options given and the defaults of the others.

    Raises:
        UserError: an unknown name or option, a value of another type or out of range.
    """
    return LOSSES.build(name, embedding_dim, num_speakers, **args)


__all__ = ["LOSSES", "Head", "HeadOutput", "build_head"]
