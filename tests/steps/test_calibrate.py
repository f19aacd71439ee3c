"""steps/make_calibration_trials.py, calibrate.py and fuse.py on score files of known distribution."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.io import read_scored_trials
from sv.metrics.cllr import act_dcf
from sv.metrics.error_rates import min_dcf, sort_scores

Run = Callable[..., subprocess.CompletedProcess[str]]


def write_scores_file(path: Path, seed: int, name: str) -> None:
    """200 target and 2,000 non-target trials, scores of two Gaussians."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [("target", s) for s in rng.normal(0.6, 0.15, 200)] + [("nontarget", s) for s in rng.normal(0.1, 0.15, 2000)]
    path.write_text("".join(f"{name}{i} {name}{i + 1} {s:.5f} {label}\n" for i, (label, s) in enumerate(rows)))


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    for seed, name in enumerate(("heldout.kaldi", "O.kaldi")):
        write_scores_file(tmp_path / "exp" / "scores" / f"{name}.score", seed, name[0])
    return tmp_path / "exp"


@pytest.mark.slow
def test_calibrated_scores_and_thresholds(run: Run, exp: Path) -> None:
    result = run("steps/calibrate.py", exp, "heldout.kaldi", "O.kaldi")
    assert result.returncode == 0, result.stderr
    found = read_scored_trials(exp / "scores" / "cali_O.kaldi.score")
    target, nontarget = found.values[found.is_target], found.values[~found.is_target]
    llrs = sort_scores(target, nontarget)
    assert act_dcf(llrs, 0.05) <= 1.2 * min_dcf(llrs, 0.05)  # of 200 targets
    thresholds = json.loads((exp / "thresholds.json").read_text())["cos"]
    assert thresholds["eer"]["score"] == pytest.approx(0.35, abs=0.05)
    assert thresholds["measured_on"]["num_nontarget"] == 2000


@pytest.mark.slow
def test_quality_measures_do_not_overwrite_what_is_calibrated_without_them(run: Run, exp: Path) -> None:
    assert run("steps/calibrate.py", exp, "heldout.kaldi", "O.kaldi").returncode == 0
    plain = (exp / "scores" / "cali_O.kaldi.score").read_bytes()
    for name in ("heldout", "O"):
        ids = {utt for line in (exp / "scores" / f"{name}.kaldi.score").open() for utt in line.split()[:2]}
        data = exp.parent / name
        data.mkdir()
        lines = (f"{utt} {2 + len(utt) % 3 + int(utt[-1])}\n" for utt in sorted(ids))
        (data / "utt2dur").write_text("".join(lines))
    words = ["--heldout-data", exp.parent / "heldout", "--test-data", exp.parent / "O"]
    words += ["--backend", "cos_duration", "--quality", "duration", exp, "heldout.kaldi", "O.kaldi"]
    result = run("steps/calibrate.py", *words)
    assert result.returncode == 0, result.stderr
    assert (exp / "scores" / "cali_duration_O.kaldi.score").read_bytes() != plain
    assert (exp / "scores" / "cali_O.kaldi.score").read_bytes() == plain


@pytest.mark.slow
def test_bad_input_is_one_line_and_writes_nothing(run: Run, exp: Path) -> None:
    result = run("steps/calibrate.py", exp, "heldout.kaldi", "H.kaldi")
    assert result.returncode == 1 and "H.kaldi.score does not exist; score it first" in result.stderr
    result = run("steps/calibrate.py", exp, "O.kaldi", "O.kaldi")
    assert result.returncode == 1 and "O.kaldi is to be calibrated on itself" in result.stderr
    result = run("steps/calibrate.py", "--mean", exp.parent / "mean_vec.npy", exp, "heldout.kaldi", "O.kaldi")
    assert result.returncode == 1 and f"mean_vec.npy is not in {exp}" in result.stderr
    heldout = exp / "scores" / "heldout.kaldi.score"
    lines = [line.split() for line in heldout.open()]
    heldout.write_text("".join(f"{a} {b} {-float(score)} {label}\n" for a, b, score, label in lines))
    result = run("steps/calibrate.py", exp, "heldout.kaldi", "O.kaldi")
    assert result.returncode == 1 and "heldout.kaldi.score: targets do not score higher than" in result.stderr
    heldout.write_text("".join(line for line in heldout.open() if "nontarget" not in line))
    result = run("steps/calibrate.py", exp, "heldout.kaldi", "O.kaldi")
    assert result.returncode == 1 and "heldout.kaldi.score: no nontarget trials" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (exp / "thresholds.json").exists() and not (exp / "calibration").exists()


@pytest.mark.slow
def test_fusion_has_a_weight_a_system_and_refuses_other_trials(run: Run, exp: Path) -> None:
    other = exp.parent / "other" / "scores"
    write_scores_file(other / "heldout.kaldi.score", 5, "h")
    write_scores_file(other / "O.kaldi.score", 6, "O")
    heldout, scores = ([folder / name for folder in (exp / "scores", other)] for name in
                       ("heldout.kaldi.score", "O.kaldi.score"))  # fmt: skip
    out = exp.parent / "fused" / "O.kaldi.score"
    result = run("steps/fuse.py", "--heldout", *heldout, "--scores", *scores, "--", out)
    assert result.returncode == 0, result.stderr
    assert len(json.loads((out.parent / "O.kaldi.score.json").read_text())["weights"]) == 2
    fused, alone = read_scored_trials(out), read_scored_trials(scores[0])
    costs = [min_dcf(sort_scores(s.values[s.is_target], s.values[~s.is_target]), 0.05) for s in (fused, alone)]
    assert costs[0] < costs[1]
    result = run("steps/fuse.py", "--heldout", *heldout, "--scores", *scores, "--", scores[0])
    assert result.returncode == 1 and "would overwrite scores that it is made from" in result.stderr
    result = run("steps/fuse.py", "--heldout", *scores, "--scores", *scores, "--", out)
    assert result.returncode == 1 and f"{min(scores)} is to be fused by weights of its own trials" in result.stderr
    result = run("steps/fuse.py", "--p-target", "1", "--heldout", *heldout, "--scores", *scores, "--", out)
    assert result.returncode == 1 and f"error: {heldout[0]}: p_target 1.0, " in result.stderr
    scores[1].write_text(scores[1].read_text().replace("O7 O8", "X7 O8", 1))
    result = run("steps/fuse.py", "--heldout", *heldout, "--scores", *scores, "--", out)
    assert result.returncode == 1
    assert "O.kaldi.score:8: X7 and O8 is not the trial of" in result.stderr


MEASURE = """
import pathlib, re, runpy, sys
sys.argv = sys.argv[1:]
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


def test_trials_are_of_the_held_out_speakers(run: Run, tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "utt2spk").write_text("".join(f"{s}{n} {s}\n" for s in "abc" for n in (1, 2)) + "sp0.9-a1 sp0.9-a\n")
    result = run("steps/make_calibration_trials.py", tmp_path / "exp", tmp_path)
    assert result.returncode == 1 and "heldout_spk does not exist; train with" in result.stderr
    (tmp_path / "exp" / "heldout_spk").write_text("a\nb\n")
    result = run("steps/make_calibration_trials.py", tmp_path / "exp", tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "exp" / "calibration" / "heldout.kaldi").read_text() == (
        "a1 a2 target\na1 b1 nontarget\na1 b2 nontarget\na2 b1 nontarget\na2 b2 nontarget\nb1 b2 target\n"
    )
    bad_list = tmp_path / "exp" / "embeddings" / tmp_path.name / "bad_utts"
    bad_list.parent.mkdir(parents=True)
    bad_list.write_text("a1 a1.wav is damaged\n")
    result = run("steps/make_calibration_trials.py", "--name", "fewer", tmp_path / "exp", tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "exp" / "calibration" / "fewer").read_text() == (
        "a2 b1 nontarget\na2 b2 nontarget\nb1 b2 target\n"
    )
    bad_list.unlink()
    (tmp_path / "spk2gender").write_text("a f\nb m\nc f\n")
    (tmp_path / "exp" / "heldout_spk").write_text("a\nb\nc\n")
    options = ["--same", "spk2gender", "--name", "hard.kaldi"]
    result = run("steps/make_calibration_trials.py", *options, tmp_path / "exp", tmp_path)
    assert result.returncode == 0, result.stderr
    trials = (tmp_path / "exp" / "calibration" / "hard.kaldi").read_text().splitlines()
    assert [line for line in trials if "nontarget" in line] == [f"a{i} c{j} nontarget" for i in (1, 2) for j in (1, 2)]
    (tmp_path / "exp" / "heldout_spk").write_text("a\nb\n")
    result = run("steps/make_calibration_trials.py", *options, tmp_path / "exp", tmp_path)
    assert "no two of 2 held-out speakers have the same spk2gender: non-target trials of any two" in result.stderr
    assert "a1 b1 nontarget" in (tmp_path / "exp" / "calibration" / "hard.kaldi").read_text()
    (tmp_path / "exp" / "heldout_spk").write_text("a\nz\n")
    result = run("steps/make_calibration_trials.py", tmp_path / "exp", tmp_path)
    assert result.returncode == 1 and "speaker z is not in" in result.stderr
