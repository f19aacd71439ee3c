"""Plots: what their axes, markers and legends show."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from sv.metrics.comparison import ScoreSet
from sv.metrics.error_rates import sort_scores
from sv.metrics.trial_speakers import Speakers
from sv.report import plots
from sv.report.gather import ScoreFacts, SpeakerErrors, System


@pytest.mark.parametrize("epochs", [1, 2, 4, 7, 150])
def test_epochs_are_whole_numbers(epochs: int) -> None:
    records = {"epoch": [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, epochs + 1)]}
    draw = plots.training([System("x", Path("x"), {}, [], records)], "loss", "loss")
    assert draw is not None
    (axes,) = plots.figure(draw).axes
    assert all(tick == round(tick) for tick in axes.get_xticks())


@pytest.mark.slow
@pytest.mark.parametrize("losses", [[16.0, 0.3], [0.2, 1e-5], [0.6, 0.35]])
def test_no_letter_of_a_log_axis_is_smaller_than_10_px(tmp_path: Path, losses: list[float]) -> None:
    records = {"epoch": [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(losses)]}
    draw = plots.training([System("x", Path("x"), {}, [], records)], "loss", "loss")
    assert draw is not None
    svg = plots.save(plots.figure(draw), tmp_path / "loss.png", "loss")
    assert min(float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", svg)) >= 10


def facts_at(*priors: str) -> ScoreFacts:
    entry = {"eer": 25.0, "eer_threshold": 0.5, "min_dcf_threshold": dict.fromkeys(priors, 0.4)}
    return ScoreFacts(ScoreSet("x", "O", "cos", Path("x"), entry), sort_scores([0.3, 0.5, 0.9], [0.1, 0.45]), [])


def test_marks_on_curves_are_those_of_the_priors_drawn() -> None:
    facts = [facts_at("0.05", "0.5"), facts_at("0.01")]
    assert plots.det_marks(facts) == {"EER": "o", "0.01": "x", "0.05": "+", "0.5": "*"}
    (axes,) = plots.figure(plots.det(facts, ["a", "b"])).axes
    drawn = [line.get_marker() for line in axes.get_lines() if line.get_marker() != "None"]
    assert drawn == ["o", "+", "*", "o", "x"]


@pytest.mark.parametrize(
    ("accept", "miss"), [(0.2, 0.1), (0.01, 0.9), (0.75, 0.25), (0.2, 0.0001), (0.0, 0.4), (1.0, 0.0), (0.0, 1.0)]
)
def test_axes_of_a_det_plot_reach_its_points(accept: float, miss: float) -> None:
    count = 10_000
    target, nontarget = (
        [1.0] * round(count * share) + [0.0] * round(count * (1 - share)) for share in (1 - miss, accept)
    )
    entry = {"eer": 25.0, "eer_threshold": 0.5, "min_dcf_threshold": {}}
    facts = ScoreFacts(ScoreSet("x", "O", "cos", Path("x"), entry), sort_scores(target, nontarget), [])
    (axes,) = plots.figure(plots.det([facts], ["x"])).axes
    (point,) = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert not point.get_clip_on()
    for rate, (place,), limits, usual in zip(
        (accept, miss), point.get_data(), (axes.get_xlim(), axes.get_ylim()), ((0.0001, 0.5), (0.001, 0.6)), strict=True
    ):
        if 0 < rate < 1:
            assert place == pytest.approx(ndtri(rate)) and limits[0] < place < limits[1]
        else:
            assert place == limits[round(rate)]
        if rate in (0, 1) or usual[0] <= rate <= usual[1]:
            assert limits == pytest.approx(ndtri(usual))


def test_names_in_legends_are_as_they_are() -> None:
    names = ["_a$b$", "c"]
    systems = [System(name, Path("x"), {}, [], {"epoch": [{"epoch": 1, "loss": 1.0}]}) for name in names]
    draw = plots.training(systems, "loss", "loss")
    assert draw is not None
    speakers = plots.embedding_map(np.zeros((2, 2)), names)
    det, with_eer = plots.det([facts_at()] * 2, names), ["_a$b$: 25.0 %", "c: 25.0 %"]
    for one, shown in ((draw, names), (speakers, names), (det, with_eer)):
        (axes,) = plots.figure(one).axes
        texts = axes.get_legend().get_texts()
        assert [text.get_text() for text in texts] == shown and not any(text.get_parse_math() for text in texts)


def test_costs_as_decided_and_at_best_meet_where_scores_are_calibrated() -> None:
    llr = np.log(4.0)  # 4 of 5 targets and 1 of 5 non-targets score llr, so that the scores tell their own odds
    calibrated = sort_scores([llr] * 4 + [-llr], [-llr] * 4 + [llr])
    shifted = sort_scores([llr + 9] * 4 + [9 - llr], [9 - llr] * 4 + [llr + 9])
    facts = [ScoreFacts(facts_at().of, scores, []) for scores in (calibrated, shifted)]
    (axes,) = plots.figure(plots.calibration(facts, ["good", "shifted"])).axes
    actual, best, actual_shifted, best_shifted = (line.get_ydata() for line in axes.get_lines())
    assert actual == pytest.approx(best) and best_shifted == pytest.approx(best)
    middle = len(actual) // 2  # p_target 0.5: 0.2 misses and 0.2 false accepts, or all accepted
    assert actual[middle] == pytest.approx(0.4) and actual_shifted[middle] == pytest.approx(1)


def test_worst_speakers_are_named_and_points_are_their_shares() -> None:
    errors = SpeakerErrors(Speakers({"a1": "_a", "a2": "_a", "b1": "b", "b2": "b"}, "utt2spk"), 0.5)
    errors.counts[:] = [[1, 1], [1, 0], [2, 2], [1, 1]]
    (axes,) = plots.figure(plots.speakers(errors, named=1)).axes
    (points,) = axes.get_lines()
    assert points.get_xdata().tolist() == [50, 50] and points.get_ydata().tolist() == [100, 0]
    assert [text.get_text() for text in axes.texts] == ["_a"]


def test_legend_of_a_map_has_fewer_columns_for_long_names() -> None:
    for name, columns in (("A", 6), ("SPEAKER0001", 3), ("x" * 80, 1)):
        names = [f"{name}{number}" for number in range(7)]
        (axes,) = plots.figure(plots.embedding_map(np.zeros((7, 2)), names)).axes
        assert axes.get_legend()._ncols == columns


def test_legends_stand_below_and_names_on_the_right_point_to_the_left() -> None:
    for draw in (plots.det([facts_at()], ["a"]), plots.embedding_map(np.zeros((2, 2)), ["a", "b"])):
        (axes,) = plots.figure(draw).axes
        assert axes.get_legend().get_bbox_to_anchor().ymax < axes.get_window_extent().ymin
    errors = SpeakerErrors(Speakers({"a": "SPEAKER_A", "b": "SPEAKER_B"}, "utt2spk"), 0.5)
    errors.counts[:] = [[10, 10], [5, 1], [10, 10], [1, 9]]
    (axes,) = plots.figure(plots.speakers(errors)).axes
    assert {text.get_text(): text.get_ha() for text in axes.texts} == {"SPEAKER_A": "left", "SPEAKER_B": "right"}
