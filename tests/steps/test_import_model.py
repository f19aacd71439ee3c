"""steps/import_model.py: a folder that extraction takes, errors in one line; real checkpoints if they are there."""

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from sv.audio.centered_fbank import make_fbank
from sv.embeddings.encoder import load_encoder
from sv.embeddings.experiment import read_config
from sv.metrics.error_rates import eer, sort_scores
from sv.models import build_model
from sv.training.import_checkpoint import SOURCES

Step = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def published(root: Path) -> Path:
    """The folder of published checkpoints, which tools/fetch_test_model.sh fills."""
    folder = Path(os.environ.get("SV_TEST_MODELS") or root / "corpora" / "test_models")
    if not (folder / "campplus_cn_en_common.pt").is_file():
        pytest.skip(f"no published checkpoints in {folder}: run tools/fetch_test_model.sh")
    return folder


@pytest.mark.slow
def test_imports_a_checkpoint(step: Step, tmp_path: Path) -> None:
    torch.save(build_model("CAMPPlus", {"embed_dim": 8}).state_dict(), tmp_path / "x.pt")
    done = step("steps/import_model.py", "--from", "3dspeaker", tmp_path / "x.pt", tmp_path / "exp")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/exp: CAMPPlus of 937 tensors, no head" in done.stderr
    assert "int16_scale False" in done.stderr and "window povey" in done.stderr
    assert read_config(tmp_path / "exp").model_args["embed_dim"] == 8


def test_error_is_one_line(step: Step, tmp_path: Path) -> None:
    done = step("steps/import_model.py", "--from", "wespeaker", tmp_path / "no", tmp_path / "exp")
    assert done.returncode == 1
    assert done.stderr == f"import_model.py: error: {tmp_path}/no does not exist; give a checkpoint, see --help\n"


def test_unknown_encoder_is_a_wrong_call(step: Step, tmp_path: Path) -> None:
    done = step(
        "steps/import_model.py", "--from", "wespeaker", "--model", "ResNet35", tmp_path / "no", tmp_path / "exp"
    )
    assert done.returncode == 2
    assert done.stderr.startswith("import_model.py: error: unknown model 'ResNet35'; did you mean 'ResNet34'?")


def test_unknown_toolkit_prints_usage_with_all(step: Step, tmp_path: Path) -> None:
    done = step("steps/import_model.py", "--from", "nemo", tmp_path / "x.pt", tmp_path / "exp")
    assert done.returncode == 2
    assert "usage: import_model.py" in done.stderr and all(source in done.stderr for source in SOURCES)


def embed(exp_dir: Path, files: list[Path]) -> np.ndarray:
    """Embeddings (files, dim) of norm 1, of FLAC files."""
    encoder = load_encoder(exp_dir)
    fbank = make_fbank(encoder.config.dataset_args.fbank_args)
    waves = [torch.from_numpy(soundfile.read(file, dtype="float32")[0])[None] for file in files]
    matrix = torch.cat([encoder.embed(fbank(wave)) for wave in waves]).numpy()
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def some_files(corpora: Path) -> list[Path]:
    """Three recordings of each of 50 speakers."""
    speakers = sorted((corpora / "speechocean762" / "WAVE").iterdir())[::4][:50]
    return [file for speaker in speakers for file in sorted(speaker.glob("*.flac"))[:3]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "name", "lowest", "highest"),
    [("3dspeaker", "campplus_cn_en_common.pt", 0.3, 0.7), ("resemblyzer", "ge2e.pt", 2.5, 4.5)],  # found: 0.46, 3.33
)
def test_published_network_has_its_eer(
    published: Path, corpora: Path, step: Step, tmp_path: Path, source: str, name: str, lowest: float, highest: float
) -> None:
    done = step("steps/import_model.py", "--from", source, published / name, tmp_path / "exp")
    assert done.returncode == 0, done.stderr
    files = some_files(corpora)
    matrix = embed(tmp_path / "exp", files)
    pairs = np.triu_indices(len(files), 1)
    speaker = np.array([file.parent.name for file in files])
    same, cosine = (speaker[:, None] == speaker)[pairs], (matrix @ matrix.T)[pairs]
    scores = sort_scores(cosine[same], cosine[~same])
    assert lowest < eer(scores) < highest


@pytest.mark.slow
def test_front_end_of_3d_speakers_network_is_torchaudios(
    published: Path, corpora: Path, step: Step, tmp_path: Path
) -> None:
    checkpoint = published / "campplus_cn_en_common.pt"
    done = step("steps/import_model.py", "--from", "3dspeaker", checkpoint, tmp_path / "exp")
    assert done.returncode == 0, done.stderr
    encoder, files = load_encoder(tmp_path / "exp"), some_files(corpora)[::50]
    for file, ours in zip(files, embed(tmp_path / "exp", files), strict=True):
        wave = torch.from_numpy(soundfile.read(file, dtype="float32")[0])[None]
        theirs = encoder.embed(torchaudio.compliance.kaldi.fbank(wave, num_mel_bins=80, dither=0.0)).numpy()
        assert ours @ theirs / np.linalg.norm(theirs) > 1 - 1e-6
