"""Embeddings of audio files, and what a system is. The model is random, the audio noise."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.io import read_vectors
from tests.sv.noise_verifier import make_model

Step = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("exp"))


@pytest.fixture
def audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sv.audio.recordings.speech_seconds", lambda waveform, rate: len(waveform) / rate)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.05, 32000), 16000)
    return tmp_path / "a.wav"


def test_vectors_are_the_same_in_kaldi_s_text_and_archive_and_in_json(
    step: Step, exp: Path, audio: Path, tmp_path: Path
) -> None:
    (tmp_path / "wav.scp").write_text(f"utt1 {audio}\n")
    assert step("steps/embed.py", "--model", exp, "-o", tmp_path / "emb", tmp_path / "wav.scp").returncode == 0
    kept = read_vectors(tmp_path / "emb" / "xvector.scp")
    text = step("steps/embed.py", "--model", exp, audio).stdout
    name, values = text.split("  [ ")
    row = json.loads(step("steps/embed.py", "--model", exp, "--json", audio).stdout)
    assert kept.ids == ["utt1"] and name == row["utt"] == "a"
    np.testing.assert_allclose(np.array(values.split(" ]")[0].split(), float), kept.matrix[0], rtol=1e-5)
    np.testing.assert_allclose(row["embedding"], kept.matrix[0], rtol=1e-6)


def test_embeddings_of_two_front_ends_are_not_scored_together(
    step: Step, exp: Path, audio: Path, tmp_path: Path
) -> None:
    config = exp / "config.yaml"
    before, lines = config.read_text(), []
    for window in ("hamming", "povey"):
        config.write_text(before.replace("window: hamming", f"window: {window}"))
        (tmp_path / "wav.scp").write_text(f"{window} {audio}\n")
        assert step("steps/embed.py", "--model", exp, "-o", tmp_path / window, tmp_path / "wav.scp").returncode == 0
        lines.append((tmp_path / window / "xvector.scp").read_text().replace("./", f"{tmp_path / window}/"))
    config.write_text(before)
    (tmp_path / "both.scp").write_text("".join(lines))
    (tmp_path / "trials").write_text("hamming povey\n")
    result = step("steps/score_trials.py", tmp_path / "trials", tmp_path / "both.scp", tmp_path / "x.score")
    told = rf"{tmp_path}/povey/xvector.ark is of model and front-end \w+, {tmp_path}/hamming/xvector.ark of model and"
    assert result.returncode == 1 and re.search(told, result.stderr)
    (tmp_path / "hamming" / ".done").unlink()
    assert step("steps/score_trials.py", tmp_path / "trials", tmp_path / "both.scp", tmp_path / "x").returncode == 0


def test_a_bad_file_is_told_and_the_others_are_kept(step: Step, exp: Path, audio: Path, tmp_path: Path) -> None:
    result = step("steps/embed.py", "--model", exp, "--out", tmp_path / "emb", tmp_path / "gone.wav", audio)
    assert result.returncode == 1 and "1 of 2 files failed" in result.stderr
    assert "gone.wav does not exist" in result.stderr
    assert read_vectors(tmp_path / "emb" / "xvector.scp").ids == ["a"]
    result = step("steps/embed.py", "--model", exp, "--json", "--out", tmp_path / "emb", audio)
    assert result.returncode == 2 and "give --json or --out, not both" in result.stderr
    result = step("steps/embed.py", "--model", exp, audio, tmp_path / "other" / "a.wav")
    assert result.returncode == 2 and "two files have the same name" in result.stderr


def test_names_that_are_no_ids_are_refused_before_the_model_loads(step: Step, exp: Path, audio: Path) -> None:
    blank = audio.rename(audio.with_name("a b.wav"))
    for words in ([], ["--out", audio.parent / "emb"]):
        result = step("steps/embed.py", "--model", "no-model", *words, "c.wav", blank)
        assert result.returncode == 2 and not (audio.parent / "emb").exists()
        assert f"{blank}: id 'a b' holds ' '; rename it, or give a wav.scp with ids of your choice" in result.stderr
    assert json.loads(step("steps/embed.py", "--model", exp, "--json", blank).stdout)["utt"] == "a b"
