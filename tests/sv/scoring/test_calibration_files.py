"""Calibrated score files and thresholds, from scores of two Gaussians."""

import json
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import read_scored_trials
from sv.metrics.cllr import act_dcf
from sv.metrics.error_rates import min_dcf, sort_scores
from sv.scoring.calibration_files import ScoresToCalibrate, calibrate_files
from tests.sv.scoring.two_gaussians import make_scored_system


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    return make_scored_system(tmp_path / "exp")


def test_calibrated_scores_and_thresholds(exp: Path) -> None:
    calibrate_files(ScoresToCalibrate(exp), "heldout.kaldi", ["O.kaldi"])
    found = read_scored_trials(exp / "scores" / "cali_O.kaldi.score")
    llrs = sort_scores(found.values[found.labels()], found.values[~found.labels()])
    assert act_dcf(llrs, 0.05) <= 1.2 * min_dcf(llrs, 0.05)  # of 200 targets
    thresholds = json.loads((exp / "thresholds.json").read_text())["cos"]
    assert thresholds["eer"]["score"] == pytest.approx(0.35, abs=0.05)
    assert thresholds["measured_on"]["num_nontarget"] == 2000


def test_no_list_gives_thresholds_alone_under_the_name_that_is_given(exp: Path) -> None:
    mean = exp / "mean_vec.npy"
    np.save(mean, np.zeros(2))
    calibrate_files(ScoresToCalibrate(exp, "cos_X", mean=mean), "heldout.kaldi", [])
    found = json.loads((exp / "thresholds.json").read_text())
    assert list(found) == ["cos_X"] and found["cos_X"]["measured_on"]["mean"] == "mean_vec.npy"
    assert not list((exp / "scores").glob("cali_*"))


def test_quality_measures_do_not_overwrite_what_is_calibrated_without_them(exp: Path) -> None:
    calibrate_files(ScoresToCalibrate(exp), "heldout.kaldi", ["O.kaldi"])
    plain = (exp / "scores" / "cali_O.kaldi.score").read_bytes()
    for name in ("heldout", "O"):
        ids = {utt for line in (exp / "scores" / f"{name}.kaldi.score").open() for utt in line.split()[:2]}
        data = exp.parent / name
        data.mkdir()
        lines = (f"{utt} {2 + len(utt) % 3 + int(utt[-1])}\n" for utt in sorted(ids))
        (data / "utt2dur").write_text("".join(lines))
    with_durations = ScoresToCalibrate(
        exp, "cos_duration", quality=["duration"], heldout_data=exp.parent / "heldout", test_data=exp.parent / "O"
    )
    calibrate_files(with_durations, "heldout.kaldi", ["O.kaldi"])
    assert (exp / "scores" / "cali_duration_O.kaldi.score").read_bytes() != plain
    assert (exp / "scores" / "cali_O.kaldi.score").read_bytes() == plain


def test_bad_input_is_told_and_writes_nothing(exp: Path) -> None:
    heldout = exp / "scores" / "heldout.kaldi.score"
    with pytest.raises(UserError, match=r"H\.kaldi\.score does not exist; score it first"):
        calibrate_files(ScoresToCalibrate(exp), "heldout.kaldi", ["H.kaldi"])
    with pytest.raises(UserError, match=r"O\.kaldi is to be calibrated on itself"):
        calibrate_files(ScoresToCalibrate(exp), "O.kaldi", ["O.kaldi"])
    with pytest.raises(UserError, match=r"mean_vec\.npy is not in .*exp; the mean stays with the model"):
        ScoresToCalibrate(exp, mean=exp.parent / "mean_vec.npy")
    lines = [line.split() for line in heldout.open()]
    heldout.write_text("".join(f"{a} {b} {-float(score)} {label}\n" for a, b, score, label in lines))
    with pytest.raises(UserError, match=r"heldout\.kaldi\.score: targets do not score higher than"):
        calibrate_files(ScoresToCalibrate(exp), "heldout.kaldi", ["O.kaldi"])
    heldout.write_text("".join(line for line in heldout.open() if "nontarget" not in line))
    with pytest.raises(UserError, match=r"heldout\.kaldi\.score: no nontarget trials"):
        calibrate_files(ScoresToCalibrate(exp), "heldout.kaldi", ["O.kaldi"])
    assert not (exp / "thresholds.json").exists() and not (exp / "calibration").exists()
    assert sorted(path.name for path in (exp / "scores").iterdir()) == ["O.kaldi.score", "heldout.kaldi.score"]
