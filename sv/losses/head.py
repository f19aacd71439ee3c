"""The base of all heads: how they are called, with float32 under autocast, and how they are split over processes.

A head owns the speakers' weight vectors and turns a batch of embeddings into a loss for each utterance. The margin
comes with each call, because a schedule moves it.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sv.errors import UserError
from sv.losses.distillation import Distillation
from sv.losses.label_confidence import Confidence
from sv.losses.options import LossOptions
from sv.losses.split import HeadPart


class HeadOutput(NamedTuple):
    """The output of a head for a batch, on its own device.

    Attributes:
        loss: 0-d float32, the mean of the losses, to be differentiated.
        losses: (batch,) float32, without gradients, to look at.
        correct: (batch,) bool, whether the true speaker scores highest, without margin.
        label_losses: (batch,) float32, without gradients, margin and weights: how little each label fits. The negative
            logarithm of the probability that the label is right, of the class's own classifier (SphereFace2:
            softplus(-z_y)) or among all classes (softmax). None unless the head was called with a `Confidence`.
    """

    loss: Tensor
    losses: Tensor
    correct: Tensor
    label_losses: Tensor | None = None

    @classmethod
    def of(cls, losses: Tensor, correct: Tensor) -> "HeadOutput":
        """Make the output from losses (batch,) that carry gradients."""
        return cls(losses.mean(), losses.detach(), correct)


class Prediction(NamedTuple):
    """The class that each utterance fits best, without margin.

    Attributes:
        speaker: (batch,) int64.
        probability: (batch,) of that class: by its own classifier (SphereFace2), or among all classes (softmax).
        lead: (batch,) by which it exceeds the second highest.
    """

    speaker: Tensor
    probability: Tensor
    lead: Tensor


class Head(nn.Module):
    """Base of all heads.

    Attributes:
        no_weight_decay: names of the parameters that must not be decayed.
        row_parameters: names of the parameters with a row for each speaker, which `split` shares out; none in a metric
            loss.
        margins: the margins that it takes.
        part: this process's rows, if the head is split.
        distillation: the loss against a teacher's embeddings, if there is one.
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
        self.distillation: Distillation | None = None

    def forward(
        self,
        embedding: Tensor,
        speaker: Tensor,
        margin: float,
        confidence: Confidence | None = None,
        target: Tensor | None = None,
    ) -> HeadOutput:
        """Compute the loss of a batch, in float32 whatever autocast says (float64 if the embedding is).

        Args:
            embedding: (batch, dim), of any norm; float16 and bfloat16 are widened.
            speaker: (batch,) int64, 0 to num_speakers - 1; checked on the CPU only, since on a GPU that waits.
            margin: m, which the schedule gives for this step.
            confidence: which labels and pairs count less; None: all count.
            target: (batch, teacher_dim) the teacher's embeddings; None without `distillation`.

        Raises:
            UserError: a margin or a speaker out of range.
        """
        self.margins.check(margin, type(self).__name__)
        if speaker.device.type == "cpu" and not torch.compiler.is_compiling():
            self.check_speakers(speaker)
        with torch.autocast(embedding.device.type, enabled=False):
            embedding = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
            if self.part is not None:
                return self.compute_split(embedding, speaker, margin, confidence, self.part)
            output = self.compute(embedding, speaker, margin, confidence)
            return output if target is None else self.distill(output, embedding, target.to(embedding.dtype))

    def compute(self, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None) -> HeadOutput:
        """Compute `forward` of checked, widened inputs."""
        raise NotImplementedError

    def distill(self, output: HeadOutput, embedding: Tensor, target: Tensor) -> HeadOutput:
        """Add the loss against a teacher's embeddings (batch, teacher_dim) to the output."""
        assert self.distillation is not None, "embeddings of a teacher come with `distillation`"
        losses = self.distillation(embedding, target)
        return output._replace(loss=output.loss + losses.mean(), losses=output.losses + losses.detach())

    def compute_split(
        self, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None, part: HeadPart
    ) -> HeadOutput:
        """Compute in several processes, each with a batch of the same size; `loss` is the mean over all of them."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, embedding: Tensor) -> Prediction:
        """Predict the class of each utterance, without margin; on a GPU this waits.

        Args:
            embedding: (batch, dim); of a split head, each process has a batch of the same size.
        """
        part, batch = self.part, len(embedding)
        logits = self.logits(embedding if part is None else part.gather(embedding))
        log_sum = logits.logsumexp(dim=1, keepdim=True)
        top = functional.pad(logits, (0, 1), value=-torch.inf).topk(2, dim=1)  # a process may have a single row
        speaker = top.indices + (0 if part is None else part.first)
        found = torch.cat([top.values.double(), speaker.double(), log_sum.double()], dim=1).unsqueeze(0)
        of_all = (found if part is None else part.gather(found)).transpose(0, 1)  # (batch, parts, 5)
        best = of_all[..., :2].flatten(1).topk(2, dim=1)
        probability = self.probability(best.values, of_all[..., 4].logsumexp(dim=1, keepdim=True))
        speaker = of_all[..., 2:4].flatten(1).gather(1, best.indices)[:, 0].long()
        own = slice(batch) if part is None else part.own(batch)
        return Prediction(speaker[own], probability[own, 0], (probability[:, 0] - probability[:, 1])[own])

    def logits(self, embedding: Tensor) -> Tensor:
        """Return the logits without margin, (batch, rows), of embeddings (batch, dim) with this process's rows."""
        raise NotImplementedError

    def probability(self, logit: Tensor, log_sum: Tensor) -> Tensor:
        """Return the probability of each logit, of the same shape.

        Args:
            logit: logits of any shape.
            log_sum: logarithm of the sum of e^z over all classes, which can be broadcast to `logit`.
        """
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
            margin: margin of the first step.
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
