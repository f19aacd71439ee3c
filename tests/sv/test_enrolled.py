"""Enrolled speakers of a folder: kept, told apart by system, and identified. The model is random, the audio noise."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sv import Enrolled, UserError, Verifier
from sv.config import parse_config, save_config
from sv.models import build_model
from sv.scoring.calibration import Calibration
from sv.scoring.thresholds import add_thresholds

RATE = 16000
ARGS = {"feat_dim": 16, "embed_dim": 8}
Step = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system whose LLR is 1000 cosine - 999: 1 for a recording with itself, far below 0 for other noise."""
    exp = tmp_path_factory.mktemp("exp")
    tree = {"model": "resnet_small", "model_args": ARGS, "dataset_args": {"fbank_args": {"num_mel_bins": 16}}}
    save_config(parse_config(tree, "test"), exp / "config.yaml")
    torch.manual_seed(0)
    (exp / "models").mkdir()
    torch.save(build_model("resnet_small", ARGS).state_dict(), exp / "models" / "avg_model.pt")
    (exp / "calibration").mkdir()
    Calibration(["score"], [1e6], 2.0 - 1e6, 0.05).save(exp / "calibration" / "cos.json")
    add_thresholds(exp, "cos", {"eer": {"llr": 0.0}, "measured_on": {}})
    return exp


@pytest.fixture(autouse=True)
def hears_speech_in_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.audio.recordings.speech_seconds", lambda waveform, rate: len(waveform) / rate)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three noises of different colours."""
    paths = []
    for seed in range(3):
        white = np.random.default_rng(seed).normal(0, 0.05, 2 * RATE)
        paths.append(tmp_path / f"{seed}.wav")
        soundfile.write(paths[-1], np.convolve(white, np.ones(1 + 3 * seed) / (1 + seed))[: 2 * RATE], RATE)
    return paths


def test_a_speaker_that_was_kept_scores_as_before(exp: Path, files: list[Path], tmp_path: Path) -> None:
    enrolled = Enrolled(Verifier(exp, gpus="none"), tmp_path / "speakers")
    added = enrolled.add("anna", files[:2])
    kept = enrolled.speakers()["anna"]
    scores = [enrolled.verifier.score(speaker, files[2]) for speaker in (added, kept)]
    assert scores[0] == scores[1]
    enrolled.add("anna", files[2:])
    assert len(enrolled.speakers()["anna"].recordings) == 1


def test_a_recording_is_identified_or_is_of_nobody(exp: Path, files: list[Path], tmp_path: Path) -> None:
    enrolled = Enrolled(Verifier(exp, gpus="none"), tmp_path / "speakers")
    enrolled.add("anna", files[:1])
    enrolled.add("bert", files[1:2])
    found = list(enrolled.identify([files[0], tmp_path / "gone.wav", files[1], files[2]]))
    assert isinstance(found[1], UserError)
    anna, bert, nobody = (found[index] for index in (0, 2, 3))
    assert not isinstance(anna, UserError) and not isinstance(bert, UserError) and not isinstance(nobody, UserError)
    assert (anna.speaker, bert.speaker, nobody.speaker) == ("anna", "bert", None)
    assert list(bert.verdicts) == ["bert", "anna"] and nobody.decision == "different"
    doubt = next(enrolled.identify(files[:1], margin=5.0))
    assert not isinstance(doubt, UserError) and (doubt.speaker, doubt.decision) == (None, "cannot tell")
    with pytest.raises(TypeError, match=r"no truth value; use \.speaker"):
        bool(nobody)


def test_speakers_of_another_system_are_refused(exp: Path, files: list[Path], tmp_path: Path) -> None:
    enrolled = Enrolled(Verifier(exp, gpus="none"), tmp_path / "speakers")
    with pytest.raises(UserError, match=r"speakers holds no speakers; enroll some with sv enroll or steps/enroll\.py"):
        enrolled.speakers()
    enrolled.add("anna", files[:1])
    other = shutil.copytree(exp, tmp_path / "other")
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("window: hamming", "window: povey"))
    enrolled = Enrolled(Verifier(other, gpus="none"), tmp_path / "speakers")
    with pytest.raises(UserError, match=r"anna\.npz is of another model or front-end; enroll the speaker again"):
        enrolled.speakers()


@pytest.mark.parametrize("content", [b"", b"no archive", {"embeddings": np.ones((2, 8))}, {"fingerprint": "x"}])
def test_a_damaged_speaker_is_named(exp: Path, tmp_path: Path, content: bytes | dict) -> None:
    path = tmp_path / "anna.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    with pytest.raises(UserError, match=r"anna\.npz is damaged; enroll the speaker again"):
        Enrolled(Verifier(exp, gpus="none"), tmp_path).speakers()


@pytest.mark.parametrize("name", ["", "../anna", ".anna", "an/na", "-x y"])
def test_names_that_fit_no_file_are_refused(exp: Path, files: list[Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="use letters, digits and any of"):
        Enrolled(Verifier(exp, gpus="none"), tmp_path).add(name, files)


def test_what_needs_no_model_is_checked_before_one_is_loaded(step: Step, exp: Path, files: list[Path]) -> None:
    (model,) = exp.glob("models/*")
    weights = model.read_bytes()
    model.write_bytes(b"damaged")
    try:
        result = step("steps/enroll.py", "--model", exp, "Anna Maria", files[0])
        assert (result.returncode, result.stdout) == (2, "") and "speaker 'Anna Maria': use letters" in result.stderr
        result = step("steps/identify.py", "--model", exp, files[0])
        assert (result.returncode, result.stdout) == (1, "") and f"{exp}/speakers holds no speakers" in result.stderr
    finally:
        model.write_bytes(weights)
    result = step("steps/identify.py", "--model", exp / "gone", files[0])
    assert result.returncode == 1 and f"{exp}/gone does not exist; give the folder of a trained" in result.stderr


def test_steps_enroll_and_identify(step: Step, exp: Path, files: list[Path], tmp_path: Path) -> None:
    words = ["--model", exp, "--speakers", tmp_path / "speakers"]
    refused = step("steps/enroll.py", *words, *files[:2])
    assert (
        refused.returncode == 2 and f"{files[0]} is a file; the name of the speaker comes before the" in refused.stderr
    )
    result = step("steps/enroll.py", *words, "anna", files[0])
    assert result.returncode == 0 and result.stdout.splitlines()[0].endswith("anna.npz: 1 recording, 2.0 s")
    row = json.loads(step("steps/enroll.py", *words, "--json", "anna", files[0]).stdout)
    assert row == {"file": str(tmp_path / "speakers/anna.npz"), "recordings": 1, "duration_s": 2.0, "warnings": []}
    result = step("steps/identify.py", *words, files[0])
    assert result.returncode == 0 and result.stdout.startswith(f"anna: {files[0]}: anna LLR ")
    result = step("steps/identify.py", *words, files[0], files[1])
    assert result.returncode == 3 and result.stdout.splitlines()[1].startswith(f"nobody: {files[1]}: anna LLR ")
    result = step("steps/identify.py", *words, "--json", files[0], tmp_path / "gone.wav")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 1 and [row["decision"] for row in rows] == ["same", "failed"]
    assert result.stderr.endswith("1 of 2 recordings failed; the reason stands in the line of each\n")
