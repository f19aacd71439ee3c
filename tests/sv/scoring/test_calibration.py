"""Calibration against scores whose log-likelihood ratio is known, and against a search."""

import json
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.metrics.cllr import act_dcf
from sv.metrics.error_rates import min_dcf, sort_scores
from sv.scoring.calibration import fit, how_to_calibrate, load_calibration, posterior


def gaussian_scores(target: int = 4000, nontarget: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores of mean 0.6 and 0.1, deviation 0.2: llr = (0.5 s - 0.175) / 0.04."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0.6, 0.2, target), rng.normal(0.1, 0.2, nontarget)])
    return scores[:, None], np.arange(len(scores)) < target


@pytest.mark.parametrize("p_target", [0.01, 0.05, 0.5])
def test_known_log_likelihood_ratios_are_found_at_any_prior(p_target: float) -> None:
    features, is_target = gaussian_scores()
    found = fit(features, is_target, ["score"], p_target=p_target)
    assert found.weights[0] == pytest.approx(12.5, rel=0.06)
    assert found.offset == pytest.approx(-4.375, rel=0.06)


def test_calibrated_cost_is_nearly_the_best() -> None:
    features, is_target = gaussian_scores()
    llrs = fit(features, is_target, ["score"]).llrs(features)
    scores = sort_scores(llrs[is_target], llrs[~is_target])
    assert act_dcf(scores, 0.05) <= 1.05 * min_dcf(scores, 0.05)


def test_no_near_weights_have_a_lower_loss() -> None:
    features, is_target = gaussian_scores(30, 50)
    found = fit(features, is_target, ["score"], p_target=0.2)

    def loss(weight: float, offset: float) -> float:
        llr = weight * features[:, 0] + offset + np.log(0.2 / 0.8)
        target, nontarget = np.log1p(np.exp(-llr[is_target])), np.log1p(np.exp(llr[~is_target]))
        return float(0.2 * target.mean() + 0.8 * nontarget.mean())

    best = loss(found.weights[0], found.offset)
    for step in (0.9, 1.1):
        assert loss(step * found.weights[0], found.offset) > best
        assert loss(found.weights[0], step * found.offset) > best


def test_fusion_of_two_noisy_systems_is_better_than_either() -> None:
    rng = np.random.default_rng(1)
    is_target = np.arange(6000) < 1000
    features = 2.0 * is_target[:, None] + rng.standard_normal((6000, 2))
    fused = fit(features, is_target, ["a", "b"]).llrs(features)
    costs = [min_dcf(sort_scores(s[is_target], s[~is_target]), 0.05) for s in (features[:, 0], features[:, 1], fused)]
    assert costs[2] < 0.8 * min(costs[:2])


def test_scores_that_tell_all_trials_apart_give_finite_weights() -> None:
    found = fit(np.array([[3.0], [4.0], [1.0], [2.0]]), np.array([True, True, False, False]), ["score"])
    assert 0 < found.weights[0] < 100


@pytest.mark.parametrize("value", [0.0, 7.0, 3.7])  # the deviation of 3.7 is not 0, but a rounding error
def test_feature_that_never_changes_has_no_say(value: float) -> None:
    features, is_target = gaussian_scores(1000, 2000)
    alone = fit(features, is_target, ["score"])
    found = fit(np.column_stack([features, np.full(3000, value)]), is_target, ["score", "constant"])
    assert found.weights == pytest.approx([alone.weights[0], 0.0], abs=1e-4)


def test_scores_of_a_large_mean_are_told_apart() -> None:
    features, is_target = gaussian_scores()
    found = fit(features - 1e4, is_target, ["score"])
    assert found.weights[0] == pytest.approx(12.5, rel=0.06)


def test_trials_of_one_kind_and_bad_features_are_refused() -> None:
    with pytest.raises(UserError, match="no nontarget trials"):
        fit(np.ones((3, 1)), np.ones(3, dtype=bool), ["score"])
    with pytest.raises(UserError, match="NaN or infinite"):
        fit(np.array([[1.0], [np.nan]]), np.array([True, False]), ["score"])


def test_posterior_worked_by_hand() -> None:
    assert posterior(0.0, 0.01) == pytest.approx(0.01)
    assert posterior(np.log(9), 0.5) == pytest.approx(0.9)
    with pytest.raises(UserError, match="prior 1"):
        posterior(0.0, 1)


def test_written_calibration_is_read_back_and_a_damaged_one_named(tmp_path: Path) -> None:
    features, is_target = gaussian_scores(50, 50)
    found, path = fit(features, is_target, ["score"]), tmp_path / "cos.json"
    found.save(path)
    assert load_calibration(path) == found
    for text in ("{", '{"a": 1}', json.dumps({**vars(found), "weights": []})):
        path.write_text(text)
        with pytest.raises(UserError, match=r"cos\.json is damaged"):
            load_calibration(path)
    with pytest.raises(UserError, match="does not exist; calibrate it: stages 4 to 7"):
        load_calibration(tmp_path / "none.json")


def test_a_bundle_is_not_calibrated_itself(tmp_path: Path) -> None:
    assert how_to_calibrate(tmp_path).endswith(
        f"or on recordings of your own steps/calibrate.py --on DATA_DIR {tmp_path}"
    )
    (tmp_path / "SHA256SUMS").touch()
    assert how_to_calibrate(tmp_path) == "calibrate the system that the bundle is of, and export it again"
