"""steps/compute_vad_decision.sh: Kaldi's decisions as vectors, its options, and what is refused."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kaldi_native_io
import kaldiio
import numpy as np
import pytest
import soundfile
import torch

from sv.audio.features import energy_vad, log_energy
from sv.audio.files import read_wav
from sv.config import FbankConfig
from sv.errors import UserError
from sv.io import read_table, write_table

Run = Callable[..., subprocess.CompletedProcess[str]]
Step = Callable[..., None]

RATE = 16000
UTTS = [f"spk{i // 2}/{i}.wav" for i in range(4)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Noise between digital silence."""
    folder = tmp_path / "data"
    folder.mkdir()
    for index, utt in enumerate(UTTS):
        waveform = np.zeros(16000 + 1600 * index, dtype=np.float32)
        waveform[4000:12000] = np.random.default_rng(index).normal(0, 0.1, 8000)
        soundfile.write(folder / f"{index}.wav", waveform, RATE)
        assert utt.endswith(f"{index}.wav")
    write_table(folder / "wav.scp", {utt: folder / f"{index}.wav" for index, utt in enumerate(UTTS)})
    write_table(folder / "utt2spk", {utt: utt[:4] for utt in UTTS})
    write_table(folder / "spk2utt", {"spk0": " ".join(UTTS[:2]), "spk1": " ".join(UTTS[2:])})
    return folder


@pytest.fixture
def step(root: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """steps/compute_vad_decision.py within this process, as the .sh calls it."""
    spec = importlib.util.spec_from_file_location("compute_vad_decision", root / "steps" / "compute_vad_decision.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(data: Path, *options: object, actions: str = "begin part join") -> None:
        for action in actions.split():
            for part in (1, 2) if action == "part" else [1]:
                words = [action, data, data / "fbank", "--num-parts", 2, "--part", part, *options]
                monkeypatch.setattr(sys, "argv", ["compute_vad_decision.py", *map(str, words)])
                module.main()

    return call


def expected(spec: str, **settings: float) -> np.ndarray:
    energy = log_energy(torch.from_numpy(read_wav(spec, RATE)), FbankConfig()).numpy()
    return energy_vad(energy, **settings)  # type: ignore[arg-type]


@pytest.mark.slow
def test_vectors_are_read_by_kaldis_readers(run: Run, data: Path) -> None:
    result = run("steps/compute_vad_decision.sh", "--nj", 2, "--vad-frames-context", 2, data)
    assert result.returncode == 0, result.stderr
    wavs, scp = read_table(data / "wav.scp"), data / "vad.scp"
    assert list(read_table(scp)) == UTTS
    by_kaldiio = kaldiio.load_scp(str(scp))
    with kaldi_native_io.RandomAccessFloatVectorReader(f"scp:{scp}") as reader:
        for utt in UTTS:
            voiced = expected(wavs[utt], frames_context=2)
            assert 0.3 < voiced.mean() < 0.7
            assert np.array_equal(by_kaldiio[utt], voiced)
            assert np.array_equal(np.array(reader[utt]), voiced)
    result = run("steps/compute_vad_decision.sh", "--nj", 3, "--vad-frames-context", 2, data)
    assert result.returncode == 0 and "is there already" in result.stderr


def test_options_and_kaldis_config_file(step: Step, data: Path, tmp_path: Path) -> None:
    wavs = read_table(data / "wav.scp")
    step(data, "--energy-threshold", 15.5, "--energy-mean-scale", 0)
    for utt, voiced in kaldiio.load_scp(str(data / "vad.scp")).items():
        assert np.array_equal(voiced, expected(wavs[utt], energy_threshold=15.5, energy_mean_scale=0))
    config = tmp_path / "vad.conf"
    config.write_text("--vad-energy-threshold=5.5\n--vad-proportion-threshold=0.12  # low\n\n--vad-frames-context=2\n")
    step(data, "--energy-threshold", 15.5, "--vad-config", config)
    settings = {"energy_threshold": 15.5, "proportion_threshold": 0.12, "frames_context": 2}
    for utt, voiced in kaldiio.load_scp(str(data / "vad.scp")).items():
        assert np.array_equal(voiced, expected(wavs[utt], **settings))


@pytest.mark.slow
def test_called_as_kaldis_script_with_a_config_file(run: Run, data: Path, tmp_path: Path) -> None:
    config, wavs = tmp_path / "vad.conf", read_table(data / "wav.scp")
    config.write_text("--vad-energy-threshold=15.5\n--vad-energy-mean-scale=0\n")
    options = ["--nj", 2, "--vad-config", config, "--vad-energy-mean-scale", 0.5]  # 0.5 is the default, and given
    result = run("steps/compute_vad_decision.sh", *options, data, tmp_path / "log", tmp_path / "arks")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [
        "compute_vad_decision.1.log",
        "compute_vad_decision.2.log",
    ]
    assert sorted(path.name for path in (tmp_path / "arks").glob("*.ark")) == ["vad.1.ark", "vad.2.ark"]
    for utt, voiced in kaldiio.load_scp(str(data / "vad.scp")).items():
        assert np.array_equal(voiced, expected(wavs[utt], energy_threshold=15.5, energy_mean_scale=0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--energy-threshold", "loud"], "--vad-energy-threshold is 'loud', not a number"),
        (["--frames-context", "1.5"], "--vad-frames-context is '1.5', not a number"),
        (["--frames-context", "-1"], "--vad-frames-context must be 0 or more"),
        (["--proportion-threshold", "2"], "--vad-proportion-threshold within 0 to 1"),
        (["--vad-config", "gone.conf"], r"gone\.conf does not exist"),
    ],
)
def test_bad_options_are_named(step: Step, data: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        step(data, *options)


def test_bad_config_line_is_named(step: Step, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "vad.conf"
    config.write_text("--vad-energy-threshold=5.5\n--sample-frequency=16000\n")
    with pytest.raises(UserError, match=r"vad\.conf:2: unknown option '--sample-frequency'; known: --vad-energy"):
        step(data, "--vad-config", config)


def test_other_number_of_frames_than_the_features_is_refused(step: Step, data: Path) -> None:
    write_table(data / "utt2num_frames", {utt: 98 + 10 * index for index, utt in enumerate(UTTS)})
    step(data)
    (data / "vad.scp").unlink()
    (data / "fbank" / "vad.2.ark").unlink()
    write_table(data / "utt2num_frames", dict.fromkeys(UTTS, 98))
    with pytest.raises(UserError, match=r"2 of 2 utterances failed, .*spk1/2\.wav: 118 frames, 98 in .*utt2num_frames"):
        step(data)
    assert not (data / "vad.scp").exists()


def test_frames_are_those_of_fbank_yaml(step: Step, data: Path) -> None:
    (data / "fbank.yaml").write_text("frame_length: 20.0\nframe_shift: 20.0\n")
    step(data)
    assert [len(voiced) for voiced in kaldiio.load_scp(str(data / "vad.scp")).values()] == [50, 55, 60, 65]
