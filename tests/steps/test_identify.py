"""steps/enroll.py and identify.py: answers, status, and what is refused before a model is loaded."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sv.noise_verifier import make_strict, write_colours

Step = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.usefixtures("noise_is_speech")


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_strict(tmp_path_factory.mktemp("exp"))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_colours(tmp_path)


def test_what_needs_no_model_is_checked_before_one_is_loaded(
    step: Step, exp: Path, files: list[Path], tmp_path: Path
) -> None:
    (model,) = exp.glob("models/*")
    weights = model.read_bytes()
    model.write_bytes(b"damaged")
    try:
        result = step("steps/enroll.py", "--model", exp, "Anna Maria", files[0])
        assert (result.returncode, result.stdout) == (2, "") and "speaker 'Anna Maria': use letters" in result.stderr
        result = step("steps/identify.py", "--model", exp, files[0])
        assert (result.returncode, result.stdout) == (1, "") and f"{exp}/speakers holds no speakers" in result.stderr
        (tmp_path / "ann.npz").touch()
        for words, told in (
            (["--threshold", "blah"], "unknown threshold 'blah'; known: eer"),
            (["--prior", "2"], "--prior 2.0: expected a probability between 0 and 1"),
            (["--top", "0"], "--top 0: expected a whole number of at least 1"),
        ):
            result = step("steps/identify.py", "--model", exp, "--speakers", tmp_path, files[0], *words)
            assert (result.returncode, result.stdout) == (2, "") and told in result.stderr
        for words in (["enroll.py", "ann"], ["identify.py", "--speakers", tmp_path], ["embed.py"], ["verify.py", "x"]):
            result = step(f"steps/{words[0]}", "--model", exp, "--gpus", "foo", *words[1:], files[0])
            assert "error: --gpus 'foo': expected numbers, as in 0,1; or auto, or none" in result.stderr
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
