"""Exported files through onnxruntime, against torch."""

import json
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sv.audio.centered_fbank import make_fbank
from sv.config import FbankConfig
from sv.embeddings.encoder import SpeakerEncoder, load_encoder
from sv.export.files import write_file
from sv.export.onnx_files import feats_model, front_end_model, join
from sv.export.parity import cosines
from sv.models import build_model
from sv.models.catalog import CHECKPOINTS
from sv.models.encoder import Encoder
from tests.sv.export.exported_system import DIM, NEEDS_EXPORT, make_exp, real_speech

pytestmark = NEEDS_EXPORT

SMALL_REDIMNET = {
    "channels": 8, "block_2d_type": "basic_resnet", "group_divisor": 4, "stages_setup": [(2, 1, 1, 8)]
}  # fmt: skip
SMALL_REDIMNET2 = {
    "channels": 8, "group_divisor": 4, "stages_setup": [((2, 2), 1, 1, 8)]
}  # fmt: skip
SHERPA: dict[str, Any] = {"window": "povey", "high_freq": -400.0, "snip_edges": False}  # as docs/export.md says
FAMILIES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("resnet_small", {}, {}),
    ("SimAM_ResNet34_ASP", {"in_planes": 8}, {}),
    ("ECAPA_TDNN_c512", {}, {}),
    ("ECAPA_TDNN_GLOB_c512", {}, {}),
    ("ECAPA_TDNN_SpeechBrain", {"channels": 64}, {"kind": "speechbrain"}),
    ("GE2E_LSTM", {"window_frames": 40, "step_frames": 19, "num_layers": 2}, {"kind": "ge2e", "num_mel_bins": 40}),
    ("XVEC", {}, {"window": "povey", "int16_scale": False, "snip_edges": False}),
    ("CAMPPlus", {}, {}),
    ("XI_VEC_XVEC", {}, {}),
    ("ReDimNet", SMALL_REDIMNET, {"num_mel_bins": 72}),
    ("ReDimNet2", SMALL_REDIMNET2, {"kind": "redimnet_tf", "num_mel_bins": 72, "high_freq": 7600.0}),
    ("Gemini_DF_ResNet60", {}, {}),
    ("REPVGG_TINY_A0", {}, {}),
    ("Res2Net34_Base", {"m_channels": 8}, {}),
    ("ERes2Net34_Base", {"m_channels": 8}, {}),
    ("ERes2NetV2", {"m_channels": 8}, {}),
]


NOT_EXPORTED = {"wavlm"}  # tests/sv/models/test_wavlm.py


@pytest.fixture(scope="module")
def front_end() -> Callable[[SpeakerEncoder], Any]:
    """Export a front-end, each kind of it once."""
    made: dict[str, Any] = {}

    def export(encoder: SpeakerEncoder) -> Any:
        key = encoder.config.dataset_args.fbank_args.model_dump_json()
        if key not in made:
            made[key] = front_end_model(encoder)
            del made[key].metadata_props[:]  # those of this encoder, which could not be joined to another
        return made[key]

    return export


@pytest.fixture
def fewer_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build encoders of fewer layers, since the export takes time for each layer."""
    monkeypatch.setattr("sv.models.campplus.BLOCKS", ((2, 1), (1, 2), (1, 2)))
    monkeypatch.setattr("sv.models.res2net.NUM_BLOCKS", (1, 1, 1, 1))
    for name in ("ecapa_tdnn", "ecapa_speechbrain"):
        monkeypatch.setattr(f"sv.models.{name}.RES2_SCALE", 4)
    for name in ("simam_resnet:SimamResNet", "gemini_dfresnet:GeminiDfResNet", "repvgg:RepVgg"):
        module, _, encoder = name.partition(":")
        whole = getattr(import_module(f"sv.models.{module}"), encoder)
        few = partial(_with_few_blocks, whole)
        monkeypatch.setattr(f"sv.models.{module}.{encoder}", few)


def _with_few_blocks(encoder: Callable[..., Encoder], options: object, **sizes: Any) -> Encoder:
    return encoder(options, **{**sizes, "num_blocks": (1, 1, 1, 1)})


def _session(model: str | bytes) -> Any:
    from onnxruntime import InferenceSession

    return InferenceSession(model)


@pytest.mark.slow
@pytest.mark.usefixtures("fewer_layers")
@pytest.mark.parametrize(("model", "args", "fbank"), FAMILIES, ids=[name for name, *_ in FAMILIES])
def test_every_encoder_gives_torchs_embeddings_of_real_speech(
    model: str,
    args: dict[str, Any],
    fbank: dict[str, Any],
    tmp_path: Path,
    corpora: Path,
    front_end: Callable[[SpeakerEncoder], Any],
) -> None:
    encoder, speech = load_encoder(make_exp(tmp_path / "exp", model, fbank, **args)), real_speech(corpora)
    network = feats_model(encoder)
    of_waveform, of_feats = (
        _session(part.SerializeToString()) for part in (join(front_end(encoder), network), network)
    )
    fbank_of = make_fbank(encoder.config.dataset_args.fbank_args)
    assert [(x.name, x.shape) for x in of_waveform.get_inputs()] == [("waveform", ["B", "S"])]
    waveforms = [speech[None, : int(16000 * seconds)] for seconds in (0.5, 1.3, 10.0)]
    for waveform in [*waveforms, np.stack([speech[:32000], speech[32000:64000]])]:
        feats = fbank_of(torch.from_numpy(waveform))
        expected = encoder.embed(feats).numpy()
        for session, x in ((of_waveform, {"waveform": waveform}), (of_feats, {"feats": feats.numpy()})):
            (found,) = session.run(["embs"], x)
            assert found.shape == (len(waveform), DIM)
            assert cosines(found, expected).min() >= 1 - 1e-4, waveform.shape


@pytest.mark.slow
def test_every_family_of_encoders_is_compared() -> None:
    with torch.device("meta"):
        modules = {type(build_model(model, args)).__module__.rpartition(".")[2] for model, args, _ in FAMILIES}
    assert modules | NOT_EXPORTED == set(CHECKPOINTS) and not modules & NOT_EXPORTED


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    write_file(make_exp(folder / "exp"), folder / "x.onnx", "onnx", "feats")
    return folder


@pytest.mark.slow
def test_file_of_features_has_the_names_and_metadata_that_runtimes_look_for(system: Path) -> None:
    assert [path.name for path in system.iterdir() if "x.onnx" in path.name] == ["x.onnx"]  # no external data
    import onnx

    model = onnx.load(system / "x.onnx")
    onnx.checker.check_model(model)
    session = _session(str(system / "x.onnx"))
    (feats,), (embs,) = session.get_inputs(), session.get_outputs()
    assert (feats.name, feats.shape, feats.type) == ("feats", ["B", "T", 80], "tensor(float)")
    assert (embs.name, embs.shape, embs.type) == ("embs", ["B", DIM], "tensor(float)")
    told = session.get_modelmeta().custom_metadata_map
    sherpa = ("framework", "language", "output_dim", "sample_rate", "normalize_samples")
    assert [told[key] for key in sherpa] == ["wespeaker", "unknown", "16", "16000", "0"]
    assert "feature_normalize_type" not in told  # the mean is subtracted inside
    assert told["model_sha256"] == load_encoder(system / "exp").sha256 and told["min_frames"] == "10"
    assert json.loads(told["fbank_args"])["window"] == "hamming" and json.loads(told["cmvn"]) is True


@pytest.mark.slow
def test_file_of_features_subtracts_their_mean(system: Path) -> None:
    feats = np.random.default_rng(0).normal(10, 2, (3, 120, 80)).astype(np.float32)
    session = _session(str(system / "x.onnx"))
    found, shifted = (session.run(None, {"feats": x})[0] for x in (feats, feats + 5))
    np.testing.assert_allclose(found, shifted, atol=1e-4)
    expected = load_encoder(system / "exp").embed(torch.from_numpy(feats)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_sherpa_onnx_loads_the_file_and_embeds(system: Path, corpora: Path) -> None:
    sherpa_onnx = pytest.importorskip("sherpa_onnx")
    config = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(system / "x.onnx"))
    extractor, speech = sherpa_onnx.SpeakerEmbeddingExtractor(config), real_speech(corpora)[: 5 * 16000]
    assert extractor.dim == DIM
    stream = extractor.create_stream()
    stream.accept_waveform(16000, speech)
    stream.input_finished()
    assert extractor.is_ready(stream)
    found, encoder = np.array([extractor.compute(stream)], dtype=np.float32), load_encoder(system / "exp")
    for fbank, lowest in ((FbankConfig(), 0.9), (FbankConfig(**SHERPA), 0.999)):  # its window and frames are others
        feats = make_fbank(fbank)(torch.from_numpy(speech)[None])
        assert cosines(found, encoder.embed(feats).numpy()).min() > lowest


@pytest.mark.slow
def test_features_of_the_preset_are_those_that_sherpa_onnx_computes(corpora: Path, tmp_path: Path) -> None:
    sherpa_onnx = pytest.importorskip("sherpa_onnx")
    from onnx import TensorProto, helper, save  # a network that returns its features

    feats = helper.make_tensor_value_info("feats", TensorProto.FLOAT, ["B", "T", 80])
    embs = helper.make_tensor_value_info("embs", TensorProto.FLOAT, ["B", "D"])
    row = helper.make_tensor("row", TensorProto.INT64, [2], [1, -1])
    reshape = helper.make_node("Reshape", ["feats", "row"], ["embs"])
    graph = helper.make_graph([reshape], "features", [feats], [embs], [row])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    about = {"framework": "wespeaker", "language": "en", "output_dim": "80", "sample_rate": "16000"}
    for int16_scale in (True, False):
        helper.set_model_props(model, {**about, "normalize_samples": str(int(not int16_scale))})
        save(model, tmp_path / "x.onnx")
        config = sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(tmp_path / "x.onnx"))
        extractor = sherpa_onnx.SpeakerEmbeddingExtractor(config)
        for samples in (16000, 50077):
            waveform, stream = real_speech(corpora)[:samples], extractor.create_stream()
            stream.accept_waveform(16000, waveform)
            stream.input_finished()
            found = np.array(extractor.compute(stream), dtype=np.float32).reshape(-1, 80)
            settings = {**SHERPA, "int16_scale": int16_scale}
            expected = make_fbank(FbankConfig(**settings))(torch.from_numpy(waveform)[None])[0].numpy()
            assert found.shape == expected.shape == ((samples + 80) // 160, 80)
            assert np.quantile(np.abs(found - expected), 0.999) < 5e-3 and np.abs(found - expected).max() < 0.1
