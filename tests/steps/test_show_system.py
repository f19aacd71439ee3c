"""steps/show_system.py: a system, its results, and a damaged model."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.metrics.results import KEYS, merge_results, terminal_table
from tests.sv.noise_verifier import make_model

Step = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("exp"))


def test_what_a_system_is(step: Step, exp: Path) -> None:
    lines = step("steps/show_system.py", exp).stdout.splitlines()
    assert lines[0].split() == ["model", "resnet_small"] and lines[-1].startswith("calibrated    no: ")
    values = json.loads(step("steps/show_system.py", "--json", exp).stdout)
    assert values["model_args"]["embed_dim"] == 8 and values["thresholds"] == {} and len(values["model_sha256"]) == 64
    entry = {**dict.fromkeys(KEYS, 1), "eer": 2.0, "min_dcf": {"0.01": 0.5}, "date": "2026-01-01"}
    llrs = {**entry, "cllr": 0.1}
    results = merge_results(exp, {"O.kaldi": {"cos": entry, "cos_cali": llrs, "fused": llrs}})
    shown = step("steps/show_system.py", exp).stdout
    assert shown.endswith(f"\ncalibrated    fused\n\n{terminal_table(results)}")
    for wrong, told in ((exp / "results.json", "is a file"), (exp / "none", "does not exist")):
        refused = step("steps/show_system.py", wrong)
        assert refused.returncode == 1 and f"{wrong} {told}; give the folder of a trained system" in refused.stderr


@pytest.mark.parametrize("size", [0, 5, -100])
def test_a_truncated_model_is_told(step: Step, exp: Path, tmp_path: Path, size: int) -> None:
    folder = shutil.copytree(exp, tmp_path / "exp")
    model = folder / "models" / "avg_model.pt"
    model.write_bytes(model.read_bytes()[:size])
    told = step("steps/show_system.py", folder)
    assert told.returncode == 1 and f"{model} is not a model file, or is truncated; average, train or" in told.stderr
    model.with_name("avg_model.pt.sha256").write_text("0" * 64)
    told = step("steps/show_system.py", folder)
    assert told.returncode == 1 and f"{model} is damaged: its checksum is not that of" in told.stderr
