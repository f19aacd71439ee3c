"""A model without calibration becomes a verifier by one command on recordings of one's own."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sv import Verifier
from sv.config import parse_config, save_config
from sv.errors import UserError
from sv.io import DataDir, read_vectors
from sv.models import build_model

Step = Callable[..., subprocess.CompletedProcess[str]]

RATE, MELS = 16000, 16
ARGS = {"feat_dim": MELS, "embed_dim": 8, "emb_bn": False}


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    """A model as it is imported: configuration and weights."""
    exp = tmp_path / "exp"
    dataset_args = {"cmvn": False, "fbank_args": {"num_mel_bins": MELS}}  # the spectrum tells the speakers apart
    tree = {"model": "resnet_small", "model_args": ARGS, "dataset_args": dataset_args}
    save_config(parse_config(tree, "test"), exp / "config.yaml")
    torch.manual_seed(0)
    (exp / "models").mkdir()
    torch.save(build_model("resnet_small", ARGS).state_dict(), exp / "models" / "avg_model.pt")
    return exp


@pytest.fixture(autouse=True)
def hears_speech_in_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all noise for speech, which the verifier looks for."""
    monkeypatch.setattr("sv.audio.recordings.speech_seconds", lambda waveform, rate: len(waveform) / rate)


def recording(speaker: int, number: int) -> np.ndarray:
    """1.5 s of noise in a band that is the speaker's."""
    rng = np.random.default_rng((speaker, number))
    spectrum = np.fft.rfft(rng.normal(0, 1, 3 * RATE // 2))
    band = np.abs(np.linspace(0, 8, len(spectrum)) - speaker - 1 - 0.3 * rng.random()) < 0.7
    wave = np.fft.irfft(spectrum * (0.05 + band))
    return (0.2 * wave / np.abs(wave).max()).astype(np.float32)


def make_data(folder: Path, speakers: int = 5, utts: int = 4) -> Path:
    folder.mkdir()
    tables: dict[str, dict[str, str]] = {"wav.scp": {}, "utt2spk": {}}
    for speaker in range(speakers):
        for number in range(utts):
            utt = f"s{speaker}-{number}"
            soundfile.write(folder / f"{utt}.wav", recording(speaker, number), RATE)
            tables["wav.scp"][utt], tables["utt2spk"][utt] = str(folder / f"{utt}.wav"), f"s{speaker}"
    DataDir.write(folder, tables)
    return folder


@pytest.mark.slow
def test_the_command_that_a_model_without_thresholds_names_makes_it_a_verifier(
    step: Step, exp: Path, tmp_path: Path
) -> None:
    data = make_data(tmp_path / "own")
    with pytest.raises(UserError, match=r"steps/calibrate\.py --on DATA_DIR ") as error:
        Verifier.load(exp)
    script, *words = re.split(" ", str(error.value)[str(error.value).index("steps/calibrate.py") :])
    done = step(script, *(str(data) if word == "DATA_DIR" else word for word in words))
    assert done.returncode == 0, done.stderr
    assert f"190 trials of 5 speakers in {exp}/calibration/own.kaldi" in done.stderr
    verifier = Verifier.load(exp, gpus="none")
    assert verifier.score(recording(1, 7), recording(1, 8), margin=0).decision == "same"
    assert verifier.score(recording(1, 7), recording(3, 8), margin=0).decision == "different"
    origin = json.loads((exp / "thresholds.json").read_text())["cos"]["measured_on"]
    assert origin["fingerprint"] == verifier.fingerprint
    assert (origin["scores"], origin["num_target"], origin["num_nontarget"]) == ("own.kaldi.score", 30, 160)
    ours = read_vectors(exp / "calibration" / "own" / "xvector.scp").matrix[0]
    torch.testing.assert_close(verifier.embed(data / "s0-0.wav"), ours, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_second_call_keeps_the_embeddings_and_subtracts_the_mean(step: Step, exp: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "own")
    assert step("steps/calibrate.py", "--on", data, exp).returncode == 0
    made = (exp / "calibration" / "own" / "xvector.ark").stat().st_mtime_ns
    mean = read_vectors(exp / "calibration" / "own" / "xvector.scp").matrix.mean(axis=0)
    np.save(exp / "mean.npy", mean)
    done = step("steps/calibrate.py", "--on", data, "--mean", exp / "mean.npy", exp)
    assert done.returncode == 0, done.stderr
    assert (exp / "calibration" / "own" / "xvector.ark").stat().st_mtime_ns == made
    np.testing.assert_allclose(Verifier.load(exp, gpus="none").mean, mean)
    assert step("steps/calibrate.py", "--on", data, exp).returncode == 0
    np.testing.assert_allclose(Verifier.load(exp, gpus="none").mean, mean)  # that of the calibration which is replaced


def test_the_mean_of_the_systems_scores_is_subtracted(step: Step, exp: Path, tmp_path: Path) -> None:
    data, mean = make_data(tmp_path / "own"), np.full(8, 0.5, dtype=np.float32)
    for name in ("train", "other"):
        (exp / "embeddings" / name).mkdir(parents=True)
    np.save(exp / "embeddings" / "train" / "mean_vec.npy", mean)
    assert step("steps/calibrate.py", "--on", data, exp).returncode == 0
    np.testing.assert_array_equal(Verifier.load(exp, gpus="none").mean, mean)
    np.save(exp / "embeddings" / "other" / "mean_vec.npy", mean)
    done = step("steps/calibrate.py", "--on", data, "--backend", "cos_X", exp)
    assert done.returncode == 1 and re.search("has several means .*; give one with --mean", done.stderr)


def test_lists_of_another_origin_are_kept(step: Step, exp: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "heldout")
    (exp / "scores").mkdir()
    (exp / "scores" / "heldout.kaldi.score").write_text("kept")
    done = step("steps/calibrate.py", "--on", data, exp)
    assert done.returncode == 1 and "heldout.kaldi.score is of another list of this name; give" in done.stderr
    assert (exp / "scores" / "heldout.kaldi.score").read_text() == "kept" and not (exp / "calibration").exists()


def test_few_speakers_are_told_to_be_too_few(step: Step, exp: Path, tmp_path: Path) -> None:
    done = step("steps/calibrate.py", "--on", make_data(tmp_path / "own", speakers=2), exp)
    assert done.returncode == 0, done.stderr
    assert "2 speakers are too few to calibrate on: thresholds fit these people alone; record 5 or more" in done.stderr
    assert re.search(
        rf"EER \d+\.\d\d % on these trials; compare recordings: steps/verify.py --model {exp}", done.stderr
    )


@pytest.mark.parametrize(("speakers", "utts", "said"), [(1, 3, "no non-target trial among"), (3, 1, "no target trial")])
def test_too_few_recordings_are_told_before_they_are_embedded(
    step: Step, exp: Path, tmp_path: Path, speakers: int, utts: int, said: str
) -> None:
    done = step("steps/calibrate.py", "--on", make_data(tmp_path / "own", speakers, utts), exp)
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (exp / "calibration").exists()


def test_a_folder_of_recordings_is_told_how_to_become_a_data_dir(step: Step, exp: Path, tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    done = step("steps/calibrate.py", "--on", tmp_path / "wavs", exp)
    assert done.returncode == 1 and "wavs has no wav.scp; make a data dir of your recordings" in done.stderr
    done = step("steps/calibrate.py", "--on", tmp_path / "no", exp)
    assert done.returncode == 1 and "no is not a data directory; make it of your recordings" in done.stderr


@pytest.mark.parametrize(
    "words",
    [(), ("heldout.kaldi", "--on", "x"), ("--on", "x", "--quality", "duration"), ("--on", "x", "--backend", "plda")],
)
def test_a_list_or_recordings_are_given_not_both(step: Step, exp: Path, words: tuple[str, ...]) -> None:
    done = step("steps/calibrate.py", exp, *words)
    assert done.returncode == 2 and "--on" in done.stderr.splitlines()[-1]
