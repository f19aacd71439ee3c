"""A data dir of noise, and its features computed directly."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from sv.audio.features import Fbank, dither_noise
from sv.audio.files import read_wav
from sv.config import FbankConfig
from sv.io import sha256_of, write_table

RATE = 16000


def make_data(data: Path, count: int = 7, seconds: float = 0.5) -> Path:
    """Write a data dir of WAV and FLAC files of noise, of several lengths, and a speed copy of the first."""
    wavs = {}
    rng = np.random.default_rng(0)
    data.mkdir(parents=True)
    for index in range(count):
        path = data / f"audio {index}.{'wav' if index % 2 else 'flac'}"
        soundfile.write(path, rng.normal(0, 0.1, int(RATE * (seconds + 0.1 * (index % 5)))).astype(np.float32), RATE)
        wavs[f"spk{index % 2}/{index:04d}.wav"] = str(path)
    wavs["sp0.9-spk0/0000.wav"] = f"sox -t flac '{wavs['spk0/0000.wav']}' -t wav - speed 0.9 |"
    write_tables(data, wavs)
    return data


def write_tables(data: Path, wavs: dict[str, str]) -> None:
    write_table(data / "wav.scp", wavs)
    utt2spk = {utt: utt.split("/")[0] for utt in wavs}
    write_table(data / "utt2spk", utt2spk)
    spks = sorted(set(utt2spk.values()))
    write_table(data / "spk2utt", {spk: " ".join(sorted(u for u in wavs if utt2spk[u] == spk)) for spk in spks})


def snapshot(data: Path) -> dict[str, str]:
    """Return checksums of all files that a user reads."""
    names = ["feats.scp", "utt2num_frames", "utt2dur", "fbank.yaml"]
    paths = [*(data / name for name in names), *(data / "fbank").glob("fbank.*")]
    return {path.name: sha256_of(path) for path in paths}


def expected(utt: str, spec: str, dither: bool) -> np.ndarray:
    waveform = torch.from_numpy(read_wav(spec, RATE))[None]
    noise = dither_noise(utt, waveform.shape[1])[None] if dither else None
    return Fbank(FbankConfig())(waveform, noise)[0].numpy()
