"""Captions, and curves that are drawn once."""

from pathlib import Path
from typing import Any

import pytest

from sv.io import DataDir
from sv.metrics.comparison import ScoredSystem, ScoreSet
from sv.metrics.error_rates import sort_scores
from sv.report.gather import ScoreFacts, System
from sv.report.page import _by_curve, _det_caption, _lowest, _Page, _speakers_on_map, write_report


def test_caption_of_det_curves_names_points_and_what_is_left_out() -> None:
    marks = [("EER", "o"), ("0.01", "x"), ("0.05", "+")]
    edge = "; at the edge: a rate of 0 or 100 %"
    assert _det_caption("O", marks[:1], []) == f"DET curves on O, with EER (o){edge}"
    assert _det_caption("O", marks, ["cos_cali", "plda_cali"]) == (
        f"DET curves on O, with EER (o) and minDCF at p_target 0.01 (x), 0.05 (+){edge}; "
        "not drawn, as the curve is the same: cos_cali; plda_cali"
    )


def test_a_calibrated_copy_of_a_curve_is_not_drawn_again() -> None:
    def facts(system: str, backend: str, eer: float, min_cllr: float) -> ScoreFacts:
        entry = {"eer_rocch": eer, "min_cllr": min_cllr}
        return ScoreFacts(ScoreSet(system, "O", backend, Path("x"), entry), sort_scores([0.5], [0.1]), [])

    plain, calibrated = facts("x", "cos", 4.0049, 0.20049), facts("x", "cos_cali", 4.0051, 0.20051)  # rounded anew
    others = facts("x", "plda", 4.0049, 0.3), facts("x", "asnorm", 4.2, 0.20049), facts("y", "cos", 4.0049, 0.20049)
    assert _by_curve([plain, calibrated, *others]) == ([plain, *others], [calibrated])


@pytest.mark.slow
def test_plots_and_details_begin_with_the_back_end_of_the_card(tmp_path: Path) -> None:
    def entry(eer: float) -> dict[str, Any]:
        return {"eer": eer, "eer_rocch": eer, "min_cllr": 0.2, "eer_threshold": 0.5, "min_dcf_threshold": {}}

    results = {trials: {"asnorm": entry(9), "plda": entry(8)} for trials in ("O", "E")}
    scored = [ScoreSet("x", trials, name, Path("x"), one) for trials, of in results.items() for name, one in of.items()]
    facts = [ScoreFacts(one, sort_scores([0.5, 0.9], [0.1, 0.6]), []) for one in scored]
    page = _Page([System("x", Path("x"), results, scored)], facts, tmp_path)
    assert [one["backends"] for one in page.curves()["histograms"]] == [["plda", "asnorm"]] * 2
    assert page.details()[0]["title"] == facts[1].of.title
    calibrated = ScoreFacts(ScoreSet("x", "O", "plda_cali", Path("x"), entry(8)), facts[0].scores, [])
    page = _Page([System("x", Path("x"), results, scored)], [facts[0], calibrated, facts[1]], tmp_path)
    assert [one.of.backend for one in page._facts] == ["plda_cali", "plda", "asnorm"]  # so plots share their colours


def test_the_page_warns_of_calibration_that_fails(tmp_path: Path) -> None:
    numbers = {
        "eer": 20.0,
        "eer_rocch": 20.0,
        "min_dcf": {"0.05": 0.87},
        "min_cllr": 0.6,
        "date": "2026-01-02T03:04:05",
    }
    counts = {"num_target": 9, "num_nontarget": 9}
    for cllr, warns in ((1.82, True), (0.7, False)):
        calibrated = {**numbers, **counts, "act_dcf": {"0.05": 0.9}, "cllr": cllr}
        results = {"O.kaldi": {"cos": {**numbers, **counts}, "cos_cali": calibrated}}
        write_report([ScoredSystem("x", tmp_path, results, [])], tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text()
        assert ("Calibration fails on O cos: Cllr up to 1.82, where" in page) == warns


def test_a_plot_of_many_systems_has_the_best_of_them() -> None:
    eers = [5.0, 9.0, 4.0, 8.0, 3.0, 7.0, 2.0, 6.0, 10.0, 1.0]
    facts = [
        ScoreFacts(ScoreSet(str(eer), "O", "cos", Path("x"), {"eer": eer}), sort_scores([0.5], [0.1]), [])
        for eer in eers
    ]
    drawn, further = _lowest(facts)
    assert [one.of.entry["eer"] for one in drawn] == [eer for eer in eers if eer < 9]
    assert further == "; not drawn: 2 more, with EERs that are as high or higher"
    assert _lowest(facts[:8]) == (facts[:8], "")


def test_cards_of_many_systems_are_folded_away(tmp_path: Path) -> None:
    for number, title in ((8, "s0, s1, s2, s3, s4, s5, s6, s7"), (9, "9 systems")):
        write_report([ScoredSystem(f"s{n}", tmp_path, {}, []) for n in range(number)], tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text()
        assert f"<h1>{title}</h1>" in page and page.count('<section class="card"') == number
        assert ("<summary>The systems, one by one</summary>" in page) == (number == 9)


def test_a_map_says_of_how_many_speakers_it_is(tmp_path: Path) -> None:
    DataDir.write(
        tmp_path / "vox1", {"utt2spk": {f"s{spk:02}-{n}": f"s{spk:02}" for spk in range(20) for n in range(2)}}
    )
    data, names = DataDir(tmp_path / "vox1"), [f"s{spk:02}" for spk in range(20)]
    assert _speakers_on_map(names * 2, data) == "the 20 speakers of vox1"
    told = "12 of the 20 speakers of vox1, those with the most utterances"
    assert _speakers_on_map(names[:12] * 2, data) == told


def test_calibrated_back_ends_have_the_names_of_the_table(tmp_path: Path) -> None:
    systems = [System(name, Path(name), {}, []) for name in ("x", "y")]
    one = ScoreSet("x", "O", "cos_cali", Path("x"), {})
    page = _Page(systems[:1], [], tmp_path)
    assert (page._name(one), page._name(one, calibrated="")) == ("cos, calibrated", "cos")
    assert _Page(systems, [], tmp_path)._name(one, calibrated="") == "x, cos"
