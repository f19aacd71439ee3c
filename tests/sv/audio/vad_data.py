"""A data dir of noise between digital silence."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from sv.audio.features import energy_vad, log_energy
from sv.audio.files import read_wav
from sv.config import FbankConfig
from sv.io import write_table

RATE = 16000
UTTS = [f"spk{i // 2}/{i}.wav" for i in range(4)]


def make_data(folder: Path) -> Path:
    """Write a data dir of four utterances of two speakers."""
    folder.mkdir()
    for index, utt in enumerate(UTTS):
        waveform = np.zeros(16000 + 1600 * index, dtype=np.float32)
        waveform[4000:12000] = np.random.default_rng(index).normal(0, 0.1, 8000)
        soundfile.write(folder / f"{index}.wav", waveform, RATE)
        assert utt.endswith(f"{index}.wav")
    write_table(folder / "wav.scp", {utt: folder / f"{index}.wav" for index, utt in enumerate(UTTS)})
    write_table(folder / "utt2spk", {utt: utt[:4] for utt in UTTS})
    write_table(folder / "spk2utt", {"spk0": " ".join(UTTS[:2]), "spk1": " ".join(UTTS[2:])})
    return folder


def expected(spec: str, **settings: float) -> np.ndarray:
    """Return the decisions for one file, computed directly."""
    energy = log_energy(torch.from_numpy(read_wav(spec, RATE)), FbankConfig()).numpy()
    return energy_vad(energy, **settings)  # type: ignore[arg-type]
