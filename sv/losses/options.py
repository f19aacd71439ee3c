"""The options of all losses, and the margins that they take; without torch, so that they are checked at once."""

from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from sv.errors import UserError
from sv.registry import Options


class Margins(NamedTuple):
    """The margins that a loss takes.

    Attributes:
        default: at the end of the schedule.
        lowest: changes nothing.
        highest: the largest that makes sense.
        finetune: in large-margin fine-tuning; None: the default one.
        grows: from the lowest, by the schedule; False: it is the same from the first step on.
    """

    default: float
    lowest: float
    highest: float
    finetune: float | None = None
    grows: bool = True

    def check(self, margin: float, loss: str) -> None:
        """Raise UserError if a margin is out of range."""
        if not self.lowest <= margin <= self.highest:
            allowed = f"takes {self.lowest:g} to {self.highest:g}" if self.has_range else "has no margin, give 0"
            raise UserError(f"margin {margin:g} does not fit: {loss} {allowed}")

    @property
    def has_range(self) -> bool:
        """Tell whether there is a margin at all."""
        return self.lowest < self.highest


class LossOptions(Options):
    """Base of the options of all losses."""

    can_split: ClassVar[bool] = True  # it has a weight vector for each speaker, which processes can share out
    compares_utterances: ClassVar[bool] = False  # it takes batches of P speakers x K utterances
    needs_teacher: ClassVar[bool] = False  # it is nothing without a teacher's embeddings
    in_name: ClassVar[tuple[str, ...]] = ()  # options that belong in the name of a system

    @property
    def margins(self) -> Margins:
        """Return the margins that the loss takes with these options; here none."""
        return Margins(default=0.0, lowest=0.0, highest=0.0)


class SoftmaxOptions(LossOptions):
    """Options of softmax: none."""


class SphereFaceOptions(LossOptions):
    """Options of A-softmax; the margin is 1 / (1 + lambda)."""

    angle_factor: int = Field(4, ge=1)  # n

    @property
    def margins(self) -> Margins:
        return Margins(default=1 / 6, lowest=0.0, highest=1.0)


class MarginSoftmaxOptions(LossOptions):
    """Options that the softmax losses with a margin share."""

    scale: float = Field(32.0, gt=0, allow_inf_nan=False)  # s, the norm given to every embedding


class AmOptions(MarginSoftmaxOptions):
    """Options of AM-softmax; the margin is on the cosine."""

    @property
    def margins(self) -> Margins:
        return Margins(default=0.2, lowest=0.0, highest=1.0)


class AamOptions(MarginSoftmaxOptions):
    """Options of AAM-softmax; the margin is in radians."""

    easy_margin: bool = False  # no margin where the true speaker's cosine is negative

    @property
    def margins(self) -> Margins:
        return Margins(default=0.2, lowest=0.0, highest=1.5, finetune=0.5)


class AamSubcenterOptions(AamOptions):
    """Options of sub-center AAM-softmax."""

    num_subcenters: int = Field(3, ge=1)  # K, weight vectors of a speaker


class AamIntertopkOptions(AamOptions):
    """Options of inter-top-k AAM-softmax."""

    # m' at a margin of 0.2, radians (WeSpeaker's mp); at most 0.2: at the largest margin, 1.5, it stays under pi / 2
    top_margin: float = Field(0.06, ge=0, le=0.2)
    top_k: int = Field(5, ge=1)  # k; all other speakers if there are no more


class AamIntertopkSubcenterOptions(AamIntertopkOptions, AamSubcenterOptions):
    """Options of inter-top-k AAM-softmax with sub-centers."""


MarginType = Literal["C", "A", "M"]
MarginOn = Literal["both", "target"]
Gradient = Literal["through_g", "detached"]

_SPHEREFACE2_MARGINS: dict[MarginType, Margins] = {
    "C": Margins(default=0.2, lowest=0.0, highest=1.0, finetune=0.3),
    "A": Margins(default=0.15, lowest=0.0, highest=1.5, finetune=0.25),
    "M": Margins(default=1.3, lowest=1.0, highest=4.0, finetune=1.5),
}


class SphereFace2Options(LossOptions):
    """Options of SphereFace2.

    Attributes:
        scale: s.
        margin_type: C, on the similarity; A, on the angle, in radians; M, a factor of the target's angle.
        target_weight: lambda, the weight of the one target pair against all others.
        t: exponent of g; 1 leaves the cosine as it is. Up to 80: then (3 - cos m)^t, the highest power of type
            A, is a float32 for each margin m.
        margin_on: both, as the speaker-verification paper has it, or the target alone, as the face paper; M always the
            latter.
        gradient: through_g differentiates all of f; detached takes the slope of f as 1, so that g and the margin weight
            a pair but do not steer it (the code of the face paper).
        bias_init: zero, as the speaker-verification code has it, or balanced: solved from the number of speakers, the
            options and the margin of the first step, so that target pairs and others pull equally hard.
    """

    in_name: ClassVar[tuple[str, ...]] = ("margin_type",)

    scale: float = Field(32.0, gt=0, allow_inf_nan=False)
    margin_type: MarginType = "C"
    target_weight: float = Field(0.7, gt=0, lt=1)
    t: float = Field(3.0, ge=1, le=80)
    margin_on: MarginOn = "both"
    gradient: Gradient = "through_g"
    bias_init: Literal["zero", "balanced"] = "zero"

    @property
    def margins(self) -> Margins:
        return _SPHEREFACE2_MARGINS[self.margin_type]


class MetricOptions(LossOptions):
    """Options that the metric losses share; they have no weight vectors and compare the utterances of a batch."""

    can_split: ClassVar[bool] = False
    compares_utterances: ClassVar[bool] = True

    utts_per_speaker: int = Field(2, ge=2)  # K, utterances of each speaker in a batch


class ScaledMetricOptions(MetricOptions):
    """Options of the metric losses on cosines with a learned scale."""

    scale: float = Field(10.0, gt=0, allow_inf_nan=False)  # w at the start


class TripletOptions(MetricOptions):
    """Options of the triplet loss."""

    in_name: ClassVar[tuple[str, ...]] = ("mining",)

    mining: Literal["semihard", "hardest"] = "semihard"

    @property
    def margins(self) -> Margins:
        return Margins(default=0.3, lowest=0.0, highest=2.0, grows=False)


class TeacherOptions(LossOptions):
    """Options of the loss against a teacher alone: none; see `teacher_args` of the configuration."""

    can_split: ClassVar[bool] = False
    needs_teacher: ClassVar[bool] = True
