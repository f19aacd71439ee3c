"""A head split over processes: each owns the weight vectors of some speakers, and sees the embeddings of all.

SphereFace2 needs two exchanges: embeddings are gathered; then losses and embedding gradients, which are plain sums over
the speakers, are reduced at the same time. A softmax needs one more in between, since every logit's gradient needs the
sum over all speakers (`softmax_head.py`).

Gradients with respect to this process's embeddings are multiplied by the number of processes, because
DistributedDataParallel takes the mean over the processes. Gradients of the weight vectors need no exchange.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class HeadPart:
    """The part of one process: rows `first` to `last` - 1 of all parameters that have a row for each speaker.

    Args:
        rank, size: number of the process, and number of processes.
        num_speakers: number of speakers of the whole head.
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
        """Gather embeddings (size * batch, dim) and speakers of all processes, at the same time; no gradients."""
        everyone, arriving = self.start_gather(embedding)
        speakers = self.gather(speaker)
        arriving.wait()
        return everyone, speakers

    def start_sum(self, rows: Tensor) -> tuple[Tensor, dist.Work]:
        """Start to sum (size * n, ...) over the processes; n rows arrive here once the work is done."""
        mine = rows.new_empty(len(rows) // self.size, *rows.shape[1:])
        return mine, dist.reduce_scatter_tensor(mine, rows.contiguous(), async_op=True)


def entries(matrix: Tensor, column: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return index and values for scatter: value[i] at matrix[i, column[i]], nothing new where there is no such column.

    This way no process, and no GPU, is asked which utterances have such a column.
    """
    present = (column >= 0) & (column < matrix.shape[1])
    index = column.clamp(0, matrix.shape[1] - 1).unsqueeze(1)  # (batch, 1)
    return index, torch.where(present.unsqueeze(1), value.unsqueeze(1), matrix.gather(1, index))
