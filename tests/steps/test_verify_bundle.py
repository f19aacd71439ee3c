"""steps/verify.py with a bundle, in an environment without torch."""

import os
import re
import shutil
import site
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.export.bundle import write_bundle
from sv.export.model_card import About
from tests.sv.export.exported_system import NEEDS_EXPORT, make_exp

pytestmark = [pytest.mark.slow, NEEDS_EXPORT]

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = make_exp(tmp_path_factory.mktemp("verify") / "exp")
    write_bundle(exp, exp.parent / "bundle", About())
    return exp


@pytest.fixture(scope="module")
def recordings(corpora: Path) -> list[Path]:
    """One of each of three speakers, of some seconds."""
    folders = sorted((corpora / "speechocean762" / "WAVE").iterdir())[:3]
    return [max(folder.glob("*.flac"), key=lambda path: path.stat().st_size) for folder in folders]


@pytest.fixture
def run_without_torch(tmp_path: Path) -> Run:
    """Run a step by a Python that has all packages but torch and torchaudio, in a checkout without .venv."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for folder in {path for path in sys.path if path.endswith("site-packages")} | set(site.getsitepackages()):
        for entry in Path(folder).glob("*"):  # Debian's Python names folders that do not exist
            if not re.match(r"(torch|functorch|nvidia|triton|__)", entry.name) and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    for name in ("steps", "sv"):
        shutil.copytree(ROOT / name, tmp_path / "repo" / name, ignore=shutil.ignore_patterns("__pycache__"))
    env = {name: value for name, value in os.environ.items() if name not in ("SV_PYTHON", "PYTHONHOME")}

    def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", str(tmp_path / "repo" / script), *map(str, words)]
        return subprocess.run(command, env={**env, "PYTHONPATH": str(packages)}, capture_output=True, text=True)

    return run


def test_verdicts_are_those_of_torch(exp: Path, recordings: list[Path], run_without_torch: Run, step: Run) -> None:
    bundled = run_without_torch("steps/verify.py", "--model", exp.parent / "bundle", *recordings)
    trained = step("steps/verify.py", "--model", exp, "--gpus", "none", *recordings)
    assert bundled.stdout.count("LLR") == 2, bundled.stderr
    assert "Traceback" not in bundled.stderr and bundled.returncode == trained.returncode
    llrs = [[float(x) for x in re.findall(r"LLR (-?[\d.]+)", done.stdout)] for done in (bundled, trained)]
    assert llrs[0] == pytest.approx(llrs[1], abs=0.02)


def test_what_needs_torch_is_one_line(
    exp: Path, recordings: list[Path], run_without_torch: Run, tmp_path: Path
) -> None:
    result = run_without_torch("steps/verify.py", "--model", exp, *recordings[:2])
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith(
        f"verify.py: error: {exp} needs torch, which is not installed; give"
    )
    result = run_without_torch("steps/export.py", exp, tmp_path / "x.onnx")
    assert result.returncode == 1 and not (tmp_path / "x.onnx").exists()
    assert result.stderr == (
        f"export.py: error: {sys.executable} lacks torch; make an environment with tools/setup.sh\n"
    )
    waveform, rate = soundfile.read(recordings[0], dtype="float32")
    soundfile.write(tmp_path / "x.wav", np.repeat(waveform, 2), 2 * rate)
    result = run_without_torch("steps/verify.py", "--model", exp.parent / "bundle", tmp_path / "x.wav", recordings[0])
    assert result.stderr.splitlines()[-1] == (
        f"verify.py: error: {tmp_path}/x.wav: 32000 Hz, the model takes 16000 Hz; resample it first, "
        "or install torchaudio"
    )


def test_speech_is_told_from_noise_without_torch(exp: Path, run_without_torch: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 32000)).astype(np.float32)
    for name, waveform in zip("ab", noise, strict=True):
        soundfile.write(tmp_path / f"{name}.wav", waveform, 16000)
    result = run_without_torch(
        "steps/verify.py", "--model", exp.parent / "bundle", tmp_path / "a.wav", tmp_path / "b.wav"
    )
    assert result.returncode == 1 and "s of speech found; give 0.5 s or more" in result.stderr
