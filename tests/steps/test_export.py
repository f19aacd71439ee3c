"""steps/export.py; what it writes: tests/sv/export."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sv.export.exported_system import make_exp

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_a_file_and_a_bundle_are_written(step: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    exp = make_exp(tmp_path / "exp")
    for words in (["--input", "waveform", exp, tmp_path / "x.onnx"], ["--format", "bundle", exp, tmp_path / "bundle"]):
        result = step("steps/export.py", *words)
        assert result.returncode == 0, result.stderr
        assert f"wrote {words[-1]}" in result.stderr and result.stdout == ""
    assert (tmp_path / "x.onnx").is_file() and (tmp_path / "bundle" / "model.onnx").is_file()
    result = step("steps/export.py", "--format", "bundle", exp, tmp_path / "bundle")
    assert result.returncode == 1 and result.stderr.endswith("bundle exists; remove it, or give another folder\n")


def test_system_that_is_not_trained_is_one_line(step: Run, tmp_path: Path) -> None:
    for words in (["--format", "torchscript"], ["--format", "onnx"]):
        result = step("steps/export.py", *words, tmp_path, tmp_path / "x")
        assert result.returncode == 1 and not (tmp_path / "x").exists()
        assert result.stderr.startswith(f"export.py: error: {tmp_path}/config.yaml does not exist; train the system")


def test_options_of_another_format_are_refused(step: Run, tmp_path: Path) -> None:
    for words, told in (
        (["--license", "mit", "--language", "en"], "--format onnx does not take --license, --language"),
        (["--format", "bundle", "--input", "feats"], "--format bundle does not take --input"),
    ):
        result = step("steps/export.py", *words, tmp_path, tmp_path / "x")
        assert result.returncode == 2 and result.stderr.endswith(f"export.py: error: {told}\n")
