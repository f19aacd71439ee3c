"""Batches of augmented 2-s crops from waveforms, for bench/loader.py: the usual way, its parts, ours, shards and arks.

The usual way is a DataLoader whose items decode a whole file, crop it, augment it and compute its fbank, one by one.
Of the crops, 60 % are augmented here, half with reverberation, half with noise. With SV_CORPORA, speech is real (files
of 8 s joined from speechocean762), else it is noise. Half of the files are FLAC, half WAV, all in the page cache.
Without workers, CPU time is measured: what a sample costs a core, whatever else the machine does.
"""

import os
import random
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset
from torchaudio.compliance.kaldi import fbank as usual_fbank
from torchaudio.functional import fftconvolve

from bench.common import best_seconds, report
from sv.audio.features import Fbank
from sv.audio.tar_shards import Recording, write_shard
from sv.config import AugmentArgs, Config, parse_config
from sv.data import (
    ArkDataset,
    ArkReader,
    Augmenter,
    ClipFolders,
    Loader,
    OnlineDataset,
    TarSource,
    UtteranceSampler,
    WaveformSource,
    WavScpSource,
    read_index,
)
from sv.data import Dataset as Batches
from sv.io import ArkWriter, write_table

RATE, SECONDS, CROP, BATCH = 16000, 8, 200, 32
CROP_SAMPLES = 400 + (CROP - 1) * 160


class Corpus:
    """A data dir with wav.scp, arks and a shard, and folders of noise and impulse responses."""

    def __init__(self, folder: Path, utts: int) -> None:
        self.folder, self.paths = folder, list[Path]()
        speech = read_speech(utts)
        rng = np.random.default_rng(0)
        self.noises = self._clips("noise", [rng.normal(0, 0.1, 10 * RATE) for _ in range(12)])
        decay = np.exp(-np.arange(RATE // 2) / 1500)
        self.rirs = self._clips(
            "rir", [rng.normal(0, 0.2, RATE // 2) * decay + (np.arange(RATE // 2) == 60) for _ in range(12)]
        )
        names = [f"s{n % 10}/{n:05d}.wav" for n in range(utts)]
        names.sort()
        fbank, recordings = Fbank(config_of().dataset_args.fbank_args), []
        with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
            for number, (name, wave) in enumerate(zip(names, speech, strict=True)):
                path = folder / f"{number}.{'flac' if number % 2 else 'wav'}"
                soundfile.write(path, wave, RATE, subtype="PCM_16")
                self.paths.append(path)
                writer.write(name, fbank(torch.from_numpy(wave)[None])[0].numpy())
                recordings.append(Recording(name, name[:2], path.suffix[1:], path.read_bytes(), RATE, len(wave)))
        write_table(folder / "wav.scp", dict(zip(names, self.paths, strict=True)))
        write_table(folder / "utt2spk", {name: name[:2] for name in names})
        write_table(folder / "utt2num_frames", dict.fromkeys(names, fbank.num_frames(SECONDS * RATE)))
        write_shard(folder / "0.tar", recordings)
        (folder / "shard.list").write_text(f"{folder}/0.tar\n")

    def _clips(self, kind: str, waves: list[np.ndarray]) -> Path:
        folder = self.folder / kind
        folder.mkdir()
        for number, wave in enumerate(waves):
            soundfile.write(folder / f"{number}.wav", wave, RATE)
        write_table(folder / "wav.scp", {f"{kind}/{n}": folder / f"{n}.wav" for n in range(len(waves))})
        return folder

    def online(self, source: WaveformSource, prob: float) -> OnlineDataset:
        """Return our dataset of augmented crops from waveforms."""
        args, half_rooms = config_of().dataset_args, AugmentArgs(reverb=1.0, noise=1.0)
        folders = ClipFolders(self.noises, self.rirs)
        augmenter = Augmenter(half_rooms, folders, prob=prob, seed=0, sample_rate=RATE)
        return OnlineDataset(source, source.speaker[None], augmenter, args, seed=0)

    def arks(self) -> ArkDataset:
        """Return our dataset of crops from arks."""
        return ArkDataset(ArkReader(read_index(self.folder), 80), num_frms=CROP, seed=0)


def config_of() -> Config:
    """Return the configuration: crops of 2 s without dither."""
    return parse_config({"dataset_args": {"num_frms": CROP, "fbank_args": {"dither": 0.0}}}, "bench")


def read_speech(utts: int) -> list[np.ndarray]:
    """Return waveforms of 8 s: real speech with SV_CORPORA, else noise."""
    corpora = os.environ.get("SV_CORPORA", "")
    if not corpora:
        rng = np.random.default_rng(1)
        return [rng.normal(0, 0.1, SECONDS * RATE).astype(np.float32) for _ in range(utts)]
    speech, parts, length = [], list[np.ndarray](), 0
    for path in sorted((Path(corpora) / "speechocean762" / "WAVE").rglob("*.*")):
        parts.append(soundfile.read(path, dtype="float32")[0])
        length += len(parts[-1])
        if length >= SECONDS * RATE:
            speech.append(np.concatenate(parts)[: SECONDS * RATE])
            parts, length = [], 0
        if len(speech) == utts:
            break
    return speech


class Usual(Dataset[torch.Tensor]):
    """The usual way: one sample after the other."""

    def __init__(self, corpus: Corpus, prob: float) -> None:
        self.paths, self.prob = corpus.paths, prob
        self.noises, self.rirs = (sorted(folder.glob("*.wav")) for folder in (corpus.noises, corpus.rirs))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        wave = self.crop(self.decode(self.paths[i]))
        return self.features(self.augment(wave) if random.random() < self.prob else wave)

    def decode(self, path: Path) -> torch.Tensor:
        """Decode a whole file: (samples,)."""
        return torch.from_numpy(soundfile.read(path, dtype="float32")[0])

    def crop(self, wave: torch.Tensor) -> torch.Tensor:
        """Cut out a random crop: (CROP_SAMPLES,)."""
        start = random.randint(0, len(wave) - CROP_SAMPLES)
        return wave[start : start + CROP_SAMPLES]

    def augment(self, wave: torch.Tensor) -> torch.Tensor:
        """Add reverberation or noise."""
        if random.random() < 0.5:
            rir = self.decode(random.choice(self.rirs))
            return fftconvolve(wave, rir / rir.square().sum().sqrt())[: len(wave)]
        noise = self.crop(self.decode(random.choice(self.noises)))
        snr = random.uniform(0, 15)
        return wave + noise * (wave.square().mean() / noise.square().mean() * 10 ** (-snr / 10)).sqrt()

    def features(self, wave: torch.Tensor) -> torch.Tensor:
        """Compute features with torchaudio: (frames, 80)."""
        feats = usual_fbank(
            wave[None] * 32768, num_mel_bins=80, sample_frequency=RATE, window_type="hamming", use_energy=False
        )
        return feats - feats.mean(dim=0)


def compare_parts(corpus: Corpus, budget: float) -> None:
    """Report the CPU time a sample of each part of the usual way, against the same part of ours."""
    usual, source = Usual(corpus, 1.0), WavScpSource(corpus.folder)
    ours = corpus.online(source, 1.0)
    places = np.random.default_rng(0).integers(0, (SECONDS - 3) * RATE, BATCH).tolist()
    utts = np.arange(BATCH)
    waves = torch.stack([usual.crop(usual.decode(path)) for path in corpus.paths[:BATCH]])
    sounds, fbank = ours.sounds(utts, 1), ours.front_end.fbank

    def decode_crops() -> None:
        for utt, start in enumerate(places):
            source.read(utt, start, CROP_SAMPLES)

    def augment_batch() -> None:
        ours.front_end.waveforms(ours.sounds(utts, 1))

    parts: dict[str, tuple[Callable[[], object], ...]] = {
        "decode": (decode_crops, lambda: [usual.decode(path) for path in corpus.paths[:BATCH]]),
        "augment all (ours with reading the crops)": (augment_batch, lambda: [usual.augment(wave) for wave in waves]),
        "augment all, arithmetic alone": (partial(ours.front_end.waveforms, sounds),),
        "fbank": (lambda: fbank(waves), lambda: [usual.features(wave) for wave in waves]),
    }
    for name, functions in parts.items():
        times = [s / BATCH for s in best_seconds(*functions, budget=budget / len(parts), clock=time.process_time)]
        report("loader", f"part, a sample: {name}, against the usual way", times[0], *times[1:])


def compare_waveforms(folder: Path, *, quick: bool) -> None:
    """Report all figures of waveforms."""
    corpus = Corpus(folder, 32 if quick else 512)
    budget = 2.0 if quick else 15.0
    compare_parts(corpus, budget)
    utts = len(corpus.paths) // BATCH * BATCH
    for workers in (0, 1, 2):
        clock = time.perf_counter if workers else time.process_time
        for prob in (0.0, 0.6):
            usual = DataLoader(Usual(corpus, prob), BATCH, True, **worker_processes(workers))
            ours: dict[str, Batches] = {
                "online": corpus.online(WavScpSource(corpus.folder), prob),
                "shards": corpus.online(TarSource(corpus.folder / "shard.list"), prob),
                "arks": corpus.arks(),
            }
            runs = [partial(epoch, dataset, workers) for dataset in ours.values()]
            times = [s / utts for s in best_seconds(*runs, partial(exhaust, usual), budget=budget, clock=clock)]
            for name, seconds in zip(ours, times, strict=False):
                case = f"{name} 8 s, aug_prob {prob}, {workers} workers, against the usual way"
                report("loader", case, seconds, times[-1], times[2], samples_per_second=1 / seconds)
    batches = 300 if quick else 10_000
    for name, dataset in (("online", corpus.online(WavScpSource(corpus.folder), 0.6)), ("arks", corpus.arks())):
        growth = memory_growth(dataset, batches)
        report("loader", f"memory after {batches} batches: {name}", 0.0, growth_mib=growth)


def epoch(dataset: Batches, workers: int) -> None:
    """Read one epoch with our loader."""
    loader = Loader(dataset, UtteranceSampler(np.arange(dataset_size(dataset)), BATCH, seed=0), num_workers=workers)
    for _ in loader.epoch(1):
        pass
    loader.close()


def dataset_size(dataset: Batches) -> int:
    """Return the number of utterances of one of our datasets."""
    return len(dataset.reader.index if isinstance(dataset, ArkDataset) else dataset.source.utts)  # type: ignore[attr-defined]


def worker_processes(count: int) -> dict[str, Any]:
    """Return a DataLoader's options for worker processes; they are forked, since Python 3.14 would pickle the data."""
    return {"num_workers": count, "persistent_workers": count > 0, "multiprocessing_context": "fork" if count else None}


def exhaust(loader: DataLoader[torch.Tensor]) -> None:
    """Read one epoch of a DataLoader; its worker processes, if any, stay for the next."""
    for _ in loader:
        pass


def memory_growth(dataset: Batches, batches: int, size: int = 4) -> float:
    """Return by how many MiB the peak memory grows from the first tenth of small batches to the last."""
    sampler = UtteranceSampler(np.arange(dataset_size(dataset)), size, seed=0)
    loader, seen, first = Loader(dataset, sampler, num_workers=2), 0, 0.0
    for number in range(1, batches // sampler.steps + 2):
        for _ in loader.epoch(number):
            seen += 1
            if seen == batches // 10:
                first = peak_mib()
        if seen >= batches:
            break
    loader.close()
    return peak_mib() - first


def peak_mib() -> float:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
