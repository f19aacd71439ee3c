"""The encoder of an experiment folder: chunks of long utterances, and files that are refused."""

import dataclasses
import hashlib
import re
import warnings
from pathlib import Path

import pytest
import torch

from sv.config import VadArgs
from sv.embeddings.encoder import load_encoder
from sv.embeddings.experiment import fingerprint_of
from sv.errors import UserError
from tests.sv.embeddings.random_system import MELS, make_system


@pytest.fixture
def system(tmp_path: Path) -> tuple[Path, Path]:
    """An experiment folder and a data dir."""
    return make_system(tmp_path)


def test_fingerprint_tells_the_front_end_and_later_keys_only_where_they_are_set(system: tuple[Path, Path]) -> None:
    encoder = load_encoder(system[0])
    front_end = (
        '{"kind":"kaldi","int16_scale":true,"unit_variance":false,"sample_rate":16000,"num_mel_bins":16,'
        '"frame_length":25.0,"frame_shift":10.0,"window":"hamming","low_freq":20.0,"high_freq":0.0,"dither":1.0}'
    )
    assert encoder.fingerprint == hashlib.sha256(f"{encoder.sha256} {front_end} True".encode()).hexdigest()
    args = encoder.config.dataset_args
    other = args.model_copy(update={"fbank_args": args.fbank_args.model_copy(update={"snip_edges": False})})
    config = encoder.config.model_copy(update={"dataset_args": other})
    assert dataclasses.replace(encoder, config=config).fingerprint != encoder.fingerprint


def test_fingerprint_tells_the_settings_of_a_vad_that_is_on(system: tuple[Path, Path]) -> None:
    encoder = load_encoder(system[0])

    def fingerprint(**changes: object) -> str:
        args = encoder.config.dataset_args.model_copy(update=changes)
        return fingerprint_of(encoder.config.model_copy(update={"dataset_args": args}), encoder.sha256)

    other = VadArgs(energy_threshold=4)
    assert fingerprint(vad_args=other) == encoder.fingerprint  # no VAD
    assert fingerprint(vad=True, vad_args=VadArgs(energy_threshold=5.5)) == fingerprint(vad=True)
    assert len({encoder.fingerprint, fingerprint(vad=True), fingerprint(vad=True, vad_args=other)}) == 3


def test_long_utterance_is_the_mean_of_its_chunks(system: tuple[Path, Path]) -> None:
    encoder = load_encoder(system[0])
    feats = torch.randn(45, MELS)
    centered = feats - feats.mean(0)
    with torch.no_grad():
        chunks = torch.cat([encoder.model(chunk[None]) for chunk in (centered[:23], centered[23:])])
    torch.testing.assert_close(encoder.embed(feats, max_frames=40), chunks.mean(0), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(encoder.embed(feats, max_frames=45), encoder.embed(feats), atol=0, rtol=0)


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_truncated_model_file_is_refused(system: tuple[Path, Path], size: int) -> None:
    path = system[0] / "models" / "avg_model.pt"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"avg_model.pt is not a model file, or is truncated"):
        load_encoder(system[0])


@pytest.mark.parametrize("content", [b"epochs: 150\n", b"\n"])
def test_text_in_place_of_a_model_file_is_named(system: tuple[Path, Path], content: bytes) -> None:
    (system[0] / "models" / "avg_model.pt").write_bytes(content)
    told = rf"avg_model.pt is no checkpoint of torch.save: it begins with {re.escape(repr(content))}; average"
    with pytest.raises(UserError, match=told):
        load_encoder(system[0])


def test_model_with_nan_is_named_with_its_tensor(system: tuple[Path, Path]) -> None:
    path = system[0] / "models" / "avg_model.pt"
    state = torch.load(path)
    state["bn1.running_var"][1] = torch.nan
    torch.save(state, path)
    with pytest.raises(
        UserError, match=r"avg_model.pt: bn1.running_var has NaN or infinite values; average, train or import"
    ):
        load_encoder(system[0])


def test_model_file_with_objects_is_not_read_and_says_so_in_a_line(system: tuple[Path, Path]) -> None:
    path = system[0] / "models" / "avg_model.pt"
    torch.save({"model": Path("object")}, path)
    told = (
        r"avg_model.pt holds a Python object, pathlib[.\w]+, which may run code and is not read; save the tensors alone"
    )
    with warnings.catch_warnings(), pytest.raises(UserError, match=told) as error:
        warnings.simplefilter("error")
        load_encoder(system[0])
    assert "\n" not in str(error.value)


def test_model_file_with_another_checksum_is_refused(system: tuple[Path, Path]) -> None:
    path = system[0] / "models" / "avg_model.pt"
    path.with_name("avg_model.pt.sha256").write_text(f"{'0' * 64}  avg_model.pt\n")
    with pytest.raises(UserError, match="is damaged: its checksum is not that of"):
        load_encoder(system[0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model: resnet_small", "model: ResNet35", "unknown model 'ResNet35'; did you mean"),
        (
            "  embed_dim: 8",
            "  embed_dimm: 8",
            "model resnet_small has no option 'embed_dimm'; did you mean 'embed_dim'",
        ),
    ],
)
def test_configuration_of_an_unknown_model_is_named(
    system: tuple[Path, Path], old: str, new: str, message: str
) -> None:
    config = system[0] / "config.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(UserError, match=rf"exp/config.yaml: {message}"):
        load_encoder(system[0])


def test_model_that_takes_other_mels_than_the_fbank_makes_is_refused(system: tuple[Path, Path]) -> None:
    config = system[0] / "config.yaml"
    config.write_text(config.read_text().replace("num_mel_bins: 16", "num_mel_bins: 80"))
    with pytest.raises(UserError, match="the model takes 16 mels, the fbank makes 80"):
        load_encoder(system[0])
