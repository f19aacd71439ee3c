"""Systems side by side: files made anew, lists that differ, and what is tested of two systems."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import DataDir, read_scored_trials, write_table
from sv.metrics.comparison import check_same_lists, compare_files, paired_tests, read_scored_system
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists
from sv.metrics.measures import columns_of, measure
from sv.metrics.results import read_results
from sv.metrics.significance import compare
from sv.metrics.trial_speakers import Speakers

UTTS = [f"{spk}{number}" for spk in "ABCDEF" for number in range(4)]


def write_system(exp: Path, data: Path, *, backend: str = "cos", trials: int = 276, **options: object) -> None:
    """Score and measure pairs of the utterances of six speakers, as many as wanted."""
    rng = np.random.default_rng(list(exp.name.encode()))
    pairs = [(a, b) for i, a in enumerate(UTTS) for b in UTTS[i + 1 :]][:trials]
    labels = ["target" if a[0] == b[0] else "nontarget" for a, b in pairs]
    (exp / "scores").mkdir(parents=True)
    (data / "trials").mkdir(parents=True, exist_ok=True)
    write_table(data / "utt2spk", {utt: utt[0] for utt in UTTS})
    lines = [f"{a} {b} {label}" for (a, b), label in zip(pairs, labels, strict=True)]
    (data / "trials" / "O.kaldi").write_text("".join(line + "\n" for line in lines))
    scored = [re.sub(r"(\S+)$", rf"{rng.normal(1.5 * line.endswith(' target')):.5f} \1", line) for line in lines]
    (exp / "scores" / "O.kaldi.score").write_text("".join(line + "\n" for line in scored))
    lists = ScoredLists(exp, [data / "trials" / "O.kaldi"], backend)
    measure_lists(lists, "result", MeasureOptions(**{"intervals": False, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("a/scores/O.kaldi.score", "run the metrics again (stages 5 to 7)"),
        ("data/trials/O.kaldi", "score it again (stage 5)"),
    ],
)
def test_file_made_anew_since_it_was_measured_is_refused(tmp_path: Path, file: str, remedy: str) -> None:
    write_system(tmp_path / "a", tmp_path / "data")
    with (tmp_path / file).open("a") as f:
        f.write("A0 A1 0.5 target\n")
    told = f"{tmp_path / file} is not the file that {tmp_path / 'a' / 'results.json'} was measured on; {remedy}"
    with pytest.raises(UserError, match=re.escape(told)):
        read_scored_system(tmp_path / "a")


def test_score_file_that_is_gone_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_system(tmp_path / "a", tmp_path / "data")
    (tmp_path / "a" / "scores" / "O.kaldi.score").unlink()
    found = read_scored_system(tmp_path / "a")
    assert found.name == "a" and not found.scores and "O.kaldi" in found.results
    assert "O.kaldi.score is not there; its curves are left out" in caplog.text


def test_lists_of_one_name_that_are_not_the_same_are_refused(tmp_path: Path) -> None:
    write_system(tmp_path / "a", tmp_path / "first")
    write_system(tmp_path / "b", tmp_path / "second", trials=275)
    told = (
        f"{tmp_path}/b/results.json: O.kaldi is not the list of that name that {tmp_path}/a/results.json was measured "
        "on; score the same list with both"
    )
    with pytest.raises(UserError, match=re.escape(told)):
        check_same_lists([read_scored_system(tmp_path / name) for name in "ab"])


def test_lists_with_other_enroll_models_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        write_system(tmp_path / name, tmp_path / "data")
    results = tmp_path / "b" / "results.json"
    tree = json.loads(results.read_text())
    tree["results"]["O.kaldi"]["cos"]["enroll_map_sha256"] = "p"
    results.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"O\.kaldi has other enroll models than the list that .*a/results\.json was"):
        check_same_lists([read_scored_system(tmp_path / name) for name in "ab"])


def test_tests_are_of_what_both_systems_have(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_system(tmp_path / "a", tmp_path / "data", p_targets=[0.1, 0.05], llr=True)
    write_system(tmp_path / "b", tmp_path / "data", p_targets=[0.1, 0.01])
    write_system(tmp_path / "c", tmp_path / "data", backend="plda")
    a, b, c = (read_scored_system(tmp_path / name) for name in "abc")
    data = DataDir(tmp_path / "data")
    table = paired_tests([a, b, c], data)
    assert table.startswith("| trials | back-end | measure | first | second | difference [95 %] | p |\n| --- | --- |")
    assert re.findall(r"cos: a, b \| (.*?) \|", table) == ["EER (%)", "minDCF (p_target 0.1)"]
    assert re.search(r"\| [+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\] \| \d\.\d{3} \|\n$", table)
    assert not paired_tests([a, c], data)
    assert "a shares no trial list and back-end with another system: nothing is tested" in caplog.text


def test_seeds_of_a_system_are_tested_as_one(tmp_path: Path) -> None:
    names = ("a-seed1", "b-seed1", "c", "a-seed2", "b-seed2")
    for name in names:
        write_system(tmp_path / name, tmp_path / "data")
    table = paired_tests([read_scored_system(tmp_path / name) for name in names], DataDir(tmp_path / "data"))
    assert re.findall(r"\| (\w+: .*?) \| EER", table) == ["cos: a (2 seeds), b (2 seeds)", "cos: a (2 seeds), c"]
    eers = {name: read_results(tmp_path / name / "results.json")["O.kaldi"]["cos"]["eer"] for name in names}
    means = [(eers[f"{name}-seed1"] + eers[f"{name}-seed2"]) / 2 for name in "ab"]
    assert f"b (2 seeds) | EER (%) | {means[0]:.3f} | {means[1]:.3f} |" in table


def test_seeds_of_a_single_system_are_not_tested(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a-seed1", "a-seed2"):
        write_system(tmp_path / name, tmp_path / "data")
    systems = [read_scored_system(tmp_path / name) for name in ("a-seed1", "a-seed2")]
    assert paired_tests(systems, DataDir(tmp_path / "data")) == ""
    assert caplog.messages[-1] == "a (2 seeds) is the only system: nothing is tested"


def test_what_a_seed_lacks_is_told_and_not_tested(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("a-seed1", "a-seed2", "b")
    for name in names:
        write_system(tmp_path / name, tmp_path / "data")
    write_system(tmp_path / "c-seed1", tmp_path / "data", backend="plda")
    (tmp_path / "c-seed1").rename(tmp_path / "c-seed2")
    write_system(tmp_path / "c-seed1", tmp_path / "data")
    systems = [read_scored_system(tmp_path / name) for name in (*names, "c-seed1", "c-seed2")]
    table = paired_tests(systems, DataDir(tmp_path / "data"))
    assert "a (2 seeds), b |" in table and "c (2 seeds)" not in table
    assert caplog.messages[-1] == "c (2 seeds): not tested, as not all seeds have them: O cos, O plda"


def test_scores_without_labels_and_of_models_are_compared_as_others(tmp_path: Path) -> None:
    for name in "ab":
        write_system(tmp_path / name, tmp_path / "data")
    systems, data = [read_scored_system(tmp_path / name) for name in "ab"], DataDir(tmp_path / "data")
    expected = paired_tests(systems, data)
    trials, enroll_map = tmp_path / "data" / "trials" / "O.kaldi", tmp_path / "map"
    enroll_map.write_text("".join(f"m{utt} {utt}\n" for utt in UTTS))
    trials.write_text("".join(f"m{line}" for line in trials.open()))
    for name in "ab":
        scores = tmp_path / name / "scores" / "O.kaldi.score"
        scores.write_text("".join(f"m{line.rsplit(' ', 1)[0]}\n" for line in scores.open()))
        options = MeasureOptions(intervals=False, enroll_map=enroll_map)
        measure_lists(ScoredLists(tmp_path / name, [trials]), "result", options)
    assert paired_tests([read_scored_system(tmp_path / name) for name in "ab"], data) == expected


@pytest.mark.parametrize("llr", [False, True])
def test_paired_test_of_files_is_that_of_the_whole_lists(
    llr: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        write_system(tmp_path / name, tmp_path / "data")
    paths = tmp_path / "a" / "scores" / "O.kaldi.score", tmp_path / "b" / "scores" / "O.kaldi.score"
    speakers, columns = Speakers({utt: utt[0] for utt in UTTS}, "utt2spk"), columns_of((0.05,), llr=llr)
    whole = [speakers.trials(read_scored_trials(path)) for path in paths]
    expected = compare(whole, [measure(one.sorted_scores(), columns) for one in whole], columns)
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 500)
    caplog.clear()
    found = compare_files(paths, speakers, columns)
    assert [d.column.title for d in found[2:]] == (["actDCF (p_target 0.05)", "Cllr"] if llr else [])
    for one, other in zip(found, expected, strict=True):
        assert one.column == other.column and one.interval == pytest.approx(other.interval, rel=1e-9)
        assert (one.first, one.second, one.p_value) == pytest.approx((other.first, other.second, other.p_value))
    assert any(d.first != d.second for d in found) and not caplog.records


def test_paired_test_of_long_lists_is_taken_from_the_same_sample_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sv.metrics.trial_speakers.TrialSample.__init__.__defaults__", (100, 0))
    write_system(tmp_path / "a", tmp_path / "data")
    path, speakers = tmp_path / "a" / "scores" / "O.kaldi.score", Speakers({utt: utt[0] for utt in UTTS}, "utt2spk")
    with caplog.at_level(logging.INFO):
        found = compare_files((path, path), speakers, columns_of())
    assert " trials, drawn at random" in caplog.text
    assert all(d.interval[0] == -d.interval[1] and d.p_value == 1.0 for d in found)


def test_list_of_too_few_speakers_is_not_tested_and_a_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        write_system(tmp_path / name, tmp_path / "data", trials=10)  # of A and B
    systems = [read_scored_system(tmp_path / name) for name in "ab"]
    assert paired_tests(systems, DataDir(tmp_path / "data")) == ""
    told = "a, O, cos: not tested against b: target trials are of 1 speaker; intervals need 5 or more"
    assert caplog.records[-1].getMessage() == told
