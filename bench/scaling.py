#!/usr/bin/env python3
"""Disk, memory, traffic and time that corpora need: rates of one core, measured on real speech, and a table from them.

Rates are the CPU time of one thread, or of ffmpeg: m4a to FLAC, decoding, fbank with its archive, embeddings of
ResNet34. --gpu-rate is the number of 2-s utterances a second that ResNet34 trains on with one GPU (train.log prints
it); without it, the time of training is left out.

Usage: SV_CORPORA=<dir> bench/scaling.py [--gpu-rate N] [--gpus N] [--cores N] [--epochs N]
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from sv.audio.features import Fbank
from sv.config import FbankConfig
from sv.io import ArkWriter
from sv.models import build_model

RATE = 16000
EMBED_DIM, BATCH = 256, 256  # ResNet34's as in egs/voxceleb/conf
MODEL_PARAMETERS = sum(
    p.numel() for p in build_model("ResNet34", {"feat_dim": 80, "embed_dim": EMBED_DIM}).parameters()
)


@dataclass(frozen=True)
class Corpus:
    """A corpus to train on.

    Attributes:
        hours: of speech.
    """

    name: str
    speakers: int
    utts: int
    hours: float


CORPORA = [
    Corpus("VoxCeleb2", 5_994, 1_092_009, 2_360),
    Corpus("VoxBlink2", 111_284, 9_904_382, 16_672),
    Corpus("10 million speakers, 20 x 6 s of each", 10_000_000, 200_000_000, 333_333),
]


@dataclass(frozen=True)
class Rates:
    """Rates of one core, and bytes of audio.

    Attributes:
        convert, decode, fbank, embed: CPU seconds an hour of speech.
        flac_bytes: bytes of an hour of 16 kHz FLAC.
    """

    convert: float
    decode: float
    fbank: float
    embed: float
    flac_bytes: float


def cpu_seconds(work: Callable[[], object], least: float = 2.0) -> float:
    """Return the CPU seconds of the shortest of several runs, which take `least` seconds together."""
    best, begun = float("inf"), time.process_time()
    while time.process_time() - begun < least:
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def measure(folder: Path) -> Rates:
    """Measure the rates on files of about 8 s, joined from real utterances."""
    files = make_files(folder)
    waves = [soundfile.read(path, dtype="float32")[0] for path in files]
    spoken = sum(map(len, waves)) / RATE / 3600  # hours
    fbank, model = Fbank(FbankConfig(dither=0.0)), build_model("ResNet34", {"feat_dim": 80, "embed_dim": EMBED_DIM})
    features = [fbank(torch.from_numpy(wave)[None])[0] for wave in waves]

    def write() -> None:
        with ArkWriter(folder / "x.ark", folder / "x.scp", compress=True) as writer:
            for number, wave in enumerate(waves):
                writer.write(f"utt{number:03d}", fbank(torch.from_numpy(wave)[None])[0].numpy())

    def embed() -> None:
        with torch.inference_mode():
            for feats in features[:4]:
                model.eval()(feats[None])

    return Rates(
        convert=convert_seconds(files) / spoken,
        decode=cpu_seconds(lambda: [soundfile.read(path, dtype="int16") for path in files]) / spoken,
        fbank=cpu_seconds(write) / spoken,
        embed=cpu_seconds(embed) / spoken * len(waves) / 4,
        flac_bytes=sum(path.stat().st_size for path in files) / spoken,
    )


def convert_seconds(files: list[Path]) -> float:
    """Return the CPU seconds of m4a to FLAC, one process a file as in local/convert_audio.py."""
    ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i"]
    for path in files:
        subprocess.run([*ffmpeg, path, "-c:a", "aac", path.with_suffix(".m4a")], check=True)
    before = os.times()
    for path in files:
        subprocess.run([*ffmpeg, path.with_suffix(".m4a"), path.with_suffix(".copy.flac")], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def make_files(folder: Path, count: int = 24, seconds: float = 7.8) -> list[Path]:
    """Write FLAC files as long as those of VoxCeleb2 on average."""
    sources = sorted(Path(os.environ["SV_CORPORA"]).glob("speechocean762/**/*.flac"))[:400]
    speech = np.concatenate([soundfile.read(path, dtype="int16")[0] for path in sources])
    samples = int(seconds * RATE)
    files = [folder / f"{number}.flac" for number in range(count)]
    for number, path in enumerate(files):
        soundfile.write(path, speech[number * samples : (number + 1) * samples], RATE)
    return files


def rows(corpus: Corpus, rates: Rates, cores: int, gpus: int, gpu_rate: float, epochs: int) -> dict[str, str]:
    """Return names and values of a corpus's column of the table."""
    core_hours = corpus.hours / 3600
    frames = corpus.hours * 360_000
    head = corpus.speakers * EMBED_DIM * 4
    samples = corpus.utts * epochs
    training = f"{samples / (gpu_rate * gpus) / 86400:.3g} days" if gpu_rate else "not measured"
    return {
        "audio as FLAC": size(rates.flac_bytes * corpus.hours),
        "arks, two bytes a value": size(2 * 80 * frames),
        "stage 1, m4a to FLAC, core hours": f"{rates.convert * core_hours:,.3g}",
        "stage 2, decoding, core hours": f"{rates.decode * core_hours:,.2g}",
        "stage 2, fbank and archive, core hours": f"{rates.fbank * core_hours:,.2g}",
        f"stages 1 and 2 on {cores} cores": hours((rates.convert + rates.decode + rates.fbank) * core_hours / cores),
        "index in memory of each process": size(60 * corpus.utts),
        "weights of the head": size(head),
        "head in training, whole (weights, gradient, momentum)": size(3 * head),
        f"head in training, split over {gpus}": size(3 * head / gpus),
        f"a step, {gpus} processes: encoder's gradient, sent by each": size(ring(MODEL_PARAMETERS * 4, gpus)),
        f"a step, {gpus} processes: gradient of a whole head, sent by each": size(ring(head, gpus)),
        f"a step, {gpus} processes: embeddings and their gradient, split head": size(
            ring(BATCH * gpus * EMBED_DIM * 4, gpus)
        ),
        f"stage 3, {epochs} epochs on {gpus} GPUs": training,
        f"stage 4, embeddings of all on {cores} cores": hours(rates.embed * core_hours / cores),
        "embeddings": size(corpus.utts * EMBED_DIM * 4),
    }


def ring(size_bytes: float, processes: int) -> float:
    """Return the bytes that each process sends in a ring all-reduce: a reduce-scatter and an all-gather."""
    return 2 * size_bytes * (processes - 1) / processes


def hours(count: float) -> str:
    """Format hours, as days from 100 h on."""
    return f"{count:.2g} h" if count < 100 else f"{count / 24:.2g} days"


def size(count: float) -> str:
    """Format bytes as kB, MB, GB or TB (powers of ten)."""
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:,.3g} TB"


def main() -> None:
    """Measure the rates and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu-rate", type=float, default=0.0, help="utterances of 2 s per second and GPU; 0: unknown")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--cores", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=150)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(Path(folder))
    print(f"CPU seconds of one core an hour of speech: {rates}\n")
    tables = [rows(c, rates, args.cores, args.gpus, args.gpu_rate, args.epochs) for c in CORPORA]
    print(f"| | {' | '.join(corpus.name for corpus in CORPORA)} |\n| --- |{' ---: |' * len(CORPORA)}")
    for name in tables[0]:
        print(f"| {name} | {' | '.join(table[name] for table in tables)} |")


if __name__ == "__main__":
    main()
