"""steps/make_calibration_trials.py, calibrate.py and fuse.py; what they do is tested in tests/sv/scoring."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.sv.scoring.two_gaussians import make_scored_system, write_scores_file

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    return make_scored_system(tmp_path / "exp")


def test_options_of_a_calibration_reach_it(step: Run, exp: Path) -> None:
    np.save(exp / "mean_vec.npy", np.zeros(2))
    options = ["--backend", "cos_X", "--mean", exp / "mean_vec.npy", "--p-target", 0.2]
    result = step("steps/calibrate.py", *options, exp, "heldout.kaldi", "O.kaldi")
    assert result.returncode == 0, result.stderr
    weights = json.loads((exp / "calibration" / "cos_X.json").read_text())
    assert weights["p_target"] == 0.2 and weights["trained_on"]["mean"] == "mean_vec.npy"
    assert (exp / "scores" / "cali_O.kaldi.score").is_file()
    result = step("steps/calibrate.py", exp, "heldout.kaldi", "H.kaldi")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "calibrate.py: error: " in result.stderr and "H.kaldi.score does not exist; score it" in result.stderr


def test_fused_scores_are_written_with_their_weights(step: Run, exp: Path) -> None:
    other = exp.parent / "other" / "scores"
    write_scores_file(other / "heldout.kaldi.score", 5, "h")
    write_scores_file(other / "O.kaldi.score", 6, "O")
    heldout = [folder / "heldout.kaldi.score" for folder in (exp / "scores", other)]
    scores = [folder / "O.kaldi.score" for folder in (exp / "scores", other)]
    out = exp.parent / "fused" / "O.kaldi.score"
    result = step("steps/fuse.py", "--p-target", 0.2, "--heldout", *heldout, "--scores", *scores, "--", out)
    assert result.returncode == 0 and "weights " in result.stderr, result.stderr
    weights = json.loads((out.parent / "O.kaldi.score.json").read_text())
    assert len(weights["weights"]) == 2 and weights["p_target"] == 0.2


def test_list_of_trials_has_the_name_and_the_number_asked_for(step: Run, tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "utt2spk").write_text("".join(f"{s}{n} {s}\n" for s in "abc" for n in (1, 2)))
    (tmp_path / "exp" / "heldout_spk").write_text("a\nb\n")
    words = ["--name", "few.kaldi", "--num-target", 1, "--num-nontarget", 3, tmp_path / "exp", tmp_path]
    result = step("steps/make_calibration_trials.py", *words)
    assert result.returncode == 0, result.stderr
    labels = [line.split()[2] for line in (tmp_path / "exp" / "calibration" / "few.kaldi").open()]
    assert sorted(labels) == ["nontarget"] * 3 + ["target"]


MEASURE = """
import pathlib, re, runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, "steps")
runpy.run_path(sys.argv[0], run_name="__main__")
print(int(re.search("VmHWM:[^0-9]*([0-9]+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["calibrate", "fuse"])
def test_memory_does_not_grow_with_the_test_trials(run: Run, exp: Path, step: str) -> None:
    folder, peak = exp / "scores", []
    lines = [f"id{i:05d}/wav id{i + 7:05d}/wav 0.{i % 1000:05d} {'non' * (i % 9 > 0)}target\n" for i in range(100_000)]
    for times in (1, 6):
        for name in ("O.kaldi.score", "other.score"):
            (folder / name).write_text("".join(lines) * times)
        shutil.copy(folder / "heldout.kaldi.score", folder / "other_heldout.score")
        words = {
            "calibrate": [exp, "heldout.kaldi", "O.kaldi"],
            "fuse": ["--heldout", folder / "heldout.kaldi.score", folder / "other_heldout.score", "--scores",
                     folder / "O.kaldi.score", folder / "other.score", "--", exp / "fused.score"],
        }  # fmt: skip
        result = run("python3", "-c", MEASURE, f"steps/{step}.py", *words[step])
        assert result.returncode == 0, result.stderr
        peak.append(float(result.stdout))
    print(f"{step}: {peak} MiB")
    assert peak[1] < peak[0] + 20  # MiB; a million trials that are held take 170
