"""Losses, as heads: most own the speakers' weight vectors, metric losses compare utterances. One registry, a file each.

head = build_head("sphereface2", 256, 5994, {"margin_type": "A"})
output = head(embedding, speaker, margin=head.default_margin)  # .loss, .losses, .correct
"""

from collections.abc import Mapping
from typing import Any

from sv.losses.aam_intertopk import AamIntertopk
from sv.losses.aam_intertopk_subcenter import AamIntertopkSubcenter
from sv.losses.aam_softmax import AamSoftmax
from sv.losses.aam_subcenter import AamSubcenter
from sv.losses.am_softmax import AmSoftmax
from sv.losses.angular_prototypical import AngularPrototypical
from sv.losses.ge2e import Ge2e
from sv.losses.head import Head, HeadOutput
from sv.losses.prototypical import Prototypical
from sv.losses.softmax import Softmax
from sv.losses.sphereface import SphereFace
from sv.losses.sphereface2 import SphereFace2
from sv.losses.triplet import Triplet
from sv.registry import Registry

LOSSES: Registry[Head] = Registry("loss")

LOSSES.register("softmax")(Softmax)
LOSSES.register("sphere")(SphereFace)
LOSSES.register("am")(AmSoftmax)
LOSSES.register("aam")(AamSoftmax)
LOSSES.register("aam_subcenter")(AamSubcenter)
LOSSES.register("aam_intertopk")(AamIntertopk)
LOSSES.register("aam_intertopk_subcenter")(AamIntertopkSubcenter)
LOSSES.register("sphereface2")(SphereFace2)
LOSSES.register("triplet")(Triplet)
LOSSES.register("ge2e")(Ge2e)
LOSSES.register("prototypical")(Prototypical)
LOSSES.register("angular_prototypical")(AngularPrototypical)


def build_head(name: str, embedding_dim: int, num_speakers: int, args: Mapping[str, Any]) -> Head:
    """The head of the loss `name`, with the options given and the defaults of the others.

    Raises:
        UserError: an unknown name or option, a value of another type or out of range.
    """
    return LOSSES.build(name, embedding_dim, num_speakers, **args)


__all__ = ["LOSSES", "Head", "HeadOutput", "build_head"]
