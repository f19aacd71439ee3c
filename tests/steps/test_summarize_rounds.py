"""steps/summarize_rounds.py: the tables of experiments in rounds, and a paired test of two rows."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.steps.test_compare import write_system

Step = Callable[..., subprocess.CompletedProcess[str]]


def write_experiment(step: Step, exp: Path, seed: int) -> Path:
    write_system(exp / "round1", seed)
    trials = exp / "data" / "trials"
    measure = ["--test-data", exp / "data", exp / "round1", "cos_result", trials, "O.kaldi"]
    assert step("steps/compute_metrics.py", *measure).returncode == 0
    clusters = {"clusters": 7, "utterances": 10, "left_out": {"utterances": 1}}
    rounds = [{"number": n, "heldout_eer": 5.0, "clusters": clusters, "decisions": {}} for n in range(2)]
    (exp / "rounds.json").write_text(json.dumps({"best": 1, "why": "", "rounds": rounds}))
    return exp


def test_a_row_is_tested_against_the_others_of_its_seed(step: Step, tmp_path: Path) -> None:
    found = [
        write_experiment(step, tmp_path / "40" / name, seed)
        for seed, name in enumerate(("pseudo-C-seed1", "oracle-C-seed1", "oracle-C-seed2"))
    ]
    data = ["--test-data", found[0] / "data"]
    result = step("steps/summarize_rounds.py", "--against", "pseudo-C", *data, *found)
    assert result.returncode == 0, result.stderr
    a, b = (json.loads((exp / "round1" / "results.json").read_text())["results"]["O.kaldi"]["cos"] for exp in found[:2])
    row = f"| EER (%) | {a['eer']:.3f} | {b['eer']:.3f} | {b['eer'] - a['eer']:+.3f} ["
    assert f"| O | cos: pseudo-C-seed1, oracle-C-seed1 {row}" in result.stdout
    assert "oracle-C-seed2 | EER" not in result.stdout  # another seed
    result = step("steps/summarize_rounds.py", "--against", "none", *data, *found)
    assert result.returncode == 1 and "--against none: no folder and seed has this row and others" in result.stderr
    result = step("steps/summarize_rounds.py", "--against", "pseudo-C", *found)
    assert result.returncode == 2 and "--against takes --test-data DIR" in result.stderr
