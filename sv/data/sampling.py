"""Which utterances make a step, and random numbers that depend on where they are used and on nothing else."""

from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sv.data.utt_index import UttIndex
from sv.errors import UserError

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Draws = TypeVar("Draws", int, Longs)
SamplerName = Literal["utterance", "speaker", "pxk", "length"]

_VISIT = 1 << 32  # draw = row of the index + _VISIT * times that the sampler came to it before
_LENGTH_NOISE = 0.1  # of the natural logarithm: utterances within about 10 % of one length meet in a batch


def uniform(seed: int, epoch: int, items: Longs, stream: int = 0) -> NDArray[np.float64]:
    """One number in [0, 1) for each item: a hash of (seed, stream, epoch, item), the same wherever it is asked for.

    The hash is the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
    2014), applied after each word; the top 53 bits are the number.

    Args:
        items: (n,) any integers: draws of a sampler, or places in the epoch.
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
class Sampler:
    """Which utterances make a step: the next `global_batch` draws of the epoch; process r of w takes its share.

    The draws of an epoch depend on (seed, epoch) alone. So training goes on in mid-epoch as it would have, and a step
    sees the same set whatever the number of processes.

    A draw is a row of the index. Where a sampler comes to a row again in an epoch, the upper half of the draw counts
    how often it did: `uniform` gives every draw numbers of its own, thus another crop, and `rows_of` gives the row.

    Args:
        utts: rows of the index that are trained on.
        global_batch: samples of a step over all processes.
        seed: of the order.
        per_epoch: samples of an epoch; 0 for as many as there are utterances, which is the most.
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
        """Draws of one process in one step; (global_batch / world,)."""
        if self._order[0] != epoch:
            key = np.array([self.seed, epoch]).astype(np.uint64)
            self._order = (epoch, self._draws(np.random.Generator(np.random.Philox(key=key))))
        share = self.global_batch // world
        first = step * self.global_batch + rank * share
        return self._order[1][first : first + share]

    def check_processes(self, world: int) -> None:
        """Raise UserError if `world` processes can not share a step."""
        if self.global_batch % world:
            raise UserError(
                f"{world} processes can not share batches of {self.global_batch} evenly; start another number"
            )

    def _draws(self, rng: np.random.Generator) -> Longs:
        """The draws of an epoch; (steps * global_batch,), or more."""
        raise NotImplementedError


def rows_of(draws: Draws) -> Draws:
    """The rows of the index that were drawn; of one draw, its row."""
    return draws % _VISIT


def another_visit(draw: int, batch: Longs) -> int:
    """A draw of the same row that is not among those of the batch: itself, or a later visit."""
    while draw in batch:
        draw += _VISIT
    return draw


@dataclass
class UtteranceSampler(Sampler):
    """Every utterance once an epoch, in any order; a last part of a batch is left out."""

    def _draws(self, rng: np.random.Generator) -> Longs:
        return rng.permutation(self.utts)


@dataclass
class LengthSampler(Sampler):
    """Every utterance once an epoch, in batches of much the same length, which come in any order.

    The lengths are blurred by a tenth before they are sorted, so that other utterances meet in each epoch.

    Args: as of `Sampler`, and
        num_frames: (len(utts),) lengths.
    """

    num_frames: Ints = field(kw_only=True)

    def _draws(self, rng: np.random.Generator) -> Longs:
        taken = rng.permutation(len(self.utts))[: self.steps * self.global_batch]
        length = np.log(self.num_frames[taken]) + _LENGTH_NOISE * rng.random(len(taken))
        batches = self.utts[taken[np.argsort(length)]].reshape(self.steps, self.global_batch)
        return rng.permuted(batches[rng.permutation(self.steps)], axis=1).ravel()


@dataclass
class SpeakerSampler(Sampler):
    """Every speaker equally often: one utterance of each in any order, then another of each.

    A speaker's utterances come in any order, and again when all have come.

    Args: as of `Sampler`, and
        speaker: (len(utts),) who speaks.
    """

    speaker: Ints = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._counts = np.unique(self.speaker, return_counts=True)[1].astype(np.int64)  # utterances, by speaker
        self._first = np.cumsum(self._counts) - self._counts  # of each speaker, where utterances stand by speaker

    def _draws(self, rng: np.random.Generator) -> Longs:
        size, speakers = self.steps * self.global_batch, len(self._counts)
        everyone = self._rounds(rng, -(-size // speakers)).ravel()[:size]
        return self._visit(rng, everyone, np.arange(size) // speakers)

    def _rounds(self, rng: np.random.Generator, number: int) -> Longs:
        """All speakers in any order, again and again; (number, speakers)."""
        return rng.permuted(np.tile(np.arange(len(self._counts)), (number, 1)), axis=1)

    def _visit(self, rng: np.random.Generator, speaker: Longs, visit: Longs) -> Longs:
        """Draws of speakers at their visit number 0, 1, ... of the epoch; both of any shape, and so is the result."""
        shuffled = rng.permutation(len(self.utts))
        by_speaker = self.utts[shuffled[np.argsort(self.speaker[shuffled], kind="stable")]]
        passes, place = np.divmod(visit, self._counts[speaker])
        return by_speaker[self._first[speaker] + place] + _VISIT * passes


@dataclass
class GroupSampler(SpeakerSampler):
    """P speakers x K utterances a step, for losses that compare the utterances of a batch.

    The K of a speaker stand side by side and go to one process. The speakers of a step are different ones; each round
    deals all speakers out to steps in any order, and those who do not fill a step sit it out. A speaker with fewer
    than K utterances gives some of them again, with other crops.

    Args: as of `SpeakerSampler`, and
        group: K; P is global_batch / K.
    """

    group: int = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group < 2:
            raise UserError(f"dataloader_args.utts_per_speaker (K) is {self.group}; groups take 2 or more")
        if self.global_batch % self.group:
            raise UserError(
                f"a batch of {self.global_batch} is no multiple of {self.group} utterances a speaker; "
                "mend dataloader_args.batch_size or dataloader_args.utts_per_speaker"
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
                f"{world} processes can not share batches of {self.global_batch // self.group} speakers x {self.group} "
                "utterances evenly; start another number"
            )

    def _draws(self, rng: np.random.Generator) -> Longs:
        speakers, rounds_of = self.global_batch // self.group, len(self._counts) // (self.global_batch // self.group)
        rounds = self._rounds(rng, -(-self.steps // rounds_of))[:, : rounds_of * speakers]
        chosen = rounds.reshape(-1, speakers, 1)[: self.steps]  # (steps, P, 1)
        first_visit = np.arange(self.steps)[:, None, None] // rounds_of * self.group
        return self._visit(rng, chosen, first_visit + np.arange(self.group)).ravel()


def build_sampler(
    name: SamplerName,
    index: UttIndex,
    utts: Longs,
    global_batch: int,
    seed: int,
    *,
    per_epoch: int = 0,
    utts_per_speaker: int = 2,
) -> Sampler:
    """The sampler `name` of the rows `utts` of an index.

    Raises:
        UserError: too few utterances or speakers for a batch; for pxk, a batch that is no multiple of K.
    """
    speaker = index.speaker[utts]
    if name == "utterance":
        return UtteranceSampler(utts, global_batch, seed, per_epoch)
    if name == "length":
        return LengthSampler(utts, global_batch, seed, per_epoch, num_frames=index.num_frames[utts])
    if name == "speaker":
        return SpeakerSampler(utts, global_batch, seed, per_epoch, speaker=speaker)
    assert name == "pxk", name
    return GroupSampler(utts, global_batch, seed, per_epoch, speaker=speaker, group=utts_per_speaker)
