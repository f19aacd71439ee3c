"""Losses, as heads: most own the speakers' weight vectors, metric losses compare utterances.

head = build_head("sphereface2", 256, 5994, {"margin_type": "A"})
output = head(embedding, speaker, margin=head.margins.default)  # .loss, .losses, .correct

A loss is a file with its head, a class of options in `options.py` and a row here. Nothing here loads torch; a head's
module is imported when it is built.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from sv.losses import options
from sv.registry import Registry

if TYPE_CHECKING:
    from sv.losses.head import Head

LOSSES: "Registry[Head]" = Registry("loss")

LOSSES.add("softmax", options.SoftmaxOptions, "sv.losses.softmax:Softmax")
LOSSES.add("sphere", options.SphereFaceOptions, "sv.losses.sphereface:SphereFace")
LOSSES.add("am", options.AmOptions, "sv.losses.am_softmax:AmSoftmax")
LOSSES.add("aam", options.AamOptions, "sv.losses.aam_softmax:AamSoftmax")
LOSSES.add("aam_subcenter", options.AamSubcenterOptions, "sv.losses.aam_subcenter:AamSubcenter")
LOSSES.add("aam_intertopk", options.AamIntertopkOptions, "sv.losses.aam_intertopk:AamIntertopk")
LOSSES.add(
    "aam_intertopk_subcenter",
    options.AamIntertopkSubcenterOptions,
    "sv.losses.aam_intertopk_subcenter:AamIntertopkSubcenter",
)
LOSSES.add("sphereface2", options.SphereFace2Options, "sv.losses.sphereface2:SphereFace2")
LOSSES.add("triplet", options.TripletOptions, "sv.losses.triplet:Triplet")
LOSSES.add("ge2e", options.ScaledMetricOptions, "sv.losses.ge2e:Ge2e")
LOSSES.add("prototypical", options.MetricOptions, "sv.losses.prototypical:Prototypical")
LOSSES.add("angular_prototypical", options.ScaledMetricOptions, "sv.losses.angular_prototypical:AngularPrototypical")
LOSSES.add("teacher", options.TeacherOptions, "sv.losses.teacher:Teacher")

LOSSES.elsewhere |= {
    "add_margin": "am",
    "arc_margin": "aam",
    "sphereface": "sphere",
    "a_softmax": "sphere",
    "arc_margin_intertopk_subcenter": "aam_intertopk_subcenter",
    **{name: name for name in ("softmax", "sphere", "sphereface2")},
}


def loss_options(name: str, args: Mapping[str, Any]) -> options.LossOptions:
    """Return the options of the loss `name`: those given checked, the others at their defaults.

    Raises:
        UserError: the name or an option is unknown; a value has another type or is out of range.
    """
    return cast(options.LossOptions, LOSSES.options(name, args))


def build_head(name: str, embedding_dim: int, num_speakers: int, args: Mapping[str, Any]) -> "Head":
    """Build the head of the loss `name`; raises as `loss_options`, and for fewer than 2 speakers."""
    return LOSSES.build(name, embedding_dim, num_speakers, **args)
