"""Files of noise for the tests."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def write(path: Path, *, rate: int = RATE, channels: int = 1, samples: int = 400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (samples, channels)), rate)


def write_audio(path: Path, seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(str(path))).normal(0, 0.1, (int(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return path
