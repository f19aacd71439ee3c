"""The base of all heads: how they are called, with float32 under autocast, and how they are split over processes.

A head owns the speakers' weight vectors and turns a batch of embeddings into a loss for each utterance. The margin
comes with each call, because a schedule moves it.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from sv.errors import UserError
from sv.losses.options import LossOptions
from sv.losses.split import HeadPart


class HeadOutput(NamedTuple):
    """The output of a head for a batch, on its own device.

    Attributes:
        loss: 0-d float32, the mean of the losses, to be differentiated.
        losses: (batch,) float32, without gradients, to look at.
        correct: (batch,) bool, whether the true speaker scores highest, without margin.
    """

    loss: Tensor
    losses: Tensor
    correct: Tensor

    @classmethod
    def of(cls, losses: Tensor, correct: Tensor) -> "HeadOutput":
        """Make the output from losses (batch,) that carry gradients."""
        return cls(losses.mean(), losses.detach(), correct)


class Head(nn.Module):
    """Base of all heads.

    Attributes:
        no_weight_decay: names of the parameters that must not be decayed.
        row_parameters: names of the parameters with a row for each speaker, which `split` shares out; none in a metric
            loss.
        margins: the margins that it takes.
        part: this process's rows, if the head is split.
    """

    no_weight_decay: ClassVar[frozenset[str]] = frozenset()
    row_parameters: ClassVar[tuple[str, ...]] = ()

    def __init__(self, embedding_dim: int, num_speakers: int, options: LossOptions) -> None:
        super().__init__()
        if embedding_dim < 1 or num_speakers < 2:
            raise UserError(
                f"{type(self).__name__} of {num_speakers} speakers and {embedding_dim} dimensions; "
                "it takes 2 speakers and 1 dimension or more"
            )
        self.embedding_dim = embedding_dim
        self.num_speakers = num_speakers
        self.margins = options.margins
        self.part: HeadPart | None = None

    def forward(self, embedding: Tensor, speaker: Tensor, margin: float) -> HeadOutput:
        """Compute the loss of a batch, in float32 whatever autocast says (float64 if the embedding is).

        Args:
            embedding: (batch, dim), of any norm; float16 and bfloat16 are widened.
            speaker: (batch,) int64, 0 to num_speakers - 1; checked on the CPU only, since on a GPU that waits.
            margin: m, which the schedule gives for this step.

        Raises:
            UserError: a margin or a speaker out of range.
        """
        self.margins.check(margin, type(self).__name__)
        if speaker.device.type == "cpu" and not torch.compiler.is_compiling():
            self.check_speakers(speaker)
        with torch.autocast(embedding.device.type, enabled=False):
            dtype = torch.promote_types(embedding.dtype, torch.float32)
            if self.part is None:
                return self.compute(embedding.to(dtype), speaker, margin)
            return self.compute_split(embedding.to(dtype), speaker, margin, self.part)

    def compute(self, embedding: Tensor, speaker: Tensor, margin: float) -> HeadOutput:
        """Compute `forward` of checked, widened inputs."""
        raise NotImplementedError

    def compute_split(self, embedding: Tensor, speaker: Tensor, margin: float, part: HeadPart) -> HeadOutput:
        """Compute in several processes, each with a batch of the same size; `loss` is the mean over all of them."""
        raise NotImplementedError

    def split(self, rank: int, size: int) -> None:
        """Keep the rows of one process of `size`; until then each of them holds the whole head.

        Raises:
            UserError: there are fewer speakers than processes.
        """
        assert self.row_parameters, f"{type(self).__name__} has no weight vectors to share out"
        if size > self.num_speakers:
            raise UserError(f"{self.num_speakers} speakers cannot be split over {size} processes; use fewer processes")
        self.part = HeadPart(rank, size, self.num_speakers)
        for name in self.row_parameters:
            rows = self.get_parameter(name).detach()[self.part.first : self.part.last]
            setattr(self, name, nn.Parameter(rows.clone()))

    def start(self, margin: float) -> None:
        """Set what depends on the margin of the first step, before training begins."""

    def fit_bias(self, embedding: Tensor, speaker: Tensor, margin: float) -> None:
        """Fit the bias, in a head that has one, after the weight vectors were set to mean embeddings.

        Args:
            embedding, speaker: (utterances, dim), (utterances,), a sample of the speakers' utterances.
            margin: of the first step.
        """

    def check_speakers(self, speaker: Tensor) -> None:
        """Raise UserError if an index is out of range. On a GPU this waits: call it once, for a whole corpus."""
        outside = (speaker < 0) | (speaker >= self.num_speakers)
        if bool(outside.any()):
            raise UserError(
                f"speaker index {int(speaker[outside][0])} of {int(outside.sum())} utterances is outside "
                f"0 to {self.num_speakers - 1}; make spk2id and the model from the same data dir"
            )


def speaker_weight(embedding_dim: int, num_speakers: int) -> nn.Parameter:
    """Draw a weight (speakers, dim) as WeSpeaker does: uniform in +-sqrt(6 / (speakers + dim))."""
    weight = nn.Parameter(torch.empty(num_speakers, embedding_dim))
    nn.init.xavier_uniform_(weight)
    return weight
