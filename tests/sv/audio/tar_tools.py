"""Small tar shards, ours and those of others, and a data dir to make shards of."""

import io
from pathlib import Path

import numpy as np
import soundfile

from sv.audio.tar_shards import Recording, write_shard
from sv.io import write_table

RATE = 16000


def encoded(waveform: np.ndarray, ending: str, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format=ending.upper(), subtype=subtype)
    return file.getvalue()


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Return noise of 16 bits, which any format stores exactly."""
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype(np.float32) / 32768


WAVES = {
    "id2/x/00001.wav": ("id2", "flac", noise(9000, 1)),
    "id1/y.z/00002.wav": ("id1", "wav", noise(7000, 2)),
    "plain": ("id1", "flac", noise(70000, 3)),
    f"long/{'n' * 300}/a.b-1": ("id3", "wav", noise(500, 4)),
}


def make_shard(path: Path, names: list[str] | None = None) -> Path:
    write_shard(
        path,
        [
            Recording(utt, spk, ending, encoded(wave, ending), RATE, len(wave))
            for utt, (spk, ending, wave) in WAVES.items()
            if names is None or utt in names
        ],
    )
    return path


def make_list(*shards: Path) -> Path:
    path = shards[0].parent / "shard.list"
    path.write_text("".join(f"{shard}\n" for shard in shards))
    return path


def make_data(data: Path) -> Path:
    """Write a data dir of five utterances: WAV, FLAC, an OGG and a speed copy."""
    rng = np.random.default_rng(0)
    data.mkdir()
    wavs = {}
    for number, ending in enumerate(["wav", "flac", "wav", "ogg"]):
        wavs[f"s{number % 2}/x/{number}.wav"] = str(data / f"audio {number}.{ending}")
        soundfile.write(data / f"audio {number}.{ending}", rng.normal(0, 0.1, 4000 + 500 * number), RATE)
    wavs["s2/sp1.1"] = f"sox -t wav '{wavs['s0/x/0.wav']}' -t wav - speed 1.1 |"
    spks = {utt: utt.split("/")[0] for utt in wavs}
    write_table(data / "wav.scp", wavs)
    write_table(data / "utt2spk", spks)
    write_table(
        data / "spk2utt", {s: " ".join(sorted(u for u in wavs if spks[u] == s)) for s in sorted(set(spks.values()))}
    )
    return data
