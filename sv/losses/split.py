"""A head split over processes: each owns the weight vectors of some speakers, and sees the embeddings of all.

SphereFace2 needs two exchanges: embeddings are gathered; then losses and embedding gradients, which are plain sums over
the speakers, are reduced at the same time. A softmax needs two more in between, since every logit's gradient needs the
maximum and the sum over all speakers (`cross_entropy_of_parts`), and one more if the nearest of all speakers count in
another way (`AamIntertopk`).

Gradients with respect to this process's embeddings are multiplied by the number of processes, because
DistributedDataParallel takes the mean over the processes. Gradients of the weight vectors need no exchange.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class HeadPart:
    """The part of one process: rows `first` to `last` - 1 of all parameters that have a row for each speaker.

    Args:
        rank, size: number of the process, and number of processes.
        num_speakers: of the whole head.
    """

    rank: int
    size: int
    num_speakers: int

    @property
    def first(self) -> int:
        """Return the first row of this process."""
        return self.bounds(self.rank)[0]

    @property
    def last(self) -> int:
        """Return the row after this process's last."""
        return self.bounds(self.rank)[1]

    def bounds(self, rank: int) -> tuple[int, int]:
        """Return the first row of a process and the one after its last; shares differ by at most one row."""
        return rank * self.num_speakers // self.size, (rank + 1) * self.num_speakers // self.size

    def own(self, batch: int) -> slice:
        """Return the slice of this process's utterances among those of all; each process has `batch`."""
        return slice(self.rank * batch, (self.rank + 1) * batch)

    def start_gather(self, rows: Tensor) -> tuple[Tensor, dist.Work]:
        """Start to gather (n, ...) of each process into (size * n, ...), in the order of ranks; no gradients."""
        everyone = rows.new_empty(self.size * len(rows), *rows.shape[1:])
        return everyone, dist.all_gather_into_tensor(everyone, rows.contiguous(), async_op=True)

    def gather(self, rows: Tensor) -> Tensor:
        """Gather (n, ...) of each process into (size * n, ...), in the order of ranks; no gradients."""
        everyone, arriving = self.start_gather(rows)
        arriving.wait()
        return everyone

    def gather_batch(self, embedding: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """Gather embeddings (size * batch, dim) and speakers of all processes, at the same time.

        The gradients of all processes are summed for the process that has the embedding.
        """
        everyone, speakers = _Gather.apply(embedding, speaker, self)
        return everyone, speakers

    def start_sum(self, rows: Tensor) -> tuple[Tensor, dist.Work]:
        """Start to sum (size * n, ...) over the processes; n rows arrive here once the work is done."""
        mine = rows.new_empty(len(rows) // self.size, *rows.shape[1:])
        return mine, dist.reduce_scatter_tensor(mine, rows.contiguous(), async_op=True)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedding: Tensor, speaker: Tensor, part: HeadPart) -> tuple[Tensor, Tensor]:
        ctx.part = part
        everyone, arriving = part.start_gather(embedding)
        speakers = part.gather(speaker)
        arriving.wait()
        ctx.mark_non_differentiable(speakers)
        return everyone, speakers

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        mine, arriving = ctx.part.start_sum(upstream)
        arriving.wait()
        return mine * ctx.part.size, None, None


def cross_entropy_of_parts(logits: Tensor, row: Tensor) -> Tensor:
    """Return losses (batch,) of a softmax over the speakers of all processes, equal in each process.

    Args:
        logits: (batch, rows) of this process's speakers, for the utterances of all processes.
        row: (batch,) of the true speaker, counted from this process's first; out of range where another has it.
    """
    return _CrossEntropy.apply(logits, row)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, row: Tensor) -> Tensor:
        top = logits.amax(dim=1)
        dist.all_reduce(top, dist.ReduceOp.MAX)
        shifted = (logits - top.unsqueeze(1)).exp_()
        sums = torch.stack([shifted.sum(dim=1), take(logits, row)])  # (2, batch)
        dist.all_reduce(sums)
        total, target = sums
        ctx.save_for_backward(shifted.div_(total.unsqueeze(1)), row)
        return total.log() + top - target

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        probability, row = ctx.saved_tensors
        grad = probability * upstream.unsqueeze(1)
        return grad.scatter_(1, *entries(grad, row, take(grad, row) - upstream)), None


def take(matrix: Tensor, column: Tensor) -> Tensor:
    """Return (batch,) matrix[i, column[i]], 0 where the column is out of range."""
    present = (column >= 0) & (column < matrix.shape[1])
    return matrix.gather(1, column.clamp(0, matrix.shape[1] - 1).unsqueeze(1)).squeeze(1).where(present, 0)


def entries(matrix: Tensor, column: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return index and values for scatter: value[i] at matrix[i, column[i]], nothing new where there is no such column.

    This way no process, and no GPU, is asked which utterances have such a column.
    """
    present = (column >= 0) & (column < matrix.shape[1])
    index = column.clamp(0, matrix.shape[1] - 1).unsqueeze(1)  # (batch, 1)
    return index, torch.where(present.unsqueeze(1), value.unsqueeze(1), matrix.gather(1, index))
