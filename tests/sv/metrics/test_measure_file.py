"""One score file, read in blocks and counted, against all its scores in memory."""

import logging
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import read_scored_trials
from sv.metrics.error_rates import sort_scores
from sv.metrics.measure_lists import measure_file
from sv.metrics.measures import columns_of, measure
from sv.metrics.significance import intervals
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
    found = measure_file(tmp_path / "x.score", columns)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_intervals_are_those_of_the_whole_list(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 500)
    write_scores(tmp_path / "x.score")
    speakers = Speakers(UTT2SPK, "utt2spk")
    found = measure_file(tmp_path / "x.score", columns_of(), speakers=speakers)
    trials = speakers.trials(read_scored_trials(tmp_path / "x.score"))
    assert found["interval"] == intervals(trials, found, columns_of())
    assert not caplog.records


def test_intervals_of_a_long_list_are_taken_from_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sv.metrics.trial_speakers.TrialSample.__init__.__defaults__", (400, 0))
    write_scores(tmp_path / "x.score")
    columns = columns_of()
    with caplog.at_level(logging.INFO):
        found = measure_file(tmp_path / "x.score", columns, speakers=Speakers(UTT2SPK, "utt2spk"))
    assert "x.score: intervals from " in caplog.text and " trials, drawn at random" in caplog.text
    assert found["interval"]["eer"][0] < found["eer"] < found["interval"]["eer"][1]
    whole = intervals(Speakers(UTT2SPK, "utt2spk").trials(read_scored_trials(tmp_path / "x.score")), found, columns)
    widths = [high - low for low, high in (found["interval"]["eer"], whole["eer"])]
    assert widths[0] == pytest.approx(widths[1], rel=0.25)


def test_list_of_two_speakers_is_measured_without_intervals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.score"
    path.write_text("a1 a2 0.9 target\na1 b1 0.1 nontarget\na2 b1 0.2 nontarget\n")
    speakers = Speakers({"a1": "a", "a2": "a", "b1": "b"}, "utt2spk")
    found = measure_file(path, columns_of(), trials=tmp_path / "O.kaldi", speakers=speakers)
    assert found["eer"] == 0 and "interval" not in found
    assert caplog.messages == ["O: no intervals: target trials are of 1 speaker; intervals need 5 or more"]


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
