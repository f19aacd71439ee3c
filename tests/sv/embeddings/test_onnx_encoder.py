"""Bundles through onnxruntime: embeddings by tiny models, and parts that do not belong together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sv.embeddings.onnx_encoder import OnnxEncoder, is_bundle, open_session
from sv.errors import UserError
from sv.io import sha256_of
from tests.sv.export.exported_system import NEEDS_EXPORT

pytestmark = NEEDS_EXPORT

SHIFT = 80  # samples of a frame, which are its features
ABOUT = {"model_sha256": "m", "fingerprint": "f", "sample_rate": "8000", "output_dim": str(SHIFT)}


def save_model(path: Path, node: Any, ranks: tuple[int, int], about: dict[str, str]) -> None:
    """Save a model of one node, of which one input and one output have these ranks and any size."""
    from onnx import TensorProto, helper, save

    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}{axis}" for axis in range(rank)])
        for name, rank in zip((node.input[0], node.output[0]), ranks, strict=True)
    ]
    frames = helper.make_tensor("frames", TensorProto.INT64, [3], [0, -1, SHIFT])
    graph = helper.make_graph([node], "tiny", values[:1], values[1:], [frames])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, about)
    save(model, path)


def save_front_end(bundle: Path, **about: str) -> None:
    """Save a front-end that cuts the samples into frames."""
    from onnx import helper

    cut = helper.make_node("Reshape", ["waveform", "frames"], ["feats"])
    save_model(bundle / "front_end.onnx", cut, (2, 3), {**ABOUT, **about})


def sign(bundle: Path) -> None:
    names = ("front_end.onnx", "model.onnx")
    (bundle / "SHA256SUMS").write_text("".join(f"{sha256_of(bundle / name)}  {name}\n" for name in names))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose embedding is the largest sample of the frames, at each place in a frame."""
    from onnx import helper

    largest = helper.make_node("ReduceMax", ["feats"], ["embs"], axes=[1], keepdims=0)
    save_model(tmp_path / "model.onnx", largest, (3, 2), ABOUT)
    save_front_end(tmp_path)
    sign(tmp_path)
    return tmp_path


def waveform(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).normal(0, 0.1, SHIFT * frames).astype(np.float32)


def test_a_bundle_tells_its_model_and_embeds(bundle: Path) -> None:
    encoder = OnnxEncoder(bundle)
    assert (encoder.sha256, encoder.fingerprint) == ("m", "f")
    assert (encoder.sample_rate, encoder.embedding_dim) == (8000, SHIFT)
    embedding = encoder.embed(waveform(5))
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding, waveform(5).reshape(5, SHIFT).max(axis=0))


def test_a_long_recording_is_embedded_in_equal_chunks(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.embeddings.onnx_encoder.MAX_FRAMES", 299)
    halves = waveform(300).reshape(2, 150, SHIFT)
    np.testing.assert_allclose(OnnxEncoder(bundle).embed(waveform(300)), halves.max(axis=1).mean(axis=0), rtol=1e-6)


def test_an_embedding_that_is_not_finite_is_refused(bundle: Path) -> None:
    with pytest.raises(UserError, match="the embedding has NaN or infinite values; check the recording and the model"):
        OnnxEncoder(bundle).embed(np.full(SHIFT, np.inf, np.float32))


def test_a_folder_with_the_network_or_the_checksums_is_a_bundle(bundle: Path) -> None:
    assert is_bundle(bundle)
    (bundle / "model.onnx").unlink()
    assert is_bundle(bundle)
    (bundle / "SHA256SUMS").unlink()
    assert not is_bundle(bundle)


def test_changed_or_missing_part_is_named(bundle: Path) -> None:
    with open(bundle / "front_end.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"front_end.onnx is not the file that was exported; copy the bundle again"):
        OnnxEncoder(bundle)
    for name in ("front_end.onnx", "SHA256SUMS"):
        (bundle / name).unlink()
        with pytest.raises(UserError, match=rf"/{name} does not exist; copy the bundle whole"):
            OnnxEncoder(bundle)


def test_parts_of_two_models_are_refused(bundle: Path) -> None:
    save_front_end(bundle, fingerprint="other")
    sign(bundle)
    with pytest.raises(UserError, match=r"front_end.onnx and model.onnx are not of one model; export them again"):
        OnnxEncoder(bundle)


def test_model_that_onnxruntime_cannot_read_is_named(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:50])
    sign(bundle)
    with pytest.raises(UserError, match=r"/model.onnx is no ONNX model that onnxruntime can run"):
        OnnxEncoder(bundle)
    with pytest.raises(UserError, match=r"^the model is no ONNX model that onnxruntime can run"):
        open_session(b"x", "the model")
