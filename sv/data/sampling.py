"""Samplers: which utterances make a step; and random numbers that depend only on where they are used."""

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sv.config import DataloaderArgs
from sv.data.utt_index import UttIndex
from sv.errors import UserError

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Draws = TypeVar("Draws", int, Longs)

_VISIT = 1 << 32  # draw = row of the index + _VISIT * earlier visits to it in this epoch
_LENGTH_NOISE = 0.1  # of the natural logarithm: a batch mixes lengths within about 10 %


def uniform(seed: int, epoch: int, items: Longs, stream: int | Longs = 0) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each item, (n,): a hash of (seed, stream, epoch, item).

    Several streams give (streams, n). The hash is the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable
    pseudorandom number generators", 2014), applied after each word; the top 53 bits are the number.

    Args:
        items: (n,) any integers: draws of a sampler, or positions in the epoch.
        stream: number of the purpose, or (streams, 1) numbers; different streams are independent.
    """
    state: NDArray[np.uint64] = np.zeros(1, dtype=np.uint64)
    for word in (seed, stream, epoch, items):
        state = _mix(state + np.asarray(word).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass
class Sampler:
    """Chooses the utterances of each step: the next `global_batch` draws of the epoch, shared among processes.

    The draws of an epoch depend on (seed, epoch) alone. Training can therefore resume in mid-epoch, and a step sees the
    same utterances with any number of processes.

    A draw is a row of the index. If a sampler visits a row again in an epoch, the upper half of the draw counts the
    visits: `uniform` then gives it other numbers, thus another crop, and `rows_of` gives the row.

    Args:
        utts: rows of the index to train on.
        global_batch: samples of a step, over all processes.
        seed: seed of the order.
        per_epoch: samples of an epoch, at most the number of utterances; 0 for that many.

    Attributes:
        steps: number of steps of an epoch; an incomplete last batch is left out.

    Raises:
        UserError: fewer utterances than a batch.
    """

    utts: Longs
    global_batch: int
    seed: int
    per_epoch: int = 0
    _order: tuple[int, Longs] = field(default=(-1, np.empty(0, np.int64)), init=False, repr=False)

    def __post_init__(self) -> None:
        self.steps = min(self.per_epoch or len(self.utts), len(self.utts)) // self.global_batch
        if not self.steps:
            raise UserError(
                f"{len(self.utts)} utterances to train on, fewer than a batch of {self.global_batch}; "
                "set a smaller dataloader_args.batch_size or fewer processes"
            )

    def step(self, epoch: int, step: int, rank: int = 0, world: int = 1) -> Longs:
        """Return the draws of process `rank` of `world` in one step: (global_batch / world,)."""
        if self._order[0] != epoch:
            key = np.array([self.seed, epoch]).astype(np.uint64)
            self._order = (epoch, self._draws(np.random.Generator(np.random.Philox(key=key))))
        share = self.global_batch // world
        first = step * self.global_batch + rank * share
        return self._order[1][first : first + share]

    def check_processes(self, world: int) -> None:
        """Raise UserError if `world` processes cannot share a step evenly."""
        if self.global_batch % world:
            raise UserError(
                f"{world} processes cannot share batches of {self.global_batch} evenly; start another number"
            )

    def _draws(self, rng: np.random.Generator) -> Longs:
        """Return the draws of an epoch: (steps * global_batch,), or more."""
        raise NotImplementedError


def rows_of(draws: Draws) -> Draws:
    """Return the rows of the index that were drawn; for a single draw, its row."""
    return draws % _VISIT


def another_visit(draw: int, batch: Longs) -> int:
    """Return `draw`, or the first later visit to its row that is not in the batch yet."""
    while draw in batch:
        draw += _VISIT
    return draw


@dataclass
class UtteranceSampler(Sampler):
    """Draws every utterance once per epoch, in random order; an incomplete last batch is left out."""

    def _draws(self, rng: np.random.Generator) -> Longs:
        return rng.permutation(self.utts)


@dataclass
class ShareSampler(Sampler):
    """Draws a fixed share of each batch from some utterances, and the rest from the others.

    Both kinds are drawn in random order, and again from the start when all were drawn. An epoch has as many steps as if
    each utterance were drawn once.

    Args: those of `Sampler`, and
        chosen: (len(utts),) bool, which utterances get the share.
        share: their share of a batch, over all processes.

    Raises:
        UserError: all utterances are of one kind, or a batch is too small for both.
    """

    chosen: NDArray[np.bool_] = field(kw_only=True)
    share: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._count = round(self.share * self.global_batch)
        if not 0 < self._count < self.global_batch:
            raise UserError(
                f"a batch of {self.global_batch} with a share of {self.share:g} labelled has {self._count} of them; "
                "it takes one or more of each kind: change pseudo_args.labelled_share or dataloader_args.batch_size"
            )
        if self.chosen.all() or not self.chosen.any():
            kind = "labelled" if self.chosen.all() else "pseudo-labelled"
            raise UserError(f"all {len(self.utts)} utterances are {kind}; set pseudo_args.labelled_share=0")

    def _draws(self, rng: np.random.Generator) -> Longs:
        parts = ((self.utts[self.chosen], self._count), (self.utts[~self.chosen], self.global_batch - self._count))
        batches = [self._passes(rng, utts, self.steps * count).reshape(self.steps, count) for utts, count in parts]
        return rng.permuted(np.concatenate(batches, axis=1), axis=1).ravel()

    @staticmethod
    def _passes(rng: np.random.Generator, utts: Longs, size: int) -> Longs:
        """Return `size` draws: all utterances in random order, then all again as their next visits, and so on."""
        passes = -(-size // len(utts))
        draws = rng.permuted(np.tile(utts, (passes, 1)), axis=1) + _VISIT * np.arange(passes)[:, None]
        return draws.ravel()[:size]


@dataclass
class LengthSampler(Sampler):
    """Draws every utterance once per epoch, in batches of similar length, in random order.

    Lengths are perturbed by a tenth before they are sorted, so that batches differ from epoch to epoch.

    Args: those of `Sampler`, and
        num_frames: (len(utts),) lengths in frames.
    """

    num_frames: Ints = field(kw_only=True)

    def _draws(self, rng: np.random.Generator) -> Longs:
        taken = rng.permutation(len(self.utts))[: self.steps * self.global_batch]
        length = np.log(self.num_frames[taken]) + _LENGTH_NOISE * rng.random(len(taken))
        batches = self.utts[taken[np.argsort(length)]].reshape(self.steps, self.global_batch)
        return rng.permuted(batches[rng.permutation(self.steps)], axis=1).ravel()


@dataclass
class SpeakerSampler(Sampler):
    """Draws every speaker equally often: one utterance of each in random order, then another of each.

    A speaker's utterances are drawn in random order, and again from the start when all were drawn.

    Args: those of `Sampler`, and
        speaker: (len(utts),) number of the speaker.
    """

    speaker: Ints = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._counts = np.unique(self.speaker, return_counts=True)[1].astype(np.int64)  # utterances, by speaker
        self._first = np.cumsum(self._counts) - self._counts  # of each speaker, among utterances sorted by speaker

    def _draws(self, rng: np.random.Generator) -> Longs:
        size, speakers = self.steps * self.global_batch, len(self._counts)
        everyone = self._rounds(rng, -(-size // speakers)).ravel()[:size]
        return self._visit(rng, everyone, np.arange(size) // speakers)

    def _rounds(self, rng: np.random.Generator, number: int) -> Longs:
        """Return `number` rounds, each with all speakers in random order: (number, speakers)."""
        return rng.permuted(np.tile(np.arange(len(self._counts)), (number, 1)), axis=1)

    def _visit(self, rng: np.random.Generator, speaker: Longs, visit: Longs) -> Longs:
        """Return draws of speakers at their visits 0, 1, ... of the epoch; all three have one shape."""
        shuffled = rng.permutation(len(self.utts))
        by_speaker = self.utts[shuffled[np.argsort(self.speaker[shuffled], kind="stable")]]
        passes, place = np.divmod(visit, self._counts[speaker])
        return by_speaker[self._first[speaker] + place] + _VISIT * passes


@dataclass
class GroupSampler(SpeakerSampler):
    """Draws P speakers x K utterances per step, for losses that compare the utterances of a batch.

    The K utterances of a speaker are adjacent and go to one process. The speakers of a step differ. Each round deals
    all speakers out to steps in random order; speakers left over are skipped in this round. A speaker with fewer than
    K utterances repeats some, with other crops.

    Args: those of `SpeakerSampler`, and
        group: K; P is global_batch / K.

    Raises:
        UserError: K below 2, a batch that is no multiple of K, or fewer than P speakers.
    """

    group: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group < 2:
            raise UserError(f"dataloader_args.utts_per_speaker (K) is {self.group}; it must be at least 2")
        if self.global_batch % self.group:
            raise UserError(
                f"a batch of {self.global_batch} is no multiple of {self.group} utterances a speaker; "
                "change dataloader_args.batch_size or dataloader_args.utts_per_speaker"
            )
        if self.global_batch // self.group > len(self._counts):
            raise UserError(
                f"a batch of {self.global_batch} is {self.global_batch // self.group} speakers x {self.group} "
                f"utterances, and there are {len(self._counts)} speakers; set a smaller dataloader_args.batch_size, "
                "fewer processes or a larger dataloader_args.utts_per_speaker"
            )

    def check_processes(self, world: int) -> None:
        if self.global_batch % (world * self.group):
            raise UserError(
                f"{world} processes cannot share batches of {self.global_batch // self.group} speakers x {self.group} "
                "utterances evenly; start another number"
            )

    def _draws(self, rng: np.random.Generator) -> Longs:
        speakers, rounds_of = self.global_batch // self.group, len(self._counts) // (self.global_batch // self.group)
        rounds = self._rounds(rng, -(-self.steps // rounds_of))[:, : rounds_of * speakers]
        chosen = rounds.reshape(-1, speakers, 1)[: self.steps]  # (steps, P, 1)
        first_visit = np.arange(self.steps)[:, None, None] // rounds_of * self.group
        return self._visit(rng, chosen, first_visit + np.arange(self.group)).ravel()


def build_sampler(
    args: DataloaderArgs, index: UttIndex, utts: Longs, global_batch: int, *, seed: int, per_epoch: int = 0
) -> Sampler:
    """Build the sampler that a configuration names.

    Args:
        args: resolved, so that `sampler` is not "auto".
        index: utterances and their speakers.
        utts, global_batch, seed, per_epoch: see `Sampler`.

    Raises:
        UserError: too few utterances or speakers for a batch; for pxk, a batch that is no multiple of K.
    """
    name, speaker = args.sampler, index.speaker[utts]
    if name == "utterance":
        return UtteranceSampler(utts, global_batch, seed, per_epoch)
    if name == "length":
        return LengthSampler(utts, global_batch, seed, per_epoch, num_frames=index.num_frames[utts])
    if name == "speaker":
        return SpeakerSampler(utts, global_batch, seed, per_epoch, speaker=speaker)
    assert name == "pxk", f"a resolved configuration names its sampler, not {name!r}"
    return GroupSampler(utts, global_batch, seed, per_epoch, speaker=speaker, group=args.utts_per_speaker)
