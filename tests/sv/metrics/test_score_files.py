"""A score file read in blocks gives the very numbers of all its scores sorted at once."""

import logging
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import read_scored_trials
from sv.metrics.comparison import compare_files
from sv.metrics.error_rates import sort_scores
from sv.metrics.measure_lists import measure_file
from sv.metrics.measures import columns_of, measure
from sv.metrics.significance import compare, intervals
from sv.metrics.trial_speakers import Speakers

PRIORS = (0.01, 0.05, 0.5, 0.9)
UTT2SPK = {f"{speaker}{number}": speaker for speaker in "abcdefgh" for number in range(6)}


def write_scores(path: Path, decimals: int = 5, target_share: float = 0.5) -> None:
    """All pairs of the utterances, the targets thinned out to a share of the list."""
    rng = np.random.default_rng(decimals)
    lines = []
    for first in UTT2SPK:
        for second in UTT2SPK:
            same = UTT2SPK[first] == UTT2SPK[second]
            if first < second and (not same or rng.random() < target_share):
                lines.append(
                    f"{first} {second} {rng.normal(2 * same):.{decimals}f} {'target' if same else 'nontarget'}\n"
                )
    path.write_text("".join(lines))


@pytest.mark.parametrize("decimals", [0, 1, 5])
@pytest.mark.parametrize("target_share", [0.05, 1.0])
@pytest.mark.parametrize("chunk", [1, 300, 1 << 20])
def test_numbers_are_those_of_sorted_scores(
    decimals: int, target_share: float, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sv.metrics.score_counts._CHUNK", chunk)
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 500)
    monkeypatch.setattr("sv.metrics.error_rates._BLOCK", 8)
    write_scores(tmp_path / "x.score", decimals, target_share)
    scores = read_scored_trials(tmp_path / "x.score")
    columns = columns_of(PRIORS, llr=True)
    expected = measure(sort_scores(scores.values[scores.labels()], scores.values[~scores.labels()]), columns)
    found, interval, parts = measure_file(tmp_path / "x.score", columns)
    assert interval is None and not parts and len(found.values) == 12
    for name, value in vars(expected).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_intervals_are_those_of_the_whole_list(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 500)
    write_scores(tmp_path / "x.score")
    speakers = Speakers(UTT2SPK, "utt2spk")
    measured, found, _ = measure_file(tmp_path / "x.score", columns_of(), speakers=speakers, replicates=20)
    assert found == intervals(speakers.trials(read_scored_trials(tmp_path / "x.score")), measured, replicates=20)
    assert not caplog.records


@pytest.mark.parametrize("llr", [False, True])
def test_paired_test_of_files_is_that_of_the_whole_lists(
    llr: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_scores(tmp_path / "x.score")
    speakers, scores = Speakers(UTT2SPK, "utt2spk"), read_scored_trials(tmp_path / "x.score")
    lines = (tmp_path / "x.score").read_text().split()
    lines[2::4] = [f"{2 * value + i % 7:.5f}" for i, value in enumerate(scores.values)]
    rows = np.reshape(lines, (-1, 4))
    (tmp_path / "y.score").write_text("".join(" ".join(row) + "\n" for row in rows))
    whole = [speakers.trials(read_scored_trials(tmp_path / name)) for name in ("x.score", "y.score")]
    columns = columns_of((0.05,), llr=llr)
    expected = compare(whole, [measure(trials.sorted_scores(), columns) for trials in whole], replicates=20)
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 500)
    found = compare_files((tmp_path / "x.score", tmp_path / "y.score"), speakers, columns, replicates=20)
    assert [d.column for d in found] == [d.column for d in expected]
    assert [d.column.title for d in found[2:]] == (["actDCF (p_target 0.05)", "Cllr"] if llr else [])
    for one, other in zip(found, expected, strict=True):
        assert one.interval == pytest.approx(other.interval, rel=1e-9)
        assert (one.first, one.second, one.p_value) == pytest.approx((other.first, other.second, other.p_value))
    assert found[0].first != found[0].second and not caplog.records


def test_paired_test_of_long_lists_is_taken_from_the_same_sample_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sv.metrics.trial_speakers.TrialSample.__init__.__defaults__", (400, 0))
    write_scores(tmp_path / "x.score")
    paths = tmp_path / "x.score", tmp_path / "x.score"
    with caplog.at_level(logging.INFO):
        found = compare_files(paths, Speakers(UTT2SPK, "utt2spk"), columns_of(), replicates=20)
    assert " trials, drawn at random" in caplog.text
    assert all(d.interval == (0.0, 0.0) and d.p_value == 1.0 for d in found)


def test_intervals_of_a_long_list_are_taken_from_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sv.metrics.trial_speakers.TrialSample.__init__.__defaults__", (400, 0))
    write_scores(tmp_path / "x.score")
    columns = eer, *_ = columns_of()
    with caplog.at_level(logging.INFO):
        measured, found, _ = measure_file(tmp_path / "x.score", columns, speakers=Speakers(UTT2SPK, "utt2spk"))
    assert "x.score: intervals from " in caplog.text and " trials, drawn at random" in caplog.text
    assert found is not None and found.values[eer][0] < measured.values[eer] < found.values[eer][1]
    whole = intervals(Speakers(UTT2SPK, "utt2spk").trials(read_scored_trials(tmp_path / "x.score")), measured)
    widths = [high - low for low, high in (found.values[eer], whole.values[eer])]
    assert widths[0] == pytest.approx(widths[1], rel=0.25)


def test_list_of_two_speakers_is_measured_without_intervals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.score"
    path.write_text("a1 a2 0.9 target\na1 b1 0.1 nontarget\na2 b1 0.2 nontarget\n")
    speakers = Speakers({"a1": "a", "a2": "a", "b1": "b"}, "utt2spk")
    measured, found, _ = measure_file(path, columns_of(), speakers=speakers)
    assert measured.values[columns_of()[0]] == 0 and found is None
    assert f"{path}: too few speakers have target trials" in caplog.text
    with pytest.raises(UserError, match=r"x.score: too few speakers .*; compare without --test-data"):
        compare_files((path, path), speakers, columns_of())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a0 b0 0.5\n", "x.score: scores without labels; score a trial list"),
        ("a0 a1 0.5 target\n", "x.score: no nontarget trials"),
        ("a0 b0 0.5 nontarget\n", "x.score: no target trials"),
        ("a0 a1 nan target\n", r"x\.score:1: score 'nan' is not a finite number"),
        ("a0 a1 0.5 target\na0 b0 0.5 target\n", r"x\.score:2: a0 and b0 is labelled target, but utt2spk says"),
        ("", "x.score is empty"),
    ],
)
def test_bad_file_is_named(tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 10)
    path = tmp_path / "x.score"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        measure_file(path, columns_of(), speakers=Speakers(UTT2SPK, "utt2spk"))
