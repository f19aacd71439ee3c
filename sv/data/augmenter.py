"""What happens to each training sample: drawn by (seed, epoch, item), read from the folders of noise and rooms.

The draws are a function of these numbers alone, so that any number of workers or processes, and a training that goes on
after it was killed, apply the same.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sv.audio.files import Waveform
from sv.config import AugmentArgs
from sv.data.noises import NOISE_TYPES, RIR_TYPE, Clips, around_peak, babble
from sv.data.sampling import Longs, uniform
from sv.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("clean", "reverb", "noise", "music", "babble")  # a draw's `kind` is a place in this
CLEAN, REVERB, NOISE, MUSIC, BABBLE = range(len(KINDS))
_SOURCE = {"noise": "noise", "music": "music", "babble": "speech"}  # type of file that each is made of
# Streams of random numbers, apart from those of crops (0) and held-out speakers (101, 102)
_WHETHER, _WHICH, _SNR, _TALKERS = 11, 12, 13, 14
_FILE, _PLACE, _CHANNEL = 100_000, 200_000, 300_000  # plus the number of the file within a sample

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """What some samples get.

    Attributes:
        kind: (samples,) places in KINDS.
        snr_db: (samples,); NaN where no noise is added.
        file: (samples, files) rows of the noises, or of the impulse responses where `kind` is REVERB; -1 for none.
        place: (samples, files) in [0, 1), where the part of a file begins.
        channel: (samples, files) in [0, 1), which channel.
    """

    kind: Longs
    snr_db: Floats
    file: Longs
    place: Floats
    channel: Floats


class Augmenter:
    """Draws and reads.

    Args:
        args: weights and ranges.
        prob: that a sample is augmented.
        seed: of the draws.
        noises, rirs: folders of them; without one, its types are not drawn.

    Attributes:
        shares: (kinds,) probability of each.

    Raises:
        UserError: `prob` is above 0 and there is nothing to augment with; a range upside down; see Clips.
    """

    def __init__(
        self,
        args: AugmentArgs,
        *,
        prob: float,
        seed: int,
        sample_rate: int,
        noise_data: str | Path = "",
        reverb_data: str | Path = "",
        skip_bad: bool = False,
    ) -> None:
        self.args, self.seed = args, seed
        self.noises, self.rirs = (
            Clips(folder, types, sample_rate, skip_bad=skip_bad) if folder and prob else None
            for folder, types in ((noise_data, NOISE_TYPES), (reverb_data, (RIR_TYPE,)))
        )
        weights = np.array([0.0] + [getattr(args, kind) if self._has(kind) else 0.0 for kind in KINDS[1:]])
        if prob and not weights.any():
            wanted = [kind for kind in KINDS[1:] if getattr(args, kind)]
            raise UserError(
                f"nothing to augment with: the types that have a weight are {', '.join(wanted) or 'none'}, and none of "
                f"them is in noise_data ({noise_data or 'none'}) or reverb_data ({reverb_data or 'none'}); "
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
        """Those that may be drawn, but for clean."""
        return [kind for kind, share in zip(KINDS[1:], self.shares[1:], strict=True) if share > 0]

    def draw(self, items: Longs, epoch: int, kind: int | None = None) -> Draws:
        """What some samples get; each depends on its own number alone.

        Args:
            items: (samples,) numbers of the samples.
            epoch: another one gives other draws.
            kind: the same for all, instead of a draw.
        """
        most = self.args.babble_speakers[1]
        kinds = self._kinds(items, epoch) if kind is None else np.full(len(items), kind)
        low, high = self._snr_ranges()
        snr_db = low[kinds] + (high - low)[kinds] * uniform(self.seed, epoch, items, _SNR)
        file, place, channel = (
            np.stack([uniform(self.seed, epoch, items, stream + n) for n in range(most)], axis=1)
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
        """(samples, files) rows, from draws in [0, 1)."""
        files: Longs = np.full(draws.shape, -1, dtype=np.int64)
        for kind in set(kinds.tolist()) - {CLEAN}:
            rows = np.flatnonzero(kinds == kind)
            clips = self.rirs if kind == REVERB else self.noises
            assert clips is not None, "a type without a folder has no weight"
            ours = clips.of_type[RIR_TYPE if kind == REVERB else _SOURCE[KINDS[kind]]]
            files[rows] = ours[distinct(draws[rows], len(ours))]
        few, many = self.args.babble_speakers
        talkers = few + (uniform(self.seed, epoch, items, _TALKERS) * (many - few + 1)).astype(np.int64)
        count = np.where(kinds == BABBLE, talkers, 1)
        files[np.arange(many) >= count[:, None]] = -1
        return files

    def noise(self, draws: Draws, sample: int, samples: int) -> Waveform:
        """The noise, music or babble of one sample, of any level; (samples,) float32."""
        assert self.noises is not None
        chosen = np.flatnonzero(draws.file[sample] >= 0)
        clips = [
            self.noises.read(int(draws.file[sample, n]), samples, draws.place[sample, n], draws.channel[sample, n])
            for n in chosen
        ]
        return clips[0] if len(clips) == 1 else babble(clips)

    def rir(self, draws: Draws, sample: int, samples: int) -> tuple[Waveform, int]:
        """The impulse response of one sample, as far as it matters for `samples`, and the place of its peak."""
        assert self.rirs is not None
        whole = self.rirs.whole(int(draws.file[sample, 0]), float(draws.channel[sample, 0]))
        return around_peak(whole, samples)

    def augment(self, utt: str, waveform: "Tensor", kind: str) -> tuple["Tensor", str]:
        """A whole utterance with one kind of augmentation, drawn by its id alone, and that in words.

        Args:
            waveform: (1, samples).
        """
        import torch  # takes seconds to load, and a plan needs only the files

        from sv.audio.augment import add_noise, reverberate

        samples = waveform.shape[1]
        item = int.from_bytes(hashlib.sha256(utt.encode()).digest()[:8], "little", signed=True)
        draws = self.draw(np.array([item]), 0, KINDS.index(kind))
        if kind == "reverb":
            rir, peak = self.rir(draws, 0, samples)
            waveform = reverberate(waveform, torch.from_numpy(rir)[None], torch.tensor([peak]))
        else:
            noise = torch.from_numpy(self.noise(draws, 0, samples))[None]
            waveform = add_noise(waveform, noise, torch.from_numpy(draws.snr_db).float())
        return waveform, self.describe(draws, 0)

    def fingerprint(self) -> str:
        """SHA-256 of the ids of noises and of impulse responses, one behind the other."""
        return "".join(clips.fingerprint() for clips in (self.noises, self.rirs) if clips is not None)

    def file_fingerprint(self) -> str:
        """The same of their files, see `Clips.file_fingerprint`."""
        return "".join(clips.file_fingerprint() for clips in (self.noises, self.rirs) if clips is not None)

    def describe(self, draws: Draws, sample: int) -> str:
        """One sample's augmentation in words: "noise 7.31 noise/free-sound/0000.wav"."""
        kind = int(draws.kind[sample])
        clips = self.rirs if kind == REVERB else self.noises
        names = [] if clips is None else [clips.ids[row] for row in draws.file[sample] if row >= 0]
        snr = [] if np.isnan(draws.snr_db[sample]) else [f"{draws.snr_db[sample]:.2f}"]
        return " ".join([KINDS[kind], *snr, *names])

    def statistics(self, draws: Draws) -> dict[str, float]:
        """Share in percent of each kind, and mean SNR in dB of those that have one."""
        found = {f"{kind}_percent": 100 * float(np.mean(draws.kind == n)) for n, kind in enumerate(KINDS)}
        for number in (NOISE, MUSIC, BABBLE):
            if (draws.kind == number).any():
                found[f"{KINDS[number]}_snr"] = float(draws.snr_db[draws.kind == number].mean())
        return found


def distinct(draws: Floats, count: int) -> Longs:
    """Numbers below `count` from draws in [0, 1), (rows, n) each: all of a row differ, until all have come.

    The n-th is drawn from those that are left.
    """
    chosen = np.empty(draws.shape, dtype=np.int64)
    for n in range(draws.shape[1]):
        begun = n - n % count  # here all are there again
        number = (draws[:, n] * (count - (n - begun))).astype(np.int64)
        for earlier in np.sort(chosen[:, begun:n], axis=1).T:
            number += number >= earlier
        chosen[:, n] = number
    return chosen
