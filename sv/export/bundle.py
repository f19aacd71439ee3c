"""Write a bundle: one folder with everything that verification needs, for a machine without torch.

    model.onnx            features to embeddings
    front_end.onnx        waveform to features
    mean.npy              mean of a cohort, subtracted from embeddings; only if the calibration takes one
    calibration/cos.json  cosine scores to log-likelihood ratios
    thresholds.json       entry "cos"
    README.md             model card, in the format of model hubs
    SHA256SUMS            checksums of the others, for sha256sum -c

`sv.Verifier` and steps/verify.py take the folder like that of a trained system.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from sv.embeddings.onnx_encoder import FRONT_END, NETWORK, SUMS
from sv.errors import UserError
from sv.export.graphs import load_exportable
from sv.export.model_card import About, model_card
from sv.export.onnx_files import feats_model, front_end_model
from sv.io import atomic_write, sha256_of
from sv.io.atomic import temporary_name
from sv.metrics.results import failure_of
from sv.scoring.calibration import load_calibration
from sv.scoring.thresholds import add_thresholds, read_thresholds

BACKEND = "cos"
CALIBRATION = f"calibration/{BACKEND}.json"
MEAN = "mean.npy"


def write_bundle(exp_dir: Path, bundle: Path, about: About, model_file: Path | None = None) -> None:
    """Export a trained and calibrated system into a folder that does not exist yet; whole or not at all.

    Args:
        exp_dir: folder of the system.
        bundle: the folder.
        about: facts of the model card besides the results.
        model_file: None for models/avg_model.pt.

    Raises:
        UserError: the folder exists; the system is not calibrated, or its calibration is of another model or mean; see
            also `feats_model`.
    """
    if bundle.exists():
        raise UserError(f"{bundle} exists; remove it, or give another folder")
    thresholds, path = read_thresholds(exp_dir, BACKEND), exp_dir / CALIBRATION
    calibration = load_calibration(path)
    encoder = load_exportable(exp_dir, model_file)
    calibration.check_made_by(encoder.sha256, encoder.fingerprint, path)
    mean = calibration.read_mean(exp_dir, encoder.model.embedding_dim)
    models = {NETWORK: feats_model(encoder), FRONT_END: front_end_model(encoder)}
    bundle.parent.mkdir(parents=True, exist_ok=True)
    folder = temporary_name(bundle)
    try:
        folder.mkdir()
        for name, model in models.items():
            (folder / name).write_bytes(model.SerializeToString())
        if mean is not None:
            np.save(folder / MEAN, mean)
        told = {**calibration.trained_on, "mean": None}
        if mean is not None:
            told |= {"mean": MEAN, "mean_sha256": sha256_of(folder / MEAN)}
        replace(calibration, trained_on=told).save(folder / CALIBRATION)
        measured_on = {**thresholds.get("measured_on", {}), "calibration_sha256": sha256_of(folder / CALIBRATION)}
        if failure := failure_of(exp_dir, BACKEND, sha256_of(path)):
            measured_on["failure"] = failure
        add_thresholds(folder, BACKEND, {**thresholds, "measured_on": measured_on})
        (folder / "README.md").write_text(model_card(exp_dir, encoder.config, thresholds, about))
        with atomic_write(folder / SUMS) as f:
            files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".tmp"))
            f.writelines(f"{sha256_of(path)}  {path.relative_to(folder)}\n" for path in files)
        os.rename(folder, bundle)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
