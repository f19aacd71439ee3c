"""Training samples from waveforms: crops are read, augmented and turned into features, batch by batch.

    read crop, noise, impulse response -> speed -> reverberation or noise -> telephone -> fbank -> mean -> SpecAugment

With the VAD, which looks at the whole clean utterance, _VAD_FACTOR times the crop is read from a frame of speech on;
after the mean over that part, its first frames of speech are the crop.

Threads of the loader read. The rest is arithmetic on batches: on the CPU the same threads do it; with a GPU, a batch
holds waveforms until it is moved there, and the GPU does it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sv.audio.augment import add_noise, change_speed, reverberate, samples_needed
from sv.audio.centered_fbank import make_fbank
from sv.audio.features import find_voiced, subtract_mean
from sv.audio.files import Waveform
from sv.audio.mel import frame_samples
from sv.audio.telephone import telephone
from sv.config import DatasetArgs
from sv.data.ark_reader import crop_starts
from sv.data.augmenter import REVERB, Augmenter
from sv.data.loader import Batch
from sv.data.sampling import Longs, rows_of, uniform
from sv.data.spec_augment import Bands, draw_bands, hide
from sv.data.voiced import check_speech
from sv.data.waveforms import WaveformSource

_TELEPHONE, _SPEED, _DITHER = 20, 21, 22  # streams of random numbers; those from 23 on are of SpecAugment
_VAD_FACTOR = 3  # a crop of speech is found unless two thirds of a part are silent; then its frames are repeated
_DITHER_PLACES = 1 << 18


@dataclass(frozen=True)
class Sounds:
    """Waveforms of a batch and the augmentation to apply to them, on any device.

    Attributes:
        speech: speed -> (rows of the batch (n,), waveforms (n, samples)).
        rir: rows (n,), impulse responses (n, taps), indices of their peaks (n,).
        noise: rows (n,), noise (n, samples), SNR in dB (n,) float32.
        telephone: rows (n,) sent through a telephone line.
        dither: (batch,) int64 positions in the table of dither.
        bands: bands of SpecAugment.
        voiced: (batch, num_frms) int64 frames to keep; (0, num_frms): all.
    """

    speech: Mapping[float, tuple[Tensor, Tensor]]
    rir: tuple[Tensor, Tensor, Tensor]
    noise: tuple[Tensor, Tensor, Tensor]
    telephone: Tensor
    dither: Tensor
    bands: Bands
    voiced: Tensor

    def to(self, device: torch.device) -> "Sounds":
        """Copy all tensors to a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Sounds":
        """Copy all tensors to page-locked memory."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Sounds":
        speech = {speed: (change(rows), change(waves)) for speed, (rows, waves) in self.speech.items()}
        rir, noise = ((change(a), change(b), change(c)) for a, b, c in (self.rir, self.noise))
        bands = change(self.bands[0]), change(self.bands[1])
        return Sounds(speech, rir, noise, change(self.telephone), change(self.dither), bands, change(self.voiced))


class FrontEnd(nn.Module):
    """Augments waveforms and computes features (batch, num_frms, mels) of them.

    Args:
        args: configuration of the data.
        seed: seed of the dither.
    """

    dither: Tensor

    def __init__(self, args: DatasetArgs, seed: int) -> None:
        super().__init__()
        self.args = args
        self.fbank = make_fbank(args.fbank_args)
        self.samples = self.fbank.num_samples(args.num_frms * (_VAD_FACTOR if args.vad else 1))
        generator = torch.Generator().manual_seed(seed)
        length = _DITHER_PLACES + self.samples if args.fbank_args.dither else 0
        self.register_buffer("dither", torch.randn(length, generator=generator), persistent=False)

    @torch.no_grad()
    def forward(self, sounds: Sounds) -> Tensor:
        """Compute features (batch, num_frms, mels) float32, SpecAugment included."""
        speech = self.waveforms(sounds)
        noise = self.dither.unfold(0, self.samples, 1)[sounds.dither] if len(self.dither) else None
        features = self.fbank(speech, noise)
        if self.args.cmvn:
            features = subtract_mean(features)
        if len(sounds.voiced):
            features = features.take_along_dim(sounds.voiced[:, :, None], dim=1)
        return hide(features, sounds.bands)

    @torch.no_grad()
    def waveforms(self, sounds: Sounds) -> Tensor:
        """Compute the augmented speech, (batch, samples) float32."""
        rate = self.args.fbank_args.sample_rate
        batch = sum(len(rows) for rows, _ in sounds.speech.values())
        speech = sounds.dither.new_empty((batch, self.samples), dtype=torch.float32)
        for speed, (rows, waves) in sounds.speech.items():
            speech[rows] = change_speed(waves, rate, speed)[:, : self.samples]
        rows, rir, peak = sounds.rir
        if len(rows):
            speech[rows] = reverberate(speech[rows], rir, peak)
        rows, noise, snr_db = sounds.noise
        if len(rows):
            speech[rows] = add_noise(speech[rows], noise, snr_db)
        if len(sounds.telephone):
            speech[sounds.telephone] = telephone(speech[sounds.telephone], rate)
        return speech


@dataclass(frozen=True)
class SoundBatch(Batch):
    """A batch whose features are computed on the device that it is moved to.

    Attributes:
        features: empty until then.
        sounds: waveforms and their augmentation.
        front_end: computes the features.
    """

    sounds: Sounds = field(kw_only=True)
    front_end: FrontEnd = field(kw_only=True)

    def to(self, device: torch.device) -> Batch:
        features = self.front_end.to(device, non_blocking=True)(self.sounds.to(device))
        return Batch(features, self.speaker.to(device, non_blocking=True), self.utts)

    def pin(self) -> Batch:
        return SoundBatch(
            self.features, self.speaker.pin_memory(), self.utts, sounds=self.sounds.pin(), front_end=self.front_end
        )


class OnlineDataset:
    """Augmented crops of waveforms; all random choices are drawn from (seed, epoch, draw).

    Args:
        source: source of the waveforms, in the order of the index.
        speaker: (1 + speeds, utts) class of each utterance at speed 1.0 and at each speed of `args`.
        augmenter: draws and reads noise and impulse responses.
        args: configuration of the data.
        seed: seed of crops, speeds, telephone lines, dither and SpecAugment.
        on_device: compute features on the device that a batch is moved to.
    """

    def __init__(
        self,
        source: WaveformSource,
        speaker: Longs,
        augmenter: Augmenter,
        args: DatasetArgs,
        *,
        seed: int,
        on_device: bool = False,
    ) -> None:
        self.source, self.speaker, self.augmenter, self.args = source, speaker, augmenter, args
        self.seed, self.on_device = seed, on_device
        self.front_end = FrontEnd(args, seed)
        self._speeds = np.array([1.0, *args.speeds])

    def batch(self, utts: Longs, epoch: int) -> Batch:
        """Read and augment crops: features (batch, num_frms, mels), or a `SoundBatch` with `on_device`.

        Raises:
            UserError: an utterance, a noise or an impulse response cannot be read.
        """
        speed = self._draw_speeds(utts, epoch)
        speaker = torch.from_numpy(self.speaker[speed, rows_of(utts)].astype(np.int64))
        sounds = self.sounds(utts, epoch)
        if self.on_device:
            return SoundBatch(torch.empty(0), speaker, utts, sounds=sounds, front_end=self.front_end)
        return Batch(self.front_end(sounds), speaker, utts)

    def sounds(self, utts: Longs, epoch: int) -> Sounds:
        """Read the waveforms of a batch, and draw and read their augmentation."""
        samples, draws = self.front_end.samples, self.augmenter.draw(utts, epoch)
        wet, noisy = np.flatnonzero(draws.kind == REVERB), np.flatnonzero(draws.kind > REVERB)
        rirs = [self.augmenter.rir(draws, row, samples) for row in wet.tolist()]
        noises = [self.augmenter.noise(draws, row, samples) for row in noisy.tolist()]
        speech, voiced = self._read_speech(utts, epoch)
        return Sounds(
            speech=speech,
            voiced=voiced,
            rir=(torch.from_numpy(wet), _padded([rir for rir, _ in rirs]), torch.tensor([peak for _, peak in rirs])),
            noise=(torch.from_numpy(noisy), _padded(noises), torch.from_numpy(draws.snr_db[noisy]).float()),
            telephone=torch.from_numpy(np.flatnonzero(self._draw_telephone(utts, epoch))),
            dither=torch.from_numpy((uniform(self.seed, epoch, utts, _DITHER) * _DITHER_PLACES).astype(np.int64)),
            bands=draw_bands(
                self.args.spec_aug_args if self.args.spec_aug else None,
                self.args.num_frms,
                self.args.fbank_args.num_mel_bins,
                seed=self.seed,
                epoch=epoch,
                items=utts,
            ),
        )

    def fingerprint(self) -> str:
        """Return the hash of the ids of noises and impulse responses."""
        return self.augmenter.fingerprint()

    def statistics(self, utts: Longs, epoch: int) -> dict[str, float]:
        """Return the share of each kind, speed and of telephone lines in percent, and mean SNRs in dB."""
        found = self.augmenter.statistics(self.augmenter.draw(utts, epoch))
        drawn = self._draw_speeds(utts, epoch)
        speeds = {f"speed_{speed:g}_percent": 100 * float(np.mean(drawn == n)) for n, speed in enumerate(self._speeds)}
        on_line = 100 * float(self._draw_telephone(utts, epoch).mean())
        lines = {"telephone_percent": on_line} if self.args.telephone_prob else {}
        return found | lines | (speeds if len(speeds) > 1 else {})

    def _draw_telephone(self, utts: Longs, epoch: int) -> NDArray[np.bool_]:
        return uniform(self.seed, epoch, utts, _TELEPHONE) < self.args.telephone_prob

    def _draw_speeds(self, utts: Longs, epoch: int) -> Longs:
        return (uniform(self.seed, epoch, utts, _SPEED) * len(self._speeds)).astype(np.int64)

    def _read_speech(self, utts: Longs, epoch: int) -> tuple[dict[float, tuple[Tensor, Tensor]], Tensor]:
        """Return the speech by speed, and the frames to keep; see `Sounds`."""
        rate = self.args.fbank_args.sample_rate
        drawn, places = self._draw_speeds(utts, epoch), uniform(self.seed, epoch, utts)
        speech, voiced = {}, np.empty((len(utts) if self.args.vad else 0, self.args.num_frms), dtype=np.int64)
        for number in np.unique(drawn).tolist():
            speed = float(self._speeds[number])
            rows = np.flatnonzero(drawn == number)
            samples = samples_needed(self.front_end.samples, rate, speed)
            sources = rows_of(utts[rows])
            starts = crop_starts(self.source.num_samples[sources], samples, places[rows])
            waves = np.empty((len(rows), samples), dtype=np.float32)
            for wave, source, start, row in zip(waves, sources.tolist(), starts.tolist(), rows.tolist(), strict=True):
                if self.args.vad:
                    part, voiced[row] = self._read_voiced(source, speed, places[row])
                    _fill(wave, part[:samples])
                    continue
                there = min(samples, int(self.source.num_samples[source]) - start)
                _fill(wave, self.source.read(source, start, there))
            speech[speed] = torch.from_numpy(rows), torch.from_numpy(waves)
        return speech, torch.from_numpy(voiced)

    def _read_voiced(self, source: int, speed: float, place: float) -> tuple[Waveform, Longs]:
        """Return an utterance from a frame of speech on, and the frames to keep of it at a speed, (num_frms,)."""
        num = self.args.num_frms
        waveform = self.source.read(source, 0, int(self.source.num_samples[source]))
        voiced = find_voiced(waveform, self.args)
        frames = np.flatnonzero(voiced)
        check_speech(self.source.utts[source], len(frames))
        first = int(frames[int(place * (max(len(frames) - num, 0) + 1))])
        at_speed = (np.arange(num * _VAD_FACTOR) * speed).astype(np.int64)  # frames of the recording
        kept = np.flatnonzero(voiced[first:][at_speed[at_speed < len(voiced) - first]])
        _, shift = frame_samples(self.args.fbank_args)
        return waveform[first * shift :], kept[np.arange(num) % len(kept)]


def _fill(wave: Waveform, part: Waveform) -> None:
    """Copy `part` into `wave`, repeated if it is shorter."""
    wave[: len(part)] = part
    if len(part) < len(wave):
        wave[:] = np.resize(part, len(wave))


def _padded(arrays: list[NDArray[np.float32]]) -> Tensor:
    """Stack arrays of different lengths, padded with zeros: (arrays, longest)."""
    out = np.zeros((len(arrays), max(map(len, arrays), default=0)), dtype=np.float32)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(out)
