"""Bundles: what is in them, embeddings from them, and systems that are not ready."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from sv.audio.centered_fbank import make_fbank
from sv.embeddings.encoder import load_encoder
from sv.embeddings.onnx_encoder import FRONT_END, NETWORK, OnnxEncoder, is_bundle
from sv.errors import UserError
from sv.export.bundle import write_bundle
from sv.export.model_card import About
from sv.export.parity import cosines
from sv.io import sha256_of
from sv.metrics.results import merge_results
from sv.scoring.calibration import load_calibration
from sv.scoring.thresholds import add_thresholds, read_thresholds
from sv.verifier import Verifier
from tests.sv.export.exported_system import DIM, NEEDS_EXPORT, RESULT, make_exp

pytestmark = [pytest.mark.slow, NEEDS_EXPORT]


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_exp(tmp_path_factory.mktemp("bundles") / "exp")


@pytest.fixture(scope="module")
def bundle(exp: Path) -> Path:
    write_bundle(exp, exp.parent / "bundle", About("apache-2.0", "noise", "en"))
    return exp.parent / "bundle"


def test_bundle_has_all_parts_and_their_checksums(bundle: Path) -> None:
    files = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
    parts = ["README.md", "calibration/cos.json", "front_end.onnx", "mean.npy", "model.onnx", "thresholds.json"]
    assert files == sorted(["SHA256SUMS", *parts]) and is_bundle(bundle) and not is_bundle(bundle.parent / "exp")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == len(parts)
    assert [path.name for path in bundle.parent.iterdir() if path.name.startswith(".")] == []
    known = {"mean": "mean.npy", "mean_sha256": sha256_of(bundle / "mean.npy")}
    assert load_calibration(bundle / "calibration" / "cos.json").trained_on == known
    assert (bundle / "README.md").read_text().startswith("---\nlicense: apache-2.0\n")


def test_embeddings_are_those_of_torch(exp: Path, bundle: Path) -> None:
    encoder, found = load_encoder(exp), OnnxEncoder(bundle)
    assert (found.sha256, found.embedding_dim, found.sample_rate) == (encoder.sha256, DIM, 16000)
    assert found.fingerprint == encoder.fingerprint
    for samples in (16000, 53000):
        waveform = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
        feats = make_fbank(encoder.config.dataset_args.fbank_args)(torch.from_numpy(waveform)[None])
        embedding = found.embed(waveform)
        assert embedding.shape == (DIM,) and embedding.dtype == np.float32
        assert cosines(embedding[None], encoder.embed(feats).numpy()).min() >= 1 - 1e-4


def test_thresholds_stay_those_of_the_calibration_in_the_folder(bundle: Path) -> None:
    entry = read_thresholds(bundle, "cos")  # refuses those that were measured with another
    assert entry["eer"]["llr"] == 0.5
    assert entry["measured_on"]["calibration_sha256"] == sha256_of(bundle / "calibration" / "cos.json")


def test_a_bundle_keeps_the_warning_of_a_calibration_that_fails(
    exp: Path, bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    for name, file in (("feats_model", NETWORK), ("front_end_model", FRONT_END)):  # exported once is enough
        monkeypatch.setattr(f"sv.export.bundle.{name}", lambda _, file=file: onnx.load(bundle / file))
    folder = shutil.copytree(exp, tmp_path / "exp")
    measured = {"cllr": 1.82, "calibration_sha256": sha256_of(folder / "calibration/cos.json")}
    merge_results(folder, {"O.kaldi": {"cos_cali": {**RESULT, **measured}}})
    write_bundle(folder, tmp_path / "bundle", About())
    Verifier(tmp_path / "bundle")
    assert "Calibration fails on O cos: Cllr up to 1.82" in caplog.text


def test_what_is_not_ready_is_refused_and_leaves_nothing(exp: Path, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"{bundle} exists; remove it, or give another folder")):
        write_bundle(exp, bundle, About())
    plain = Path(shutil.copytree(exp, tmp_path / "plain"))
    path = plain / "calibration" / "cos.json"
    before = path.read_text()
    add_thresholds(plain, "cos", {"eer": {"llr": 0.5}})
    for name, what in (("model_sha256", "model"), ("fingerprint", "model and front-end")):
        path.write_text(before.replace('"mean.npy"', f'"mean.npy", "{name}": "0"'))
        with pytest.raises(UserError, match=rf"cos.json is of another {what}; calibrate it: stages 4 to 7"):
            write_bundle(plain, tmp_path / "out", About())
    path.write_text(before.replace('"mean.npy"', '"mean.npy", "mean_sha256": "0"'))
    with pytest.raises(UserError, match=r"mean.npy is not the mean that the calibration was made with; calibrate it"):
        write_bundle(plain, tmp_path / "out", About())
    path.write_text(before)
    np.save(plain / "mean.npy", np.zeros(7))
    with pytest.raises(UserError, match=rf"mean.npy: expected {DIM} finite numbers; make it again"):
        write_bundle(plain, tmp_path / "out", About())
    path.unlink()
    with pytest.raises(UserError, match=r"cos.json does not exist; calibrate it: stages 4 to 7"):
        write_bundle(plain, tmp_path / "out", About())
    (plain / "thresholds.json").unlink()
    with pytest.raises(UserError, match=r"thresholds.json does not exist; calibrate it: stages 4 to 7"):
        write_bundle(plain, tmp_path / "out", About())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain"]
