"""The table of measures: one row more is all that a new measure needs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import DataDir, write_table
from sv.metrics import measures
from sv.metrics.comparison import paired_tests, read_scored_system
from sv.metrics.error_rates import SortedScores, one_error_eer, sort_scores
from sv.metrics.intervals import percent_interval
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists
from sv.metrics.measures import MEASURES, Column, Measure, columns_in, columns_of, shown_columns, to_json

UTTS = [f"{spk}{number}" for spk in "abcdefgh" for number in range(4)]


def far_at_90(scores: SortedScores) -> float:
    """Percent of non-targets at or above the score that nine in ten targets reach."""
    return 100 * float(scores.false_accept(scores.target.at(int(scores.target.total // 10))))


def write_system(exp: Path, seed: int) -> ScoredLists:
    """All pairs of utterances, scored."""
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for i, a in enumerate(UTTS) for b in UTTS[i + 1 :]]
    labels = ["target" if a[0] == b[0] else "nontarget" for a, b in pairs]
    scores = [rng.normal(1.5 * (label == "target")) for label in labels]
    (exp / "scores").mkdir(parents=True)
    trials = exp.parent / "data" / "trials" / "O.kaldi"
    trials.parent.mkdir(parents=True, exist_ok=True)
    trials.write_text("".join(f"{a} {b} {label}\n" for (a, b), label in zip(pairs, labels, strict=True)))
    lines = [f"{a} {b} {score:.5f} {label}\n" for (a, b), score, label in zip(pairs, scores, labels, strict=True)]
    (exp / "scores" / "O.kaldi.score").write_text("".join(lines))
    write_table(exp.parent / "data" / "utt2spk", {utt: utt[0] for utt in UTTS})
    write_table(exp.parent / "data" / "utt2dur", {utt: 2.0 + 3 * int(utt[1]) for utt in UTTS})
    return ScoredLists(exp, [trials])


def test_new_row_arrives_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"unit": "%", "decimals": 1, "interval": percent_interval, "one_error": one_error_eer}
    row = Measure("far_at_90", "FAR at 10 % misses", far_at_90, **about)  # type: ignore[arg-type]
    monkeypatch.setattr(measures, "MEASURES", (*MEASURES, row))
    options = MeasureOptions(test_data=tmp_path / "data")
    for seed, name in enumerate("xy"):
        printed = measure_lists(write_system(tmp_path / name, seed), "result", options)
    entry = json.loads((tmp_path / "y" / "results.json").read_text())["results"]["O.kaldi"]["cos"]
    value, (low, high) = entry["far_at_90"], entry["interval"]["far_at_90"]
    assert 0 < low < value < high < 100
    assert f"\nFAR at 10 % misses = {value:.1f}\n" in printed
    head, _, line = (tmp_path / "y" / "results.md").read_text().splitlines()[2:]
    assert "| FAR at 10 % misses (%) |" in head and f"| {value:.1f} [{low:.0f}, {high:.0f}] |" in line
    parts = entry["breakdown"]
    assert [column.title for column in columns_in(parts)][-1] == "FAR at 10 % misses (%)"
    assert (
        f"{parts[0]['name']}: EER = " in printed and f", FAR at 10 % misses = {parts[0]['far_at_90']:.1f}, " in printed
    )
    systems = [read_scored_system(tmp_path / name) for name in "xy"]
    tests = paired_tests(systems, DataDir(tmp_path / "data"))
    assert (
        f"| O | cos: x, y | FAR at 10 % misses (%) | {systems[0].scores[0].entry['far_at_90']:.1f} | {value:.1f} |"
        in tests
    )


def test_entries_without_a_row_have_an_empty_cell() -> None:
    old, new = {"eer": 1.0}, {"eer": 2.0, "cllr": 0.5, "min_cllr": 0.4, "interval": {"cllr": [0.4, 0.6]}}
    assert [column.title for column in columns_in([old])] == ["EER (%)"]
    columns = columns_in([old, new])
    assert [column.title for column in columns] == ["EER (%)", "Cllr", "minCllr"]
    assert [column.text_with_interval(old) for column in columns] == ["1.000", "", ""]
    assert [column.text_with_interval(new) for column in columns] == ["2.000", "0.500 [0.400, 0.600]", "0.400"]


def test_json_is_read_as_it_is_written() -> None:
    columns = columns_of((0.01, 0.5), llr=True)
    tree = to_json({column: row / 8 for row, column in enumerate(columns)})
    assert tree["min_dcf"] == {"0.01": 0.25, "0.5": 0.375} and tree["eer"] == 0.0
    assert [column.read(json.loads(json.dumps(tree))) for column in columns] == [row / 8 for row in range(len(columns))]


def test_columns_of_llrs_are_measured_and_shown_for_llrs_alone() -> None:
    plain, llrs = columns_of(), columns_of(llr=True)
    assert {column.measure.key for column in llrs} - {column.measure.key for column in plain} == {"act_dcf", "cllr"}
    assert [column.measure.key for column in shown_columns(plain)] == ["eer", "min_dcf", "min_dcf"]
    assert {"act_dcf", "cllr", "min_cllr"} < {column.measure.key for column in shown_columns(llrs)}


def test_every_row_is_of_scores_in_any_order() -> None:
    target, nontarget = [3.0, 1.0, 2.0], [0.0, 1.5, -1.0, 0.5]
    for column in columns_of(llr=True):
        value = column.value(sort_scores(target, nontarget))
        assert np.isfinite(value) and value == column.value(sort_scores(target[::-1], nontarget[::-1]))
    assert len({row.key for row in MEASURES}) == len(MEASURES)
    assert Column(replace(MEASURES[0], unit="")).title == "EER"


@pytest.mark.parametrize("prior", [0.0, 1.0, -1.0])
def test_prior_out_of_range_is_refused(prior: float) -> None:
    with pytest.raises(UserError, match="expected 0 < p_target < 1"):
        columns_of([prior])
