"""Batches, read ahead in the background.

Threads, not processes: reading and arithmetic release Python's lock, headers and open files are shared, nothing is
copied between processes, and nothing outlives the training (bench/loader.py compares). A batch depends on its epoch and
step alone, so the number of threads changes nothing but the speed.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sv.config import SpecAugArgs
from sv.data.ark_reader import ArkReader, crop_starts
from sv.data.sampling import Longs, Sampler, rows_of, uniform
from sv.data.spec_augment import draw_bands, hide


@dataclass(frozen=True)
class Batch:
    """What one process trains on in one step.

    Attributes:
        features: (batch, frames, mels) float32.
        speaker: (batch,) int64.
        utts: (batch,) draws of the sampler, from which `rows_of` gives the rows of the index.
    """

    features: Tensor
    speaker: Tensor
    utts: Longs

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, as features."""
        features = self.features.to(device, non_blocking=True)
        return Batch(features, self.speaker.to(device, non_blocking=True), self.utts)

    def pin(self) -> "Batch":
        """The batch in page-locked memory, for copies to a GPU."""
        return Batch(self.features.pin_memory(), self.speaker.pin_memory(), self.utts)


class Dataset(Protocol):
    """Makes the batch of given draws (`sv.data.sampling`)."""

    def batch(self, utts: Longs, epoch: int) -> Batch: ...

    def statistics(self, utts: Longs, epoch: int) -> dict[str, float]:
        """What is done to these utterances in an epoch, by name."""
        ...

    def fingerprint(self) -> str:
        """Of all that decides the batches beside the index and the configuration; "" for nothing."""
        ...


class ArkDataset:
    """Crops from arks, at a random place of each utterance drawn from (seed, epoch, draw of the utterance).

    Args:
        reader: of the frames.
        num_frms: frames of a crop.
        seed: of the places.
        center: subtract the mean over the crop.
        spec_aug: SpecAugment, if any.
    """

    def __init__(
        self,
        reader: ArkReader,
        *,
        num_frms: int,
        seed: int,
        center: bool = True,
        spec_aug: SpecAugArgs | None = None,
    ) -> None:
        self.reader, self.num_frms, self.seed, self.center = reader, num_frms, seed, center
        self.spec_aug = spec_aug

    def batch(self, utts: Longs, epoch: int) -> Batch:
        index = self.reader.index
        rows = rows_of(utts)
        starts = crop_starts(index.num_frames[rows], self.num_frms, uniform(self.seed, epoch, utts))
        features = self.reader.crops(rows, starts, self.num_frms, center=self.center)
        shape = (self.num_frms, self.reader.num_mels)
        bands = draw_bands(self.spec_aug, *shape, seed=self.seed, epoch=epoch, items=utts)
        speaker = torch.from_numpy(index.speaker[rows].astype("int64"))
        return Batch(hide(torch.from_numpy(features), bands), speaker, utts)

    def statistics(self, utts: Longs, epoch: int) -> dict[str, float]:
        return {}

    def fingerprint(self) -> str:
        return ""


class Loader:
    """The batches of one epoch, from any step on.

    Args:
        dataset: makes batches.
        sampler: says of what.
        num_workers: threads that read ahead; 0 reads when asked.
        prefetch: batches read ahead by each.
        rank, world: this process's place among all.
        pin: put batches into page-locked memory, for copies to a GPU.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        *,
        num_workers: int = 1,
        prefetch: int = 4,
        rank: int = 0,
        world: int = 1,
        pin: bool = False,
    ) -> None:
        sampler.check_processes(world)
        self.dataset, self.sampler, self.rank, self.world, self.pin = dataset, sampler, rank, world, pin
        self._depth = num_workers * prefetch
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="loader") if num_workers else None

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Batches from `first_step` to the epoch's end; an error of a thread is raised here."""
        steps = range(first_step, self.sampler.steps)
        wanted = (self.sampler.step(epoch, step, self.rank, self.world) for step in steps)
        if self._pool is None:
            yield from (self._make(utts, epoch) for utts in wanted)
            return
        ahead: deque[Future[Batch]] = deque()
        try:
            for utts in wanted:
                ahead.append(self._pool.submit(self._make, utts, epoch))
                if len(ahead) > self._depth:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def statistics(self, epoch: int) -> dict[str, float]:
        """What is done to the utterances of an epoch, over all processes, by name."""
        steps = [self.sampler.step(epoch, step) for step in range(self.sampler.steps)]
        return self.dataset.statistics(np.concatenate(steps), epoch)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _make(self, utts: Longs, epoch: int) -> Batch:
        batch = self.dataset.batch(utts, epoch)
        return batch.pin() if self.pin else batch
