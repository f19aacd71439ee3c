"""Tables of the page: calibrated scores beside their source, the best back-end, histograms, errors by speaker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sv.io import ScoredTrials
from sv.io.scores import Ids
from sv.metrics.comparison import ScoreSet
from sv.metrics.error_rates import sort_scores
from sv.metrics.trial_speakers import Speakers
from sv.report import tables
from sv.report.gather import ScoreFacts, SpeakerErrors, System

COUNTS = {"num_target": 10_000, "num_nontarget": 90_000}


def entry(eer: float, **more: Any) -> dict[str, Any]:
    return {
        "eer": eer,
        "min_dcf": {"0.01": 0.5, "0.05": 0.25},
        "min_cllr": 0.2,
        "date": "2026-01-02T03:04:05",
        **COUNTS,
        **more,
    }


CALIBRATED = {"act_dcf": {"0.01": 0.6, "0.05": 0.3}, "cllr": 0.4, "interval": {"cllr": [0.1, 0.7]}}
RESULTS = {
    "O.kaldi": {"cos": entry(8, interval={"eer": [6, 11]}), "cos_cali": entry(8, **CALIBRATED), "plda": entry(5)},
    "H.kaldi": {"cos": entry(9), "fused_cali": entry(1, **CALIBRATED)},
}


def test_calibrated_scores_stand_with_those_that_they_were_made_from() -> None:
    grid = tables.results_grid([System("x", Path("x"), RESULTS, [])])
    assert grid.backends == ["cos", "plda", "fused_cali"] and grid.has_intervals
    (system, trials, (cos, plda, fused)), (_, _, (_, missing, _)) = grid.rows
    assert (system, trials, cos.eer, cos.text, cos.interval) == ("x", "O", 8, "8.00", "[6.00, 11.00]")
    plain = [("minDCF 0.01", "0.500"), ("minDCF 0.05", "0.250")]
    costs = [("actDCF 0.01", "0.600"), ("actDCF 0.05", "0.300"), ("Cllr", "0.400 [0.100, 0.700]"), ("minCllr", "0.200")]
    assert cos.more == plain + costs and plda.more == plain
    assert fused == missing == tables.Cell()


def test_the_best_back_end_has_the_lowest_mean_of_those_with_all_lists() -> None:
    assert tables.best_backend(RESULTS) == "cos"  # plda and fused_cali lack a list
    assert tables.best_backend({"O.kaldi": RESULTS["O.kaldi"]}) == "plda"
    assert tables.best_backend({}) == ""


def test_the_card_tells_of_encoder_loss_data_code_and_date() -> None:
    settings = {"model": "resnet34", "loss": "sphereface2", "loss_args": {"margin_type": "C"}, "num_epochs": 7}
    settings["model_args"] = {"embed_dim": 128, "two_emb_layer": False, "emb_bn": True}
    settings["heldout_speakers"] = 6
    results = {"O.kaldi": {"cos": entry(8, commit="0123456789abcdef")}}
    system = System("x", Path("x"), results, [], settings=settings | {"margin_update": {"final_margin": 0.2}})
    training, test = (
        {"data": "data/train", "speakers": "40", "utterances": "480"},
        {"data": "data/test", "speakers": "9"},
    )
    assert tables.card_rows(system, training, test) == [
        (
            "encoder",
            "resnet34 (embed dim 128, without second embedding layer, with batch norm of the embedding)",
        ),
        ("loss", "sphereface2 (margin type C, margin 0.2)"),
        ("trained", "on data/train: 40 speakers (6 held out), 480 utterances, 7 epochs"),
        ("tested", "on data/test: 9 speakers"),
        ("code", "0123456789ab"),
        ("measured", "2026-01-02 03:04"),
    ]
    assert tables.card_rows(System("x", Path("x"), {}, []), {}, {}) == []


@pytest.mark.parametrize(
    ("targets", "text", "interval"),
    [
        (3, "8.1", "[6.0, 11.0]"),
        (960, "8.1", "[6.0, 11.0]"),
        (5000, "8.12", "[6.00, 11.00]"),
        (37611, "8.123", "[6.00, 11.00]"),
    ],
)
def test_an_eer_has_as_many_decimals_as_the_trials_support(targets: int, text: str, interval: str) -> None:
    one = entry(8.1234, interval={"eer": [6, 11]}, num_target=targets)
    (_, _, (cell,)), *_ = tables.results_grid([System("x", Path("x"), {"O": {"cos": one}}, [])]).rows
    assert (cell.text, cell.interval) == (text, interval)


def test_the_sentence_on_calibration_gives_cost_and_lowest_cost() -> None:
    assert tables.calibration_sentence(RESULTS, "cos") == (
        "Calibrated, its decisions at p_target 0.05 cost 0.300 on O (at best 0.250; Cllr 0.400, minCllr 0.200)."
    )
    assert tables.calibration_sentence(RESULTS, "plda") == ""
    assert "cost 0.300 on O" in tables.calibration_sentence({"O.kaldi": {"fused": entry(1, **CALIBRATED)}}, "fused")


@pytest.mark.parametrize(("target", "nontarget"), [([0.5], [0.5, 0.5]), ([0.5, 0.9, 3.0], [0.1, 0.6])])
def test_bins_hold_every_score_on_its_side_of_their_edges(target: list[float], nontarget: list[float]) -> None:
    scores = sort_scores(target, nontarget)
    data: Any = tables.histogram_data(ScoreFacts(ScoreSet("x", "O", "cos", Path(), {"eer_threshold": 0.5}), scores, []))
    edges = np.linspace(data["low"], data["high"], len(data["target"]) + 1)
    assert edges[data["eer_edge"]] == pytest.approx(0.5)
    for kind, counts in ((target, data["target"]), (nontarget, data["nontarget"])):
        assert sum(counts) == len(kind)
        assert sum(counts[: data["eer_edge"]]) == (np.array(kind) < 0.5).sum()
        for row in range(1, len(counts)):
            assert sum(counts[:row]) == (np.array(kind) < edges[row] - 1e-12).sum()


def scored(ids: list[str], rows: list[tuple[int, int, float]]) -> ScoredTrials:
    enroll, test = (np.array([row[side] for row in rows], np.int32) for side in (0, 1))
    values = np.array([row[2] for row in rows])
    more = np.empty((len(rows), 0))
    return ScoredTrials(Path("x"), 1, Ids(ids), enroll, test, values, enroll == test, more, 0)


def test_the_speaker_with_the_highest_eer_comes_first_and_few_make_most_misses() -> None:
    errors = SpeakerErrors(Speakers({name: name for name in "abcde"}, "utt2spk"), 0.5)
    targets = [(0, 0, 0.9), (0, 0, 0.1), (1, 1, 0.1), (1, 1, 0.15), (2, 2, 0.9), (3, 3, 0.9)]
    blocks = [scored([*"abcd"], targets), scored([*"abcd"], [(0, 2, 0.6), (1, 3, 0.25), (2, 3, 0.1), (0, 1, 0.2)])]
    for block in blocks:
        errors.add(block)
    errors.measure(blocks)
    assert {errors.names[row]: eer for row, eer in errors.eers.items()} == {"a": 50, "b": 100, "c": 0}
    assert [row[:2] for row in tables.speaker_rows(errors)] == [["b", "100.0"], ["a", "50.0"], ["c", "0.0"]]
    assert tables.speakers_sentence(errors) == "3 of 4 speakers make 100 % of the misses."


def test_a_nontarget_counts_for_both_its_speakers_and_an_unknown_one_is_told() -> None:
    errors = SpeakerErrors(Speakers({"a": "A", "b": "B", "c": "C"}, "utt2spk"), 0.5)
    errors.add(scored(["a", "b", "c"], [(0, 1, 0.5), (0, 2, 0.4), (1, 1, 0.3)]))
    assert errors.counts.tolist() == [[0, 1, 0], [0, 1, 0], [2, 1, 1], [1, 1, 0]]
    errors.measure([scored(["a", "b", "c"], [(0, 1, 0.5), (0, 2, 0.4), (1, 1, 0.3)])])
    assert tables.speaker_rows(errors) == [
        ["B", "100.0", "1 of 1 (100.0\N{NO-BREAK SPACE}%)", "1 of 1 (100.0\N{NO-BREAK SPACE}%)"],
        ["A", "", "no trials", "1 of 2 (50.0\N{NO-BREAK SPACE}%)"],
    ]
    assert tables.speakers_sentence(errors) == "2 of 3 speakers make 100 % of the misses."
    errors.add(scored(["a", "z"], [(0, 1, 0.1)]))
    assert not errors.whole
