"""Embeddings of recordings: in which forms these come, and which are refused. The model is random, the audio noise."""

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchaudio.functional import resample

from sv.audio.features import find_voiced
from sv.audio.recordings import to_waveform
from sv.embeddings import MAX_FRAMES
from sv.embeddings.embedder import Embedder
from sv.errors import UserError
from tests.sv.noise_verifier import RATE, make_model, noise, write

pytestmark = pytest.mark.usefixtures("noise_is_speech")


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("exp"))


def test_audio_of_another_rate_is_resampled_and_told_once(
    exp: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedder, wide = Embedder(exp, gpus="none"), noise(0)
    fast = resample(torch.from_numpy(wide), RATE, 48000).numpy()
    file = write(tmp_path / "fast.wav", fast, 48000)
    found = [embedder.embed(fast, sample_rate=48000), embedder.embed(file)]
    assert [message.count("48000 Hz, resampled to 16000 Hz") for message in caplog.messages] == [1]
    for embedding in found:
        assert embedding @ embedder.embed(wide) > 0.999 * np.linalg.norm(embedding) * np.linalg.norm(
            embedder.embed(wide)
        )
    strict = Embedder(exp, gpus="none", resample_audio=False)
    for audio, rate in ((fast, 48000), (file, None)):
        with pytest.raises(UserError, match="48000 Hz, the model takes 16000 Hz; resample it first"):
            strict.embed(audio, sample_rate=rate)
    for bad in (0, -1, 16, 999, 384001, 16000.0, "16000", True):
        with pytest.raises(UserError, match=r"waveform: sample_rate=.*; give the rate in Hz"):
            embedder.embed(wide, sample_rate=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(2 * RATE, np.float32), "silence"),
        (noise(0, 0.5), "too short, 0.50 s"),
        (
            np.concatenate([noise(0, 0.2), np.zeros(2 * RATE, np.float32)]),
            "s of speech found; give 0.5 s or more, not whispered",
        ),
        (np.clip(100 * noise(0), -1, 1), "clipped, "),
        (0.5 * np.clip(20 * noise(0), -1, 1), "clipped, "),
        (32768 * noise(0), "a sample of .*; give samples from -1 to 1"),
        (np.full(2 * RATE, np.nan, np.float32), "NaN or infinite samples"),
        (np.stack([noise(0), noise(1)]), "shape .2, 32000.; give samples of one channel"),
        (noise(0).astype(np.int64), "samples of type int64; give floats from -1 to 1, or int16"),
        (np.zeros(0, np.float32), "too short, 0.00 s"),
        ([0.0], "a list; give a file, or samples as a numpy array or torch tensor"),
    ],
)
def test_what_no_system_should_judge_is_refused_by_name(exp: Path, waveform: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=f"waveform: .*{message}"):
        Embedder(exp, gpus="none").embed(waveform)


def test_samples_come_as_numpy_and_torch_have_them(exp: Path) -> None:
    embedder = Embedder(exp, gpus="none")
    integers = np.round(32768 * noise(0)).astype(np.int16)
    floats = integers.astype(np.float32) / 32768
    expected = embedder.embed(floats)
    same = [integers, floats.astype(np.float64), torch.from_numpy(floats), torch.from_numpy(integers)[None]]
    read_only = np.frombuffer(floats.tobytes(), np.float32)
    assert to_waveform(read_only, "x").flags.writeable  # torch warns of others
    strided = np.repeat(floats, 2)[::2]
    for samples in [*same, torch.from_numpy(floats).requires_grad_(), floats[:, None], strided, read_only]:
        np.testing.assert_array_equal(embedder.embed(samples), expected)
    np.testing.assert_array_equal(embedder.embed(floats, sample_rate=embedder.sample_rate), expected)


def test_a_long_recording_is_cut_and_its_parts_averaged(exp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, samples = Embedder(exp, gpus="none"), noise(0, 4.0)
    whole = embedder.embed(samples)
    monkeypatch.setattr("sv.embeddings.encoder.MAX_FRAMES", 200)
    feats = embedder.encoder.fbank(torch.from_numpy(samples)[None])[0]
    expected = embedder.encoder.network.embed(feats, max_frames=200).numpy()
    np.testing.assert_array_equal(embedder.embed(samples), expected)
    assert not np.array_equal(embedder.embed(samples), whole)


def test_recordings_are_cut_where_the_step_cuts_them(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert f"--max-frames {MAX_FRAMES} " in run("steps/extract_embeddings.sh", "--help").stdout


def test_a_path_is_never_a_command(exp: Path, tmp_path: Path) -> None:
    embedder, file = Embedder(exp, gpus="none"), write(tmp_path / "a.wav", noise(0))
    pipe = file.rename(tmp_path / "cat |")
    assert embedder.embed(pipe).shape == (8,)


def test_the_vad_of_the_system_drops_the_same_frames(exp: Path) -> None:
    embedder = Embedder(exp, gpus="none")
    encoder = embedder.encoder
    args = encoder.network.config.dataset_args.model_copy(update={"vad": True})
    config = encoder.network.config.model_copy(update={"dataset_args": args})
    encoder.network = dataclasses.replace(encoder.network, config=config)
    waveform = np.concatenate([noise(0), np.zeros(RATE, dtype=np.float32), noise(1)])
    frames = encoder.fbank(torch.from_numpy(waveform)[None])[0]
    voiced = torch.from_numpy(find_voiced(waveform, args))
    assert 390 < voiced.sum() < 410 < len(voiced)
    kept = (frames - frames.mean(0))[voiced]
    np.testing.assert_allclose(embedder.embed(waveform), encoder.network.embed(kept, centered=True), atol=1e-5)
