"""Bundles: what is in them, embeddings from them, and parts that do not belong together."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sv.audio.centered_fbank import make_fbank
from sv.embeddings.encoder import load_encoder
from sv.embeddings.onnx_encoder import OnnxEncoder, is_bundle
from sv.errors import UserError
from sv.export.bundle import write_bundle
from sv.export.model_card import About
from sv.export.parity import cosines
from sv.io import sha256_of
from sv.metrics.results import KEYS, merge_results
from sv.scoring.calibration import load_calibration
from sv.scoring.thresholds import add_thresholds, read_thresholds
from sv.verifier import Verifier
from tests.sv.export.exported_system import DIM, NEEDS_EXPORT, make_exp

pytestmark = [pytest.mark.slow, NEEDS_EXPORT]

ENTRY = {
    "eer": 4.2, "min_dcf": {"0.01": 0.4}, "interval": {"eer": [3.1, 5.5]}, "num_target": 100, "num_nontarget": 900,
}  # fmt: skip


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = make_exp(tmp_path_factory.mktemp("bundles") / "exp")
    merge_results(exp, {"O.kaldi": {"cos": {**dict.fromkeys(KEYS, "x"), **ENTRY}}})
    return exp


@pytest.fixture(scope="module")
def bundle(exp: Path) -> Path:
    write_bundle(exp, exp.parent / "bundle", About("apache-2.0", "noise", "en"))
    return exp.parent / "bundle"


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def sign_again(bundle: Path) -> None:
    lines = [line.split() for line in (bundle / "SHA256SUMS").read_text().splitlines()]
    (bundle / "SHA256SUMS").write_text("".join(f"{sha256_of(bundle / name)}  {name}\n" for _, name in lines))


def test_bundle_has_all_parts_and_their_checksums(bundle: Path) -> None:
    files = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
    parts = ["README.md", "calibration/cos.json", "front_end.onnx", "mean.npy", "model.onnx", "thresholds.json"]
    assert files == sorted(["SHA256SUMS", *parts]) and is_bundle(bundle) and not is_bundle(bundle.parent / "exp")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == len(parts)
    assert [path.name for path in bundle.parent.iterdir() if path.name.startswith(".")] == []
    known = {"mean": "mean.npy", "mean_sha256": sha256_of(bundle / "mean.npy")}
    assert load_calibration(bundle / "calibration" / "cos.json").trained_on == known


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
    exp: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(exp, tmp_path / "exp")
    (folder / "results.json").unlink()
    measured = {"cllr": 1.82, "calibration_sha256": sha256_of(folder / "calibration/cos.json")}
    merge_results(folder, {"O.kaldi": {"cos_cali": {**dict.fromkeys(KEYS, 1.0), **ENTRY, **measured}}})
    write_bundle(folder, tmp_path / "bundle", About())
    Verifier(tmp_path / "bundle")
    assert "Calibration fails on O cos: Cllr up to 1.82" in caplog.text


def test_long_recordings_are_embedded_in_equal_chunks(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = OnnxEncoder(bundle)
    waveform = np.random.default_rng(0).normal(0, 0.1, 400 + 160 * 299).astype(np.float32)  # 300 frames
    halves = [encoder.embed(waveform[: 400 + 160 * 149]), encoder.embed(waveform[160 * 150 :])]
    monkeypatch.setattr("sv.embeddings.onnx_encoder.MAX_FRAMES", 299)
    np.testing.assert_allclose(encoder.embed(waveform), np.mean(halves, axis=0), rtol=1e-4, atol=1e-5)


def test_model_card_begins_with_a_block_for_hubs(bundle: Path, copy: Path) -> None:
    _, head, text = (bundle / "README.md").read_text().split("---\n", 2)
    assert "trained with the loss" not in text  # nothing tells that: the system has no log of a training
    tags = yaml.safe_load(head)
    assert (tags["license"], tags["language"], tags["library_name"]) == ("apache-2.0", ["en"], "onnx")
    assert "speaker-verification" in tags["tags"]
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Use", "Thresholds", "Data", "Licence", "Results", "Limits"
    ]  # fmt: skip
    assert "| O | cos | 4.200 [3.10, 5.50] | 0.400 | 100 | 900 |" in text
    assert "(100 target, 900 non-target)" in text and "| fa_0.01 | 20.00 | 10.00 | 1.00 |" in text


def test_changed_or_missing_part_is_named(copy: Path) -> None:
    mean = np.load(copy / "mean.npy")
    np.save(copy / "mean.npy", mean + 1)
    with pytest.raises(UserError, match=r"copy/mean.npy is not the file that was exported; copy the bundle again"):
        OnnxEncoder(copy)
    (copy / "mean.npy").unlink()
    with pytest.raises(UserError, match=r"copy/mean.npy does not exist; copy the bundle whole"):
        OnnxEncoder(copy)
    (copy / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match=r"copy/SHA256SUMS does not exist; copy the bundle whole"):
        OnnxEncoder(copy)


def test_parts_of_two_models_are_refused(exp: Path, copy: Path, tmp_path: Path) -> None:
    other = make_exp(tmp_path / "other", fbank={"window": "povey"})
    write_bundle(other, tmp_path / "second", About())
    shutil.copy(tmp_path / "second" / "front_end.onnx", copy)
    sign_again(copy)
    with pytest.raises(UserError, match=r"front_end.onnx and model.onnx are not of one model; export them again"):
        OnnxEncoder(copy)


def test_model_that_onnxruntime_cannot_read_is_named(copy: Path) -> None:
    (copy / "model.onnx").write_bytes((copy / "model.onnx").read_bytes()[:5000])
    sign_again(copy)
    with pytest.raises(UserError, match=r"copy/model.onnx is no ONNX model that onnxruntime can run"):
        OnnxEncoder(copy)


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
    path.unlink()
    with pytest.raises(UserError, match=r"cos.json does not exist; calibrate it: stages 4 to 7"):
        write_bundle(plain, tmp_path / "out", About())
    (plain / "thresholds.json").unlink()
    with pytest.raises(UserError, match=r"thresholds.json does not exist; calibrate it: stages 4 to 7"):
        write_bundle(plain, tmp_path / "out", About())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain"]
