"""Which utterances make a step, and random numbers that depend on where they are used and on nothing else."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError

Longs = NDArray[np.int64]


def uniform(seed: int, epoch: int, items: Longs, stream: int = 0) -> NDArray[np.float64]:
    """One number in [0, 1) for each item: a hash of (seed, stream, epoch, item), the same wherever it is asked for.

    The hash is the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
    2014), applied after each word; the top 53 bits are the number.

    Args:
        items: (n,) any integers: utterances, or places in the epoch.
        stream: for what: another stream gives independent numbers.
    """
    state = np.zeros(len(items), dtype=np.uint64)
    for word in (seed, stream, epoch, items):
        state = _mix(state + np.asarray(word).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass
class UtteranceSampler:
    """Every utterance once an epoch, in an order drawn from (seed, epoch); a last part of a batch is left out.

    A step takes the next `global_batch` utterances of the order, and process r of w the r-th w-th of them, so a step
    sees the same set whatever the number of processes.

    Args:
        utts: rows of the index that are trained on.
        global_batch: samples of a step over all processes.
        seed: of the order.
        per_epoch: samples of an epoch; 0 for all.
    """

    utts: Longs
    global_batch: int
    seed: int
    per_epoch: int = 0
    _order: tuple[int, Longs] = field(default=(-1, np.empty(0, np.int64)), repr=False)

    def __post_init__(self) -> None:
        self.steps = min(self.per_epoch or len(self.utts), len(self.utts)) // self.global_batch
        if not self.steps:
            raise UserError(
                f"{len(self.utts)} utterances to train on, fewer than a batch of {self.global_batch}; "
                "set a smaller dataloader_args.batch_size or fewer processes"
            )

    def step(self, epoch: int, step: int, rank: int = 0, world: int = 1) -> Longs:
        """Utterances of one process in one step; (global_batch / world,) rows of the index."""
        if self._order[0] != epoch:
            self._order = (epoch, self._shuffled(epoch))
        share = self.global_batch // world
        first = step * self.global_batch + rank * share
        return self._order[1][first : first + share]

    def _shuffled(self, epoch: int) -> Longs:
        key = np.array([self.seed, epoch]).astype(np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).permutation(self.utts)
