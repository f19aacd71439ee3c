"""Small data dirs of noise to check."""

from pathlib import Path

import numpy as np
import soundfile


def write_set(folder: Path, utts: dict[str, tuple[str, np.ndarray, int]]) -> Path:
    """Write a data dir; `utts` maps utterances to (speaker, waveform, rate)."""
    folder.mkdir()
    for utt, (_, waveform, rate) in utts.items():
        soundfile.write(folder / f"{utt}.wav", waveform, rate, subtype="PCM_16")
    (folder / "wav.scp").write_text("".join(f"{utt} {folder}/{utt}.wav\n" for utt in utts))
    (folder / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, (spk, *_) in utts.items()))
    return folder


def noise(seconds: float, seed: int, rate: int = 16000) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))


def make_sets(root: Path) -> tuple[Path, Path]:
    """Write a training set of two speakers and a test set of another one."""
    utts = {f"a-{n}": ("a", noise(n, n), 16000) for n in (1, 2)}
    train = write_set(root / "train", {**utts, "b-1": ("b", noise(3, 3), 16000)})
    return train, write_set(root / "test", {"c-1": ("c", noise(2, 4), 16000)})
