"""Augmentation of training samples: drawn by (seed, epoch, item), read from folders of noise and impulse responses.

The draws are a function of these numbers alone. They are therefore the same for any number of workers or processes, and
in a training that is resumed.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sv.audio.files import Waveform
from sv.config import AugmentArgs
from sv.data.noises import RIR_TYPE, ClipFolders, around_peak, babble
from sv.data.sampling import Longs, uniform
from sv.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("clean", "reverb", "noise", "music", "babble")  # `Draws.kind` is an index into this
CLEAN, REVERB, NOISE, MUSIC, BABBLE = range(len(KINDS))
_SOURCE = {"noise": "noise", "music": "music", "babble": "speech"}  # type of the files that each kind is made of
# Streams of random numbers, apart from those of crops (0) and held-out speakers (101, 102)
_WHETHER, _WHICH, _SNR, _TALKERS = 11, 12, 13, 14
_FILE, _PLACE, _CHANNEL = 100_000, 200_000, 300_000  # plus the index of the file within a sample

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """Augmentation drawn for some samples.

    Attributes:
        kind: (samples,) indices into KINDS.
        snr_db: (samples,) dB; NaN where no noise is added.
        file: (samples, files) rows of the noises, or of the impulse responses if `kind` is REVERB; -1 for none.
        place: (samples, files) in [0, 1), relative start of the part that is read.
        channel: (samples, files) in [0, 1), relative index of the channel.
    """

    kind: Longs
    snr_db: Floats
    file: Longs
    place: Floats
    channel: Floats


class Augmenter:
    """Draw augmentation and read the noise and impulse responses for it.

    Args:
        args: weights and ranges.
        folders: folders of noise and impulse responses; types without files are not drawn.
        prob: probability that a sample is augmented.
        seed: seed of the draws.
        sample_rate: Hz.

    Attributes:
        shares: (kinds,) probability of each kind.

    Raises:
        UserError: `prob` is above 0 but there is nothing to augment with, or a range has its higher value first;
            see also `Clips`.
    """

    def __init__(self, args: AugmentArgs, folders: ClipFolders, *, prob: float, seed: int, sample_rate: int) -> None:
        self.args, self.seed = args, seed
        self.noises, self.rirs = folders.open(sample_rate) if prob else (None, None)
        weights = np.array([0.0] + [getattr(args, kind) if self._has(kind) else 0.0 for kind in KINDS[1:]])
        if prob and not weights.any():
            wanted = [kind for kind in KINDS[1:] if getattr(args, kind)]
            raise UserError(
                f"nothing to augment with: the types that have a weight are {', '.join(wanted) or 'none'}, and none of "
                f"them is in noise_data ({folders.noise or 'none'}) or reverb_data ({folders.rir or 'none'}); "
                "give such folders, or do without (in training: dataset_args.aug_prob=0)"
            )
        self.shares = weights * prob / max(weights.sum(), 1e-300)
        self.shares[CLEAN] = 1 - prob
        ranges = ("noise_snr", "music_snr", "babble_snr", "babble_speakers")
        if wrong := next((name for name in ranges if getattr(args, name)[0] > getattr(args, name)[1]), ""):
            raise UserError(f"augment_args.{wrong} is {getattr(args, wrong)}; the lower value comes first")

    def _has(self, kind: str) -> bool:
        if kind == "reverb":
            return self.rirs is not None
        return self.noises is not None and _SOURCE[kind] in self.noises.of_type

    @property
    def kinds(self) -> list[str]:
        """List the kinds that may be drawn, except clean."""
        return [kind for kind, share in zip(KINDS[1:], self.shares[1:], strict=True) if share > 0]

    def draw(self, items: Longs, epoch: int, kind: int | None = None) -> Draws:
        """Draw augmentation; that of a sample depends on its own number alone.

        Args:
            items: (samples,) numbers of the samples.
            epoch: each epoch has its own draws.
            kind: use this kind for all samples instead of drawing it.
        """
        most = self.args.babble_speakers[1]
        kinds = self._kinds(items, epoch) if kind is None else np.full(len(items), kind)
        low, high = self._snr_ranges()
        snr_db = low[kinds] + (high - low)[kinds] * uniform(self.seed, epoch, items, _SNR)
        file, place, channel = (
            uniform(self.seed, epoch, items, stream + np.arange(most)[:, None]).T
            for stream in (_FILE, _PLACE, _CHANNEL)
        )
        return Draws(kinds, snr_db, self._files(kinds, file, items, epoch), place, channel)

    def _kinds(self, items: Longs, epoch: int) -> Longs:
        whether = uniform(self.seed, epoch, items, _WHETHER)
        which = uniform(self.seed, epoch, items, _WHICH)
        prob = 1 - self.shares[CLEAN]
        edges = np.cumsum(self.shares[1:] / max(prob, 1e-300))
        edges[np.flatnonzero(self.shares[1:])[-1:]] = 1.0  # against rounding
        chosen = 1 + np.searchsorted(edges, which, side="right").clip(max=len(KINDS) - 2)
        return np.where(whether < prob, chosen, CLEAN)

    def _snr_ranges(self) -> tuple[Floats, Floats]:
        nothing = [float("nan")] * 2
        ranges = np.array([nothing, nothing, self.args.noise_snr, self.args.music_snr, self.args.babble_snr])
        return ranges[:, 0], ranges[:, 1]

    def _files(self, kinds: Longs, draws: Floats, items: Longs, epoch: int) -> Longs:
        """Turn draws in [0, 1) into rows of files, (samples, files)."""
        files: Longs = np.full(draws.shape, -1, dtype=np.int64)
        for kind in set(kinds.tolist()) - {CLEAN}:
            rows = np.flatnonzero(kinds == kind)
            clips = self.rirs if kind == REVERB else self.noises
            assert clips is not None, "a kind without files has weight 0"
            ours = clips.of_type[RIR_TYPE if kind == REVERB else _SOURCE[KINDS[kind]]]
            files[rows] = ours[distinct(draws[rows], len(ours))]
        few, many = self.args.babble_speakers
        talkers = few + (uniform(self.seed, epoch, items, _TALKERS) * (many - few + 1)).astype(np.int64)
        count = np.where(kinds == BABBLE, talkers, 1)
        files[np.arange(many) >= count[:, None]] = -1
        return files

    def noise(self, draws: Draws, sample: int, samples: int) -> Waveform:
        """Read the noise, music or babble of one sample: (samples,) float32, at any level."""
        assert self.noises is not None
        chosen = np.flatnonzero(draws.file[sample] >= 0)
        clips = [
            self.noises.read(int(draws.file[sample, n]), samples, draws.place[sample, n], draws.channel[sample, n])
            for n in chosen
        ]
        return clips[0] if len(clips) == 1 else babble(clips)

    def rir(self, draws: Draws, sample: int, samples: int) -> tuple[Waveform, int]:
        """Read the impulse response of one sample, see `around_peak`; return it and the index of its peak."""
        assert self.rirs is not None
        whole = self.rirs.whole(int(draws.file[sample, 0]), float(draws.channel[sample, 0]))
        return around_peak(whole, samples)

    def augment(self, utt: str, waveform: "Tensor", kind: str | None = None) -> tuple["Tensor", str]:
        """Augment a whole utterance; the draws depend on its id alone.

        Args:
            waveform: (1, samples).
            kind: one of KINDS, not "clean"; None: one is drawn, and `prob` must be 1.

        Returns:
            (1, samples), and a description, see `describe`.
        """
        import torch  # takes seconds to load, and a plan needs only the files

        from sv.audio.augment import add_noise, reverberate

        samples = waveform.shape[1]
        item = int.from_bytes(hashlib.sha256(utt.encode()).digest()[:8], "little", signed=True)
        draws = self.draw(np.array([item]), 0, KINDS.index(kind) if kind else None)
        if draws.kind[0] == REVERB:
            rir, peak = self.rir(draws, 0, samples)
            waveform = reverberate(waveform, torch.from_numpy(rir)[None], torch.tensor([peak]))
        else:
            noise = torch.from_numpy(self.noise(draws, 0, samples))[None]
            waveform = add_noise(waveform, noise, torch.from_numpy(draws.snr_db).float())
        return waveform, self.describe(draws, 0)

    def fingerprint(self) -> str:
        """Concatenate the SHA-256 of the ids of noises and that of impulse responses."""
        return "".join(clips.fingerprint() for clips in (self.noises, self.rirs) if clips is not None)

    def file_fingerprint(self) -> str:
        """Concatenate the checksums of their files, see `Clips.file_fingerprint`."""
        return "".join(clips.file_fingerprint() for clips in (self.noises, self.rirs) if clips is not None)

    def describe(self, draws: Draws, sample: int) -> str:
        """Describe one sample's augmentation, as in "noise 7.31 noise/free-sound/0000.wav"."""
        kind = int(draws.kind[sample])
        clips = self.rirs if kind == REVERB else self.noises
        names = [] if clips is None else [clips.ids[row] for row in draws.file[sample] if row >= 0]
        snr = [] if np.isnan(draws.snr_db[sample]) else [f"{draws.snr_db[sample]:.2f}"]
        return " ".join([KINDS[kind], *snr, *names])

    def statistics(self, draws: Draws) -> dict[str, float]:
        """Return the share of each kind in percent, and the mean SNR in dB of kinds that have one."""
        found = {f"{kind}_percent": 100 * float(np.mean(draws.kind == n)) for n, kind in enumerate(KINDS)}
        for number in (NOISE, MUSIC, BABBLE):
            if (draws.kind == number).any():
                found[f"{KINDS[number]}_snr"] = float(draws.snr_db[draws.kind == number].mean())
        return found


def distinct(draws: Floats, count: int) -> Longs:
    """Turn draws in [0, 1) into numbers below `count`; each row repeats no number before all have occurred in it.

    Args:
        draws: (rows, n); the n-th picks one of the numbers that are left.
        count: how many numbers there are.

    Returns:
        (rows, n).
    """
    chosen = np.empty(draws.shape, dtype=np.int64)
    for n in range(draws.shape[1]):
        begun = n - n % count  # all numbers are available again from here on
        number = (draws[:, n] * (count - (n - begun))).astype(np.int64)
        for earlier in np.sort(chosen[:, begun:n], axis=1).T:
            number += number >= earlier
        chosen[:, n] = number
    return chosen
