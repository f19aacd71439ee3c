"""Confidence in the labels of a batch: weights of utterances whose label may be wrong, and pairs that do not count.

A label that comes from a clustering may be wrong, and a speaker may be split over several classes. A loss of binary
classifiers (SphereFace2) can then leave out single pairs; a softmax can leave out a class of its sum, or a whole
utterance.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sv.jobs.gpus import send
from sv.losses.split import HeadPart


class Confidence(NamedTuple):
    """Confidence in the labels and pairs of a batch, on its device.

    Attributes:
        weight: (batch,) in [0, 1], the weight of the pair of an utterance and its own class; in a softmax, of the
            utterance.
        ignored: (batch, k) int64, other classes that an utterance is not compared with, -1 for none; None: no such.
        unlabelled: (classes,) bool, classes that may hold the speaker of an utterance whose label is not trusted: their
            pairs with it weigh `weight` as well; None: no such. A softmax leaves the whole utterance out already.
    """

    weight: Tensor
    ignored: Tensor | None = None
    unlabelled: Tensor | None = None

    def to(self, device: torch.device) -> "Confidence":
        """Copy to a device, without waiting for it."""
        return Confidence(*(None if part is None else send(part, device) for part in self))  # type: ignore[arg-type]

    def gathered(self, part: HeadPart) -> "Confidence":
        """Return the confidence in the batches of all processes, with the classes counted from this process's first."""
        return Confidence(
            part.gather(self.weight),
            None if self.ignored is None else part.gather(self.ignored) - part.first,
            None if self.unlabelled is None else self.unlabelled[part.first : part.last],
        )

    def pair_weight(self, start: int, stop: int) -> Tensor | None:
        """Return the weights (batch, stop - start) of pairs with other classes from `start` on; None: all are 1."""
        if self.unlabelled is None:
            return None
        return torch.where(self.unlabelled[start:stop], self.weight.unsqueeze(1), 1)

    def leave_out(self, matrix: Tensor, start: int, value: float) -> None:
        """Lower the entries of ignored classes to `value`, in place.

        Args:
            matrix: (batch, some classes), the first of which is the class `start`.
            value: at most as high as any entry.
        """
        if self.ignored is not None and self.ignored.shape[1]:
            column = self.ignored - start
            there = (column >= 0) & (column < matrix.shape[1])
            lowest = torch.where(there, value, torch.inf).to(matrix.dtype)  # inf leaves an entry as it is
            matrix.scatter_reduce_(1, column.clamp(0, matrix.shape[1] - 1), lowest, "amin")
