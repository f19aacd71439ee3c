"""A random system of any encoder, and real speech for it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from sv.config import parse_config, save_config
from sv.io import sha256_of
from sv.metrics.results import KEYS
from sv.models import build_model
from sv.scoring.calibration import Calibration
from sv.scoring.thresholds import add_thresholds

DIM = 16
THRESHOLDS = {
    "eer": {"llr": 0.5, "miss": 0.02, "false_accept": 0.021},
    "fa_0.01": {"llr": 20.0, "miss": 0.1, "false_accept": 0.01},
}
RESULT = {
    **dict.fromkeys(KEYS, 1.0),
    "eer": 4.2,
    "min_dcf": {"0.01": 0.4},
    "interval": {"eer": [3.1, 5.5]},
    "num_target": 100,
    "num_nontarget": 900,
}
NEEDS_EXPORT = pytest.mark.skipif(  # without importing them, which takes a second
    not all(map(find_spec, ("onnx", "onnxruntime", "onnxscript"))),
    reason="packages of the extra export are missing",
)


def make_exp(exp: Path, model: str = "resnet_small", fbank: dict[str, Any] | None = None, **args: Any) -> Path:
    """An experiment folder with random weights and statistics, calibrated: llr = 10 cosine - 5, threshold 0.5."""
    fbank = {"num_mel_bins": 80, **(fbank or {})}
    args = {"embed_dim": DIM, "feat_dim": fbank["num_mel_bins"], **args}
    tree = {"model": model, "model_args": args, "dataset_args": {"fbank_args": fbank}}
    (exp / "models").mkdir(parents=True)
    save_config(parse_config(tree, "test"), exp / "config.yaml")
    torch.manual_seed(0)
    network = build_model(model, args)
    for name, tensor in network.named_buffers():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    torch.save(network.state_dict(), exp / "models" / "avg_model.pt")
    np.save(exp / "mean.npy", np.full(DIM, 0.01, dtype=np.float32))
    (exp / "calibration").mkdir()
    Calibration(["score"], [10.0], -5.0, 0.05, {"mean": "mean.npy"}).save(exp / "calibration" / "cos.json")
    measured_on = {"num_target": 100, "num_nontarget": 900}
    measured_on |= {"calibration_sha256": sha256_of(exp / "calibration" / "cos.json")}
    add_thresholds(exp, "cos", {**THRESHOLDS, "measured_on": measured_on})
    return exp


def real_speech(corpora: Path) -> NDArray[np.float32]:
    """61 s of one speaker and the next ones, 16 kHz."""
    parts: list[NDArray[np.float32]] = []
    for path in sorted((corpora / "speechocean762" / "WAVE").glob("*/*.flac")):
        parts.append(soundfile.read(path, dtype="float32")[0])
        if sum(map(len, parts)) > 61 * 16000:
            break
    return np.concatenate(parts)
