"""Small folders of noise and impulse responses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.io import write_table

RATE = 16000


@pytest.fixture(scope="session")
def make_clips() -> Callable[..., Path]:
    """Write a folder of random files; `files` maps ids, which begin with a type, to seconds."""

    def make(folder: Path, files: dict[str, float], *, rate: int = RATE, channels: int = 1) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        paths = {}
        for number, (name, seconds) in enumerate(files.items()):
            rng = np.random.default_rng(number)
            samples = rng.normal(0, 0.1, (int(seconds * rate), channels))
            if name.startswith("rir/"):  # an exponential decay behind a direct sound at 50 samples
                samples *= 0.02 * np.exp(-np.arange(len(samples)) / (0.05 * rate))[:, None]
                samples[50] = 0.9
            paths[name] = folder / f"{number}.wav"
            soundfile.write(paths[name], samples, rate, subtype="PCM_16")
        write_table(folder / "wav.scp", paths)
        return folder

    return make


@pytest.fixture(scope="session")
def noise_dir(tmp_path_factory: pytest.TempPathFactory, make_clips: Callable[..., Path]) -> Path:
    files = {f"noise/{i}": 3.0 for i in range(3)} | {f"music/{i}": 1.5 for i in range(2)}
    return make_clips(tmp_path_factory.mktemp("noise"), files | {f"speech/{i}": 2.0 for i in range(9)})


@pytest.fixture(scope="session")
def rir_dir(tmp_path_factory: pytest.TempPathFactory, make_clips: Callable[..., Path]) -> Path:
    return make_clips(tmp_path_factory.mktemp("rir"), {"rir/a": 0.2, "rir/b": 5.0}, channels=2)
