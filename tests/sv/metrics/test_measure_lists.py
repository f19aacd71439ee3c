"""Score files of trial lists, measured into printed lines, results.json and results.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from sv.errors import UserError
from sv.io import sha256_of
from sv.jobs import DoneMark
from sv.metrics.comparison import read_scored_system
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists
from sv.report import write_report

SCORES = {
    "O.kaldi": "a b 0.40000 target\na b 0.60000 target\na b 0.70000 target\na b 0.80000 target\n"
    "a b 0.10000 nontarget\na b 0.20000 nontarget\na b 0.30000 nontarget\na b 0.50000 nontarget\n",
    "H.kaldi": "a b 0.50000 target\na b 0.50000 nontarget\n",
}
PRINTED = """\
---- O.kaldi.score -----
EER = 25.000
minDCF (p_target:0.01 c_miss:1 c_fa:1) = 0.250
minDCF (p_target:0.05 c_miss:1 c_fa:1) = 0.250
---- H.kaldi.score -----
EER = 50.000
minDCF (p_target:0.01 c_miss:1 c_fa:1) = 1.000
minDCF (p_target:0.05 c_miss:1 c_fa:1) = 1.000
"""


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    exp = tmp_path / "exp"
    (exp / "scores").mkdir(parents=True)
    (tmp_path / "trials").mkdir()
    (exp / "config.yaml").write_text("seed: 1\n")
    for name, text in SCORES.items():
        write_list(exp, name, text)
    return exp


def write_list(exp: Path, name: str, scores: str) -> None:
    """Scores and their trial list."""
    (exp / "scores" / f"{name}.score").write_text(scores)
    lines = [line.split() for line in scores.splitlines()]
    (exp.parent / "trials" / name).write_text("".join(f"{e} {t} {label}\n" for e, t, _, label in lines))


def compute(exp: Path, *names: str, backend: str = "cos", **options: Any) -> str:
    trials = [exp.parent / "trials" / name for name in names or SCORES]
    return measure_lists(ScoredLists(exp, trials, backend), "test_cos_result", MeasureOptions(**options))


def read_json(exp: Path) -> dict:
    return json.loads((exp / "results.json").read_text())["results"]


def test_printed_lines_are_wespeakers_and_written_anew(exp: Path) -> None:
    for _ in range(2):
        assert compute(exp) == PRINTED
    assert (exp / "scores" / "test_cos_result").read_text() == PRINTED


def test_results_keep_numbers_and_origin(exp: Path) -> None:
    compute(exp)
    entry = read_json(exp)["O.kaldi"]["cos"]
    assert entry["eer"] == 25.0 and entry["eer_threshold"] == 0.5
    assert entry["min_dcf"] == {"0.01": pytest.approx(0.25), "0.05": pytest.approx(0.25)}
    assert entry["min_dcf_threshold"] == {"0.01": 0.6, "0.05": 0.6}
    assert (entry["num_target"], entry["num_nontarget"]) == (4, 4)
    assert entry["scores_sha256"] == sha256_of(exp / "scores" / "O.kaldi.score")
    assert entry["trials_sha256"] == sha256_of(exp.parent / "trials" / "O.kaldi")
    assert entry["config_sha256"] == sha256_of(exp / "config.yaml")
    assert {"command", "commit", "date", "score_file"} <= set(entry)


def test_other_back_ends_stay_and_own_entries_are_replaced(exp: Path) -> None:
    compute(exp)
    compute(exp, "O.kaldi", backend="asnorm")
    (exp / "scores" / "O.kaldi.score").write_text("a b 0.9 target\n" * 4 + "a b 0.1 nontarget\n" * 4)
    compute(exp, "O.kaldi")
    found = read_json(exp)
    assert found["O.kaldi"]["cos"]["eer"] == 0.0
    assert found["O.kaldi"]["asnorm"]["eer"] == 25.0
    assert found["H.kaldi"]["cos"]["eer"] == 50.0


@pytest.mark.slow
def test_results_of_another_version_of_the_list_are_removed(exp: Path, caplog: pytest.LogCaptureFixture) -> None:
    compute(exp)
    compute(exp, "O.kaldi", backend="asnorm3")
    write_list(exp, "O.kaldi", "c d 0.9 target\nc d 0.1 nontarget\n")
    compute(exp, "O.kaldi")
    assert {trials: list(entries) for trials, entries in read_json(exp).items()} == {
        "O.kaldi": ["cos"],
        "H.kaldi": ["cos"],
    }
    changed = f"{exp.parent}/trials/O.kaldi has changed; score again (stages 5 to 7)"
    told = f"{exp}/results.json: results of O asnorm3 are removed: {changed}"
    assert [message for message in caplog.messages if "no mark tells" not in message] == [told]
    assert "asnorm3" not in (exp / "results.md").read_text() + (exp / "results.txt").read_text()
    write_report([read_scored_system(exp)], exp / "report.html")


def test_table_has_a_row_for_each_list_and_back_end(exp: Path) -> None:
    compute(exp)
    compute(exp, "O.kaldi", backend="plda", p_targets=[0.5])
    assert (exp / "results.md").read_text() == (
        "# Results of exp\n\n"
        "| trials | back-end | EER (%) | minDCF (p_target 0.01) | minDCF (p_target 0.05) | minDCF (p_target 0.5) "
        "| targets | non-targets |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| O | cos | 25.000 | 0.250 | 0.250 |  | 4 | 4 |\n"
        "| O | plda | 25.000 |  |  | 0.250 | 4 | 4 |\n"
        "| H | cos | 50.000 | 1.000 | 1.000 |  | 1 | 1 |\n"
    )


def test_scores_of_another_version_of_the_list_are_refused(exp: Path) -> None:
    scores = exp / "scores" / "O.kaldi.score"
    options = {"trials_sha256": "another", "model_sha256": "m"}
    mark = DoneMark(exp / "scores" / ".done.O.kaldi.score", options)
    mark.write([scores])
    with pytest.raises(UserError, match="was made from another version of"):
        compute(exp)
    assert not (exp / "results.json").exists()
    options["trials_sha256"] = sha256_of(exp.parent / "trials" / "O.kaldi")
    mark.write([scores])
    compute(exp)
    assert read_json(exp)["O.kaldi"]["cos"]["model_sha256"] == "m"


def test_results_are_filed_under_the_back_end_of_the_scores(exp: Path) -> None:
    scores, trials = exp / "scores" / "O.kaldi.score", exp.parent / "trials" / "O.kaldi"
    DoneMark(scores.with_name(".done.O.kaldi.score"), {"trials_sha256": sha256_of(trials), "backend": "plda"}).write(
        [scores]
    )
    with pytest.raises(
        UserError, match=r"--backend cos: .*score has scores by plda; give --backend plda, or plda_NAME"
    ):
        compute(exp)
    assert not (exp / "results.json").exists()
    measure_lists(ScoredLists(exp, [trials], "plda_adapted"), "x_result")
    assert list(read_json(exp)["O.kaldi"]) == ["plda_adapted"]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("a b 0.5 target\n", "H.kaldi.score: no nontarget trials; EER and minDCF need trials of both kinds"),
        ("a b 0.5 nontarget\n", "H.kaldi.score: no target trials; EER and minDCF need trials of both kinds"),
        ("a b 0.5 target\na b 0.5 nontarget\na b 0.5 target\n", "trials/H.kaldi ends after 2 trials, .*score does not"),
        ("a b 0.5 nontarget\na b 0.5 target\n", "H.kaldi.score:1"),
        ("a b 0.5\n", "H.kaldi.score ends after 1 trials, .*trials/H.kaldi does not; score the same list"),
        ("a b 0.5\na c 0.5\n", "trials/H.kaldi:2: a and b is not the trial of .*H.kaldi.score:2; score the same list"),
        ("a b x target\n", "H.kaldi.score:1: score 'x' is not a finite number"),
        ("", "H.kaldi.score is empty"),
        (None, r"H.kaldi.score does not exist; score it first \(stage 5\)"),
    ],
)
def test_bad_scores_are_named_and_leave_no_results(exp: Path, scores: str | None, message: str) -> None:
    path = exp / "scores" / "H.kaldi.score"
    if scores is None:
        path.unlink()
    else:
        path.write_text(scores)
    with pytest.raises(UserError, match=message):
        compute(exp)
    assert not (exp / "results.json").exists() and not (exp / "scores" / "test_cos_result").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p_targets": [0.05, 1.0]}, "p_target 1.0: expected 0 < p_target < 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MeasureOptions(**options)


def test_scores_without_labels_get_those_of_their_list(exp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 30)  # lines of other lengths: blocks that end elsewhere
    for name, text in SCORES.items():
        (exp / "scores" / f"{name}.score").write_text(
            "".join(line.rsplit(" ", 1)[0] + "\n" for line in text.splitlines())
        )
    assert compute(exp) == PRINTED
    digits = {"target": "1", "nontarget": "0"}
    lines = [line.split() for line in (exp.parent / "trials" / "O.kaldi").open()]
    (exp.parent / "trials" / "O.kaldi").write_text("".join(f"{digits[label]} {a} {b}\n" for a, b, label in lines))
    assert compute(exp) == PRINTED
    (exp.parent / "trials" / "O.kaldi").write_text("".join(f"{a} {b}\n" for a, b, _ in lines))
    with pytest.raises(UserError, match=r"trials/O\.kaldi has no labels; give a trial list 'enroll"):
        compute(exp)


@pytest.mark.parametrize(("sign", "asked"), [(1, False), (-1, True)])
def test_scores_that_are_low_for_targets_may_be_distances(
    exp: Path, sign: int, asked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"a b {sign * n} {'target' if n > 2 else 'nontarget'}\n" for n in range(6)]
    write_list(exp, "O.kaldi", "".join(lines))
    compute(exp, "O.kaldi")
    told = "O.kaldi.score: EER 100.0 %, targets score below non-targets; are these distances? negate them"
    assert (told in caplog.text) == asked and ("distances" in caplog.text) == asked


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x does not exist; train and score first \(stages 3 to 5\)"):
        compute(tmp_path / "x")


def write_speakers(exp: Path) -> None:
    """Six speakers of two utterances, all pairs scored; a data dir above the trial lists."""
    utts = [f"{spk}{n}" for spk in "ABCDEF" for n in (1, 2)]
    pairs = [(a, b) for i, a in enumerate(utts) for b in utts[i + 1 :]]
    rows = [(a, b, f"{(len(pairs) - i) % 7 / 7 + (a[0] == b[0]):.5f}") for i, (a, b) in enumerate(pairs)]
    labels = ["target" if a[0] == b[0] else "nontarget" for a, b in pairs]
    (exp.parent / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in utts))
    lines = [(f"{a} {b}", score, label) for (a, b, score), label in zip(rows, labels, strict=True)]
    (exp / "scores" / "S.kaldi.score").write_text("".join(f"{pair} {score} {label}\n" for pair, score, label in lines))
    (exp.parent / "trials" / "S.kaldi").write_text("".join(f"{pair} {label}\n" for pair, _, label in lines))


def test_intervals_stand_beside_the_numbers_where_speakers_are_known(exp: Path) -> None:
    write_speakers(exp)
    printed = compute(exp, "S.kaldi", llr=True)
    assert (
        "actDCF (p_target:0.01 c_miss:1 c_fa:1) = " in printed and "\nCllr = " in printed and "\nminCllr = " in printed
    )
    entry = read_json(exp)["S.kaldi"]["cos"]
    low, high = entry["interval"]["eer"]
    assert low <= entry["eer"] <= high and entry["interval"]["num_speakers"] == 6
    assert set(entry["interval"]["min_dcf"]) == {"0.01", "0.05"}
    assert {"eer_rocch", "min_cllr", "cllr", "act_dcf"} <= set(entry)
    row = (exp / "results.md").read_text().splitlines()[-1]
    assert row.startswith(f"| S | cos | {entry['eer']:.3f} [{low:.2f}, {high:.2f}] |")
    for value, (low, high) in (
        (entry["act_dcf"]["0.05"], entry["interval"]["act_dcf"]["0.05"]),
        (entry["cllr"], entry["interval"]["cllr"]),
    ):
        assert low < value < high and f"| {value:.3f} [{low:.3f}, {high:.3f}] |" in row
    assert (entry["interval"]["effective_speakers"], entry["interval"]["method"]) == (6, "jackknife")
    compute(exp, "S.kaldi")
    assert not {"act_dcf", "cllr"} & set(read_json(exp)["S.kaldi"]["cos"]["interval"])


def test_parts_by_what_the_data_dir_tells_are_kept_beside_those_of_a_trial2cond(exp: Path) -> None:
    write_speakers(exp)
    (exp.parent / "spk2gender").write_text("A f\nB f\nC m\nD m\nE m\nF m\n")
    (exp.parent / "utt2dur").write_text("".join(f"{spk}{n} {2 * n}\n" for spk in "ABCDEF" for n in (1, 2)))
    pairs = [line.split()[:2] for line in (exp.parent / "trials" / "S.kaldi").open()]
    cond = exp.parent / "trial2cond"
    cond.write_text("enroll test noise\n" + "".join(f"{a} {b} {b[1]}\n" for a, b in pairs))
    printed = compute(exp, "S.kaldi", test_data=exp.parent, trial2cond=cond)
    found = {(part["by"], part["name"]): part for part in read_json(exp)["S.kaldi"]["cos"]["breakdown"]}
    assert list(found) == [
        ("duration of the shorter", "0 to 3 s"),
        ("duration of the shorter", "3 to 6 s"),
        ("sex", "f / f"),
        ("sex", "f / m"),
        ("sex", "m / m"),
        ("noise", "1"),
        ("noise", "2"),
    ]
    assert [(p["num_target"], p["num_nontarget"]) for p in found.values()] == [
        (6, 45), (0, 15), (2, 4), (0, 32), (4, 24), (0, 30), (6, 30)
    ]  # fmt: skip
    assert "sex f / m: 0 targets, 32 non-targets\n" in printed
    cond.write_text(cond.read_text().replace("noise", "sex", 1))
    with pytest.raises(UserError, match=r"S\.kaldi\.score: two conditions are named 'sex'; rename"):
        compute(exp, "S.kaldi", test_data=exp.parent, trial2cond=cond)


def test_trials_of_enroll_models_are_measured_by_the_speakers_of_their_utterances(exp: Path) -> None:
    write_speakers(exp)
    (exp.parent / "utt2dur").write_text("".join(f"{spk}{n} 2\n" for spk in "ABCDEF" for n in (1, 2)))
    (exp.parent / "spk2gender").write_text("A f\nB f\nC m\nD m\nE m\nF m\n")
    enroll_map = exp.parent / "map"
    enroll_map.write_text("".join(f"m{spk} {spk}1 {spk}2\n" for spk in "ABCDEF"))
    rows = [(m, f"{t}{n}", "target" if m == t else "nontarget") for m in "ABCDEF" for t in "ABCDEF" for n in (1, 2)]
    (exp.parent / "trials" / "M.kaldi").write_text("".join(f"m{m} {t} {label}\n" for m, t, label in rows))
    lines = [f"m{m} {t} {(m == t[0]) + 0.1 * i % 0.7:.5f} {label}\n" for i, (m, t, label) in enumerate(rows)]
    (exp / "scores" / "M.kaldi.score").write_text("".join(lines))
    with pytest.raises(
        UserError, match=r"the speaker of mA is not in .*; give .*, and --enroll-map if it is an enroll model"
    ):
        compute(exp, "M.kaldi")
    compute(exp, "M.kaldi", enroll_map=enroll_map, test_data=exp.parent)
    entry = read_json(exp)["M.kaldi"]["cos"]
    assert entry["interval"]["num_speakers"] == 6 and entry["enroll_map"] == str(enroll_map)
    found = {(part["by"], part["name"]): part["num_target"] for part in entry["breakdown"]}
    assert found == {
        ("duration of the shorter", "0 to 3 s"): 12,  # 4 s of a model, 2 s of an utterance
        ("sex", "f / f"): 4,
        ("sex", "f / m"): 0,
        ("sex", "m / m"): 8,
    }


def test_conditions_are_printed_and_kept(exp: Path) -> None:
    write_list(exp, "O.kaldi", "a b 0.9 target\na c 0.4 target\na d 0.5 nontarget\na e 0.1 nontarget\n")
    cond = exp.parent / "trial2cond"
    cond.write_text("enroll test noise\na b quiet\na c babble\na d babble\na e babble\n")
    assert compute(exp, "O.kaldi", p_targets=[0.05], trial2cond=cond).splitlines()[3:] == [
        "noise babble: EER = 50.000, minDCF (p_target:0.05) = 1.000, 1 targets, 2 non-targets",
        "noise quiet: 1 targets, 0 non-targets",
    ]
    babble, quiet = read_json(exp)["O.kaldi"]["cos"]["breakdown"]
    assert (babble["by"], babble["name"], babble["eer"], babble["min_dcf"]) == ("noise", "babble", 50.0, {"0.05": 1.0})
    assert quiet["eer"] is None and quiet["num_target"] == 1
    cond.write_text("a b quiet\n")
    with pytest.raises(UserError, match=r"O\.kaldi\.score:2: the trial of a and c is not in"):
        compute(exp, "O.kaldi", trial2cond=cond)


def test_label_that_contradicts_the_speakers_is_named(exp: Path) -> None:
    write_speakers(exp)
    for path in (exp / "scores" / "S.kaldi.score", exp.parent / "trials" / "S.kaldi"):
        path.write_text(path.read_text().replace("nontarget", "target", 1))
    with pytest.raises(UserError, match=r"S\.kaldi\.score:2: A1 and B1 is labelled target, but"):
        compute(exp, "S.kaldi")
