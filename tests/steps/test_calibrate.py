"""steps/make_calibration_trials.py, calibrate.py and fuse.py; what they do is tested in tests/sv/scoring."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import sha256_of
from sv.jobs import DoneMark
from sv.scoring.thresholds import read_thresholds
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


@pytest.mark.parametrize("option", ["--heldout-data", "--test-data"])
def test_recordings_of_ones_own_take_no_other_data(step: Run, option: str) -> None:
    result = step("steps/calibrate.py", "--on", "own", option, "data", "exp")
    assert result.returncode == 2 and "leave out --heldout-data and --test-data" in result.stderr.splitlines()[-1]


def mark(path: Path, **options: object) -> None:
    """Mark a score file as made so."""
    DoneMark(path.with_name(f".done.{path.name}"), options).write([path])


def test_back_end_and_mean_follow_from_the_scores(step: Run, exp: Path) -> None:
    """The cosine's calibration stays when PLDA's is made, and knows the mean that steps/verify.py has to subtract."""
    mean = exp / "embeddings" / "train" / "mean_vec.npy"
    mean.parent.mkdir(parents=True)
    np.save(mean, np.ones(2))
    for prefix, seed, options in (
        ("", 0, {"backend": "cos", "mean_sha256": sha256_of(mean)}),
        ("plda_", 9, {"backend": "plda"}),
    ):
        for name in ("heldout.kaldi", "O.kaldi"):
            path = exp / "scores" / f"{prefix}{name}.score"
            write_scores_file(path, seed, name[0])
            mark(path, model_sha256="m", fingerprint="f", trials_sha256=name, **options)
        assert step("steps/calibrate.py", "--prefix", prefix, exp, "heldout.kaldi", "O.kaldi").returncode == 0
    weights = {name: json.loads((exp / "calibration" / f"{name}.json").read_text()) for name in ("cos", "plda")}
    known = {"mean": "embeddings/train/mean_vec.npy", "mean_sha256": sha256_of(mean), "backend": "cos"}
    assert weights["cos"]["trained_on"].items() >= {**known, "model_sha256": "m", "fingerprint": "f"}.items()
    assert "mean" not in weights["plda"]["trained_on"] and read_thresholds(exp, "plda") and read_thresholds(exp, "cos")
    for name in ("cos", "plda"):
        assert weights[name]["weights"] != weights["plda" if name == "cos" else "cos"]["weights"]
    before = (exp / "thresholds.json").read_bytes()
    np.save(exp / "mean_vec.npy", np.zeros(2))
    refused = {
        ("--prefix", "plda_", "--backend", "cos"): "--backend cos: .* has scores by plda; give --backend plda",
        ("--mean", exp / "mean_vec.npy"): r"mean_vec\.npy was not subtracted from the scores in .*; leave it out",
        ("--prefix", "plda_", "--mean", mean): r"mean_vec\.npy was not subtracted from the scores",
    }
    for words, message in refused.items():
        result = step("steps/calibrate.py", *words, exp, "heldout.kaldi", "O.kaldi")
        assert result.returncode == 1 and result.stderr.count("\n") == 1 and re.search(message, result.stderr)
    result = step("steps/calibrate.py", "--prefix", "cali_", exp, "O.kaldi")
    assert "cali_O.kaldi.score is calibrated already; give the --prefix of the scores" in result.stderr
    mean.unlink()
    result = step("steps/calibrate.py", exp, "heldout.kaldi", "O.kaldi")
    assert "the mean that was subtracted is not in" in result.stderr and "give it with --mean" in result.stderr
    assert (exp / "thresholds.json").read_bytes() == before


def test_scores_of_another_model_than_the_held_out_ones_are_refused(step: Run, exp: Path) -> None:
    mark(exp / "scores" / "heldout.kaldi.score", backend="cos", model_sha256="a" * 64)
    mark(exp / "scores" / "O.kaldi.score", backend="cos", model_sha256="b" * 64)
    result = step("steps/calibrate.py", exp, "heldout.kaldi", "O.kaldi")
    scores = exp / "scores"
    told = f"{scores}/O.kaldi.score was not scored like {scores}/heldout.kaldi.score"
    differs = "model is bbbbbbbbbbbb, there aaaaaaaaaaaa; score both the same way\n"
    assert (result.returncode, result.stderr) == (1, f"calibrate.py: error: {told}: {differs}")
    assert not (exp / "calibration").exists() and not (exp / "thresholds.json").exists()


def test_unmarked_scores_with_a_prefix_are_filed_only_under_a_name_that_is_given(step: Run, exp: Path) -> None:
    for name in ("heldout.kaldi", "O.kaldi"):
        shutil.copy(exp / "scores" / f"{name}.score", exp / "scores" / f"mine_{name}.score")
    result = step("steps/calibrate.py", "--prefix", "mine_", exp, "heldout.kaldi", "O.kaldi")
    assert result.returncode == 1 and "no mark tells its back-end; name it with --backend" in result.stderr
    words = ["--prefix", "mine_", "--backend", "mine", exp, "heldout.kaldi", "O.kaldi"]
    assert step("steps/calibrate.py", *words).returncode == 0
    assert (exp / "calibration" / "mine.json").is_file()


def test_thresholds_of_another_calibration_are_refused(step: Run, exp: Path) -> None:
    assert step("steps/calibrate.py", exp, "heldout.kaldi").returncode == 0
    kept = (exp / "calibration" / "cos.json").read_bytes()
    assert step("steps/calibrate.py", "--p-target", 0.5, exp, "heldout.kaldi").returncode == 0
    assert read_thresholds(exp, "cos")
    (exp / "calibration" / "cos.json").write_bytes(kept)
    with pytest.raises(UserError, match=r"thresholds\.json: 'cos' was not measured with .*cos\.json; calibrate it"):
        read_thresholds(exp, "cos")


def test_damaged_thresholds_leave_the_calibration_as_it_is(step: Run, exp: Path) -> None:
    assert step("steps/calibrate.py", exp, "heldout.kaldi").returncode == 0
    (exp / "thresholds.json").write_text("{")
    kept = (exp / "calibration" / "cos.json").read_bytes()
    result = step("steps/calibrate.py", "--p-target", 0.5, exp, "heldout.kaldi")
    assert result.returncode == 1 and "thresholds.json is damaged; remove it" in result.stderr
    assert (exp / "calibration" / "cos.json").read_bytes() == kept


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
