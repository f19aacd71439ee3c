"""bench/gpu.sh, and bench/gpu.py and bench/training.py by it, with their smallest sizes on the CPU: all leave rows."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.gpu import PARTS, QUICK, Machine, count_launches, head_step, run_part, tf32

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_all_of_it_runs_to_its_end_and_leaves_a_table_a_part(run: Run, tmp_path: Path) -> None:
    env = {"CUDA_VISIBLE_DEVICES": "", "SV_CORPORA": ""}
    patience = [f"--{part}-s=120" for part in ("tests", "bench", "training", "recipe")]
    options = ["--quick", "true", "--recipe", "false", *patience]
    done = run("bench/gpu.sh", *options, tmp_path / "gpu.md", env=env)
    text = (tmp_path / "gpu.md").read_text()
    assert done.returncode == 0, done.stderr[-2000:] + text
    tests, gpu, training, recipe = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert "skipped" in tests and "failed" not in tests
    parts = dict(re.findall(r"^### (\w+): CPU, .*?\n\n(.*?)(?=^### |\Z)", gpu, re.MULTILINE | re.DOTALL))
    rows = {name: len(re.findall(r"^\| (?!---).*\d", table, re.MULTILINE)) for name, table in parts.items()}
    assert rows["ceiling"] == 3 and rows["launches"] == 5 and rows["extraction"] == 2
    assert rows["heads"] == 1 + 4 + 2 and rows["steps"] == 1 + 2 * 5, "and their titles, which have figures"
    assert "| online, bf16, channels_last |" in training
    trained = re.findall(r"\| (\S.*?) \| (\d+) \| (\d+\.\d\d) \| (\d+\.\d) % \|", training)
    assert [name.partition(",")[0] for name, *_ in trained] == ["arks"] * 4 + ["online"]
    assert trained[0][2] == "1.00", "the reference"
    assert all(float(ratio) > 0 and float(wait) <= 100 for *_, ratio, wait in trained)
    assert "stage 3: training" in recipe and "stages 5 to 8: scores" in recipe, "options that the recipe takes"


def test_what_fails_and_what_has_no_time_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(machine: Machine, sizes: object) -> list[str]:
        raise RuntimeError("CUDA error: no kernel image\nmore")

    machine = Machine()
    monkeypatch.setitem(PARTS, "heads", broken)
    assert not run_part("heads", machine, QUICK, float("inf"))
    assert "Failed: CUDA error: no kernel image\n" in capsys.readouterr().out
    assert run_part("launches", machine, QUICK, 0.0)
    assert capsys.readouterr().out.endswith("The time was over here.\n")


@pytest.mark.slow
def test_operators_of_a_head_are_counted() -> None:
    step, flops = head_step(Machine(), "sphereface2-C", 8, 300)
    assert flops == 3 * 2 * 8 * 256 * 300
    assert count_launches(step) < 250


@pytest.mark.parametrize(("allowed", "products"), [(True, False), (True, True), (False, False)])
def test_tf32_is_that_of_training_and_as_before_afterwards(allowed: bool, products: bool) -> None:
    def now() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = now()
    with tf32(allowed, products=products):
        assert now() == (products, allowed)
    assert now() == before
