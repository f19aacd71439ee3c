"""The base of the metric losses, which have no class weights and compare the utterances of a batch with one another.

A batch holds P speakers x K utterances, those of a speaker side by side, as `sv.data.sampling.GroupSampler` makes it.
With several processes, each compares only the speakers of its own share.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sv.errors import UserError
from sv.losses.head import Head, HeadOutput
from sv.losses.label_confidence import Confidence
from sv.losses.options import MetricOptions, ScaledMetricOptions

SMALLEST_SCALE = 1e-6


class MetricHead(Head):
    """Base of the metric losses."""

    def __init__(self, embedding_dim: int, num_speakers: int, options: MetricOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.utts_per_speaker = options.utts_per_speaker

    def compute(self, embedding: Tensor, speaker: Tensor, margin: float, confidence: Confidence | None) -> HeadOutput:
        assert confidence is None, "a configuration with label confidence does not take a metric loss"
        self.check_groups(speaker)
        groups = embedding.unflatten(0, (-1, self.utts_per_speaker))
        losses, correct = self.compare(groups, margin)
        return HeadOutput.of(losses.flatten(), correct.flatten())

    def compare(self, groups: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        """Return losses (P, K) and whether each was right, from embeddings (P, K, dim)."""
        raise NotImplementedError

    def check_speakers(self, speaker: Tensor) -> None:
        """Accept any numbers: there are no weights of speakers."""

    def check_groups(self, speaker: Tensor) -> None:
        """Raise UserError if a batch is not P x K. On a GPU only its size is checked, since reading labels waits."""
        size = self.utts_per_speaker
        fits = len(speaker) % size == 0 and len(speaker) >= 2 * size
        if fits and speaker.device.type == "cpu":
            groups = speaker.unflatten(0, (-1, size))
            fits = bool((groups == groups[:, :1]).all()) and len(groups[:, 0].unique()) == len(groups)
        if not fits:
            raise UserError(
                f"{type(self).__name__} needs batches of two or more speakers x {size} utterances, those of a speaker "
                f"side by side, and got {len(speaker)} utterances that are not; use the sampler pxk"
            )


class ScaledMetricHead(MetricHead):
    """A metric loss on cosines, times a scale that is learned and not decayed."""

    no_weight_decay: ClassVar[frozenset[str]] = frozenset({"scale"})

    def __init__(self, embedding_dim: int, num_speakers: int, options: ScaledMetricOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.scale = nn.Parameter(torch.tensor(options.scale))

    def positive_scale(self) -> Tensor:
        """Return w, 0-d."""
        return self.scale.clamp_min(SMALLEST_SCALE)


def queries_and_prototypes(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return each utterance as a query, and the means of its speaker's others; both (K, P, dim), from (P, K, dim).

    Index i of the first axis holds the i-th utterances of all speakers, and the speakers' means without those.
    """
    queries = groups.transpose(0, 1)
    return queries, (queries.sum(dim=0) - queries) / (len(queries) - 1)


def cross_entropy_of_groups(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return losses (P, K) and whether each query scores highest with its own speaker.

    Args:
        scores: (K, P, P), of each query (second axis) with each speaker (third).
    """
    own = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape[:2])  # (K, P)
    losses = cross_entropy(scores.transpose(1, 2), own, reduction="none")
    return losses.mT, (scores.argmax(dim=2) == own).mT
