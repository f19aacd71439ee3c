"""A system that verifies speakers of noise: its model is random."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from sv.config import parse_config, save_config
from sv.models import build_model
from sv.scoring.calibration import Calibration
from sv.scoring.thresholds import add_thresholds

RATE, MELS = 16000, 16
ARGS = {"feat_dim": MELS, "embed_dim": 8}


def make_model(exp: Path) -> Path:
    """Write a system without calibration into a folder, and return it."""
    tree = {"model": "resnet_small", "model_args": ARGS, "dataset_args": {"fbank_args": {"num_mel_bins": MELS}}}
    save_config(parse_config(tree, "test"), exp / "config.yaml")
    torch.manual_seed(0)
    (exp / "models").mkdir()
    torch.save(build_model("resnet_small", ARGS).state_dict(), exp / "models" / "avg_model.pt")
    return exp


def make_exp(exp: Path) -> Path:
    """Write all that a verifier needs into a folder, and return it: llr = 10 cosine - 5, threshold 0.5 at EER."""
    make_model(exp)
    np.save(exp / "mean.npy", np.zeros(8, dtype=np.float32))
    (exp / "calibration").mkdir()
    Calibration(["score"], [10.0], -5.0, 0.05, {"mean": "mean.npy"}).save(exp / "calibration" / "cos.json")
    add_thresholds(exp, "cos", {"eer": {"llr": 0.5}, "fa_0.01": {"llr": 20.0}, "measured_on": {}})
    return exp


def make_strict(exp: Path) -> Path:
    """Write a system whose llr is 2 for a recording with itself, and far below 0 for other noise; return its folder."""
    make_model(exp)
    (exp / "calibration").mkdir()
    Calibration(["score"], [1e6], 2.0 - 1e6, 0.05).save(exp / "calibration" / "cos.json")
    add_thresholds(exp, "cos", {"eer": {"llr": 0.0}, "measured_on": {}})
    return exp


def write_colours(folder: Path) -> list[Path]:
    """Write three noises of different colours, 2 s each."""
    return [
        write(folder / f"{seed}.wav", np.convolve(noise(seed), np.ones(1 + 3 * seed) / (1 + seed))[: 2 * RATE])
        for seed in range(3)
    ]


def loud_seconds(waveform: np.ndarray, sample_rate: int) -> float:
    """Take every second that is not silent for speech; tests/sv/audio/test_speech.py is about the measure."""
    return float((np.abs(waveform) > 1e-3).sum()) / sample_rate


def noise(seed: int, seconds: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, int(RATE * seconds)).astype(np.float32)


def write(path: Path, waveform: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, waveform, rate)
    return path
