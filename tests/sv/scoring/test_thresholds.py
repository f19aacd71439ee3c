"""Thresholds by counting trials, and their file."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.metrics.error_rates import sort_scores
from sv.scoring.calibration import fit
from sv.scoring.thresholds import add_thresholds, find_thresholds, no_threshold, read_thresholds, threshold_at


def gaussian_scores(target: int, nontarget: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of mean 0.6 and 0.1, deviation 0.2."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0.6, 0.2, target), rng.normal(0.1, 0.2, nontarget)])
    return scores[:, None], np.arange(len(scores)) < target


def test_threshold_at_a_share_of_false_accepts_is_the_lowest() -> None:
    scores = sort_scores([5.0], [1.0, 2.0, 3.0, 3.0])
    assert scores.false_accept(threshold_at(scores, 0.5)) == 0.5
    assert threshold_at(scores, 0.5) == np.nextafter(2.0, 3)
    assert threshold_at(scores, 0.25) == np.nextafter(3.0, 4)  # tied trials are accepted together
    assert threshold_at(scores, 0.0) == np.nextafter(3.0, 4)
    assert threshold_at(scores, 1.0) == 1.0


@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_scores_that_do_not_rise_with_likeness_give_no_thresholds(sign: float) -> None:
    features, is_target = gaussian_scores(200, 2000)
    calibration = fit(sign * features, is_target, ["score"])
    llrs = calibration.llrs(sign * features)
    with pytest.raises(UserError, match="targets do not score higher than non-targets"):
        find_thresholds(sort_scores(llrs[is_target], llrs[~is_target]), calibration)


def test_thresholds_of_back_ends_stand_side_by_side(tmp_path: Path) -> None:
    features, is_target = gaussian_scores(200, 2000)
    calibration = fit(features, is_target, ["score"])
    llrs = calibration.llrs(features)
    found = find_thresholds(sort_scores(llrs[is_target], llrs[~is_target]), calibration)
    assert list(found) == ["eer", "min_dcf_0.01", "min_dcf_0.05", "fa_0.01", "fa_0.001"]
    assert found["eer"]["miss"] == pytest.approx(found["eer"]["false_accept"], abs=0.01)
    assert (features[~is_target, 0] >= found["fa_0.01"]["score"]).mean() == pytest.approx(0.01, abs=1e-3)
    for backend in ("cos", "asnorm"):
        add_thresholds(tmp_path, backend, found)
    assert read_thresholds(tmp_path, "cos") == found
    with pytest.raises(UserError, match="no back-end 'plda'"):
        read_thresholds(tmp_path, "plda")
    (tmp_path / "thresholds.json").write_text("[]")
    with pytest.raises(UserError, match="is damaged"):
        read_thresholds(tmp_path, "cos")


@pytest.mark.parametrize(
    ("nontarget", "names"), [(1000, ["fa_0.01", "fa_0.001"]), (999, ["fa_0.01"]), (100, ["fa_0.01"]), (99, [])]
)
def test_share_that_is_less_than_one_non_target_has_no_threshold(
    nontarget: int, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    features, is_target = gaussian_scores(200, nontarget)
    calibration = fit(features, is_target, ["score"])
    llrs = calibration.llrs(features)
    found = find_thresholds(sort_scores(llrs[is_target], llrs[~is_target]), calibration)
    assert [name for name in found if name.startswith("fa_")] == names
    assert all(found[name]["false_accept"] > 0 for name in names)
    missing = {"fa_0.01", "fa_0.001"} - set(names)
    assert len(caplog.messages) == len(missing)
    if nontarget == 999:
        said = "no threshold fa_0.001: 0.1 % of 999 non-target trials is less than one; calibrate on more speakers"
        assert caplog.messages[0].startswith(said)
        told = str(no_threshold("fa_0.001", list(found)))
        assert "calibrated on fewer than 1000 non-target trials; take one of eer, min_dcf_0.01" in told
