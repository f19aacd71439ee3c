"""Calibration against scores whose log-likelihood ratio is known, and against a search; thresholds by counting."""

import json
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.metrics.cllr import act_dcf
from sv.metrics.error_rates import min_dcf, sort_scores
from sv.scoring.calibration import fit, load_calibration, posterior
from sv.scoring.calibration_trials import draw_calibration_trials, read_groups
from sv.scoring.thresholds import add_thresholds, find_thresholds, no_threshold, read_thresholds, threshold_at


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


def test_feature_that_never_changes_has_no_say() -> None:
    features, is_target = gaussian_scores(100, 100)
    found = fit(np.column_stack([features, np.full(200, 7.0)]), is_target, ["score", "constant"])
    assert found.weights[1] == 0.0


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
    with pytest.raises(UserError, match="calibrate first"):
        load_calibration(tmp_path / "none.json")


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
        said = "no threshold fa_0.001: 0.1 % of 999 non-target trials is less than one; hold out more speakers"
        assert caplog.messages[0].startswith(said)
        told = str(no_threshold("fa_0.001", list(found)))
        assert "calibrated on fewer than 1000 non-target trials; take one of eer, min_dcf_0.01" in told


def make_utts(speakers: int, videos: int, utts: int) -> dict[str, str]:
    return {f"s{s}/v{v}/{u}.wav": f"s{s}" for s in range(speakers) for v in range(videos) for u in range(utts)}


def test_calibration_trials_never_pair_an_utterance_with_itself_or_its_video() -> None:
    trials = draw_calibration_trials(make_utts(3, 2, 3))
    assert len({(a, b) for a, b, _ in trials}) == len(trials)
    assert len([1 for *_, same in trials if same]) == 3 * 9 and len([1 for *_, same in trials if not same]) == 3 * 36
    for first, second, same in trials:
        assert first < second
        assert (first.split("/")[0] == second.split("/")[0]) == same
        assert first.rsplit("/", 1)[0] != second.rsplit("/", 1)[0]


def test_drawn_calibration_trials_depend_on_the_seed_alone() -> None:
    utts = make_utts(20, 11, 10)  # 2,200: too many to list all pairs
    few = draw_calibration_trials(utts, num_target=50, num_nontarget=300, seed=1)
    assert few == draw_calibration_trials(dict(reversed(utts.items())), num_target=50, num_nontarget=300, seed=1)
    assert few != draw_calibration_trials(utts, num_target=50, num_nontarget=300, seed=2)
    assert [same for *_, same in few].count(True) == 50 and len(few) == 350


@pytest.mark.parametrize(("size", "expected"), [((6, 2, 3), 2 * 3 * 36), ((20, 11, 10), 400)])  # all pairs, drawn ones
def test_non_target_trials_are_of_one_group(size: tuple[int, int, int], expected: int) -> None:
    utts = make_utts(*size)
    group = {spk: "even" if int(spk[1:]) % 2 else "odd" for spk in utts.values()}
    trials = draw_calibration_trials(utts, num_nontarget=400, group=group)
    both = [(utts[a], utts[b]) for a, b, same in trials if not same]
    assert len(both) == expected
    assert all(a != b and group[a] == group[b] for a, b in both)
    assert {group[a] for a, _ in both} == {"even", "odd"}
    with pytest.raises(UserError, match="set aside two speakers of one group or more"):
        draw_calibration_trials(make_utts(2, 2, 2), group={"s0": "x", "s1": "y"})


def test_groups_are_what_the_tables_say(tmp_path: Path) -> None:
    (tmp_path / "spk2gender").write_text("a f\nb f\nc m\n")
    (tmp_path / "spk2age").write_text("a 9\nb 10\nc 9\n")
    assert read_groups(tmp_path, ["spk2gender", "spk2age"], ["a", "b", "c"]) == {
        "a": "f, 0 to 10",
        "b": "f, 10 to 18",
        "c": "m, 0 to 10",
    }
    with pytest.raises(UserError, match="spk2gender says nothing of speaker d; add it"):
        read_groups(tmp_path, ["spk2gender"], ["a", "d"])


def test_one_speaker_makes_no_calibration_trials() -> None:
    with pytest.raises(UserError, match="no non-target trial among the held-out speakers"):
        draw_calibration_trials({"a1": "a", "a2": "a"})
    with pytest.raises(UserError, match="no target trial"):
        draw_calibration_trials({"a/v/1": "a", "a/v/2": "a", "b/v/1": "b"})
    with pytest.raises(UserError, match="no target trial"):
        draw_calibration_trials({})  # none of their utterances could be read
