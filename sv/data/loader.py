"""Batches, read ahead in the background.

Threads are used, not processes: reading and arithmetic release Python's lock, threads share headers and open files,
nothing is copied between processes, and nothing outlives the training (bench/loader.py compares). A batch depends on
its epoch and step alone, so the number of threads changes only the speed.
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
from sv.data.voiced import VoicedReader


@dataclass(frozen=True)
class Batch:
    """The samples of one process in one step.

    Attributes:
        features: (batch, frames, mels) float32.
        speaker: (batch,) int64.
        utts: (batch,) draws of the sampler, see `rows_of`.
    """

    features: Tensor
    speaker: Tensor
    utts: Longs

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch, as features, to a device."""
        features = self.features.to(device, non_blocking=True)
        return Batch(features, self.speaker.to(device, non_blocking=True), self.utts)

    def pin(self) -> "Batch":
        """Copy the batch to page-locked memory, from which copies to a GPU are faster."""
        return Batch(self.features.pin_memory(), self.speaker.pin_memory(), self.utts)


class Dataset(Protocol):
    """Makes batches of the draws of a sampler."""

    def batch(self, utts: Longs, epoch: int) -> Batch:
        """Make the batch of some draws, (batch,). Raise UserError if an utterance cannot be read."""
        ...

    def statistics(self, utts: Longs, epoch: int) -> dict[str, float]:
        """Return figures of the augmentation of these draws in an epoch, by name."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of whatever else decides the batches, beside index and configuration; "" if nothing does."""
        ...


class ArkDataset:
    """Crops of features from arks; where a crop begins is drawn from (seed, epoch, draw).

    Args:
        reader: reads the features.
        num_frms: frames of a crop.
        seed: seed of the positions.
        center: subtract the mean over the crop.
        spec_aug: settings of SpecAugment; None for none.
    """

    def __init__(
        self,
        reader: ArkReader | VoicedReader,
        *,
        num_frms: int,
        seed: int,
        center: bool = True,
        spec_aug: SpecAugArgs | None = None,
    ) -> None:
        self.reader, self.num_frms, self.seed, self.center = reader, num_frms, seed, center
        self.spec_aug = spec_aug

    def batch(self, utts: Longs, epoch: int) -> Batch:
        """Read crops and apply SpecAugment: features (batch, num_frms, mels)."""
        index = self.reader.index
        rows = rows_of(utts)
        starts = crop_starts(index.num_frames[rows], self.num_frms, uniform(self.seed, epoch, utts))
        features = self.reader.crops(rows, starts, self.num_frms, center=self.center)
        shape = (self.num_frms, self.reader.num_mels)
        bands = draw_bands(self.spec_aug, *shape, seed=self.seed, epoch=epoch, items=utts)
        speaker = torch.from_numpy(index.speaker[rows].astype("int64"))
        return Batch(hide(torch.from_numpy(features), bands), speaker, utts)

    def statistics(self, utts: Longs, epoch: int) -> dict[str, float]:
        """Return no figures: arks are not augmented while they are read."""
        return {}

    def fingerprint(self) -> str:
        """Return "": index and configuration decide the batches."""
        return ""


class Loader:
    """Iterates over the batches of an epoch, from any step on, and reads ahead in threads.

    Args:
        dataset: makes batches.
        sampler: chooses the utterances of each.
        num_workers: threads that read ahead; 0 reads on demand.
        prefetch: batches that each thread reads ahead.
        process: rank of this process and number of processes.
        pin: copy batches to page-locked memory, see `Batch.pin`.

    Raises:
        UserError: the processes cannot share a step evenly.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        *,
        num_workers: int = 1,
        prefetch: int = 4,
        process: tuple[int, int] = (0, 1),
        pin: bool = False,
    ) -> None:
        sampler.check_processes(process[1])
        self.dataset, self.sampler, self.process, self.pin = dataset, sampler, process, pin
        self._depth = num_workers * prefetch
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="loader") if num_workers else None

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Iterate over the batches from `first_step` to the end of the epoch; errors of threads are raised here."""
        steps = range(first_step, self.sampler.steps)
        wanted = (self.sampler.step(epoch, step, *self.process) for step in steps)
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
        """Return figures of the augmentation of an epoch, over all processes, by name."""
        steps = [self.sampler.step(epoch, step) for step in range(self.sampler.steps)]
        return self.dataset.statistics(np.concatenate(steps), epoch)

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _make(self, utts: Longs, epoch: int) -> Batch:
        batch = self.dataset.batch(utts, epoch)
        return batch.pin() if self.pin else batch
