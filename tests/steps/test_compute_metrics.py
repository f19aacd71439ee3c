"""steps/compute_metrics.py and steps/summarize_results.py: printed lines, results.json, results.md."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.io import sha256_of

pytestmark = pytest.mark.slow  # each test starts processes
Run = Callable[..., subprocess.CompletedProcess[str]]

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
        (exp / "scores" / f"{name}.score").write_text(text)
        lines = [line.split() for line in text.splitlines()]
        (tmp_path / "trials" / name).write_text("".join(f"{e} {t} {label}\n" for e, t, _, label in lines))
    return exp


def compute(run: Run, exp: Path, *names: str, options: tuple[object, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = ["steps/compute_metrics.py", exp, "test_cos_result", exp.parent / "trials", *(names or SCORES)]
    return run(*command, *options)


def read_json(exp: Path) -> dict:
    return json.loads((exp / "results.json").read_text())["results"]


def test_printed_lines_are_wespeakers_and_written_anew(run: Run, exp: Path) -> None:
    for _ in range(2):
        result = compute(run, exp)
        assert result.returncode == 0, result.stderr
        assert result.stdout == PRINTED
    assert (exp / "scores" / "test_cos_result").read_text() == PRINTED


def test_results_keep_numbers_and_origin(run: Run, exp: Path) -> None:
    compute(run, exp)
    entry = read_json(exp)["O.kaldi"]["cos"]
    assert entry["eer"] == 25.0 and entry["eer_threshold"] == 0.5
    assert entry["min_dcf"] == {"0.01": pytest.approx(0.25), "0.05": pytest.approx(0.25)}
    assert entry["min_dcf_threshold"] == {"0.01": 0.6, "0.05": 0.6}
    assert (entry["num_target"], entry["num_nontarget"]) == (4, 4)
    assert entry["scores_sha256"] == sha256_of(exp / "scores" / "O.kaldi.score")
    assert entry["trials_sha256"] == sha256_of(exp.parent / "trials" / "O.kaldi")
    assert entry["config_sha256"] == sha256_of(exp / "config.yaml")
    assert {"command", "commit", "date", "score_file"} <= set(entry)


def test_trial_list_given_from_its_folder_is_found_from_anywhere(run: Run, exp: Path) -> None:
    result = run(
        "bash", "-c", f"cd {exp.parent}; $OLDPWD/steps/compute_metrics.py {exp} test_cos_result trials O.kaldi"
    )
    assert result.returncode == 0, result.stderr
    assert read_json(exp)["O.kaldi"]["cos"]["trials_file"] == str(exp.parent.resolve() / "trials" / "O.kaldi")


def test_other_back_ends_stay_and_own_entries_are_replaced(run: Run, exp: Path) -> None:
    compute(run, exp)
    compute(run, exp, "O.kaldi", options=("--backend", "asnorm"))
    (exp / "scores" / "O.kaldi.score").write_text("a b 0.9 target\na b 0.1 nontarget\n")
    compute(run, exp, "O.kaldi")
    found = read_json(exp)
    assert found["O.kaldi"]["cos"]["eer"] == 0.0
    assert found["O.kaldi"]["asnorm"]["eer"] == 25.0
    assert found["H.kaldi"]["cos"]["eer"] == 50.0


def test_table_has_a_row_for_each_list_and_back_end(run: Run, exp: Path) -> None:
    compute(run, exp)
    compute(run, exp, "O.kaldi", options=("--backend", "plda", "--p-target", 0.5))
    assert (exp / "results.md").read_text() == (
        "# Results of exp\n\n"
        "| trials | back-end | EER (%) | minDCF (p_target 0.01) | minDCF (p_target 0.05) | minDCF (p_target 0.5) "
        "| targets | non-targets |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| O | cos | 25.000 | 0.250 | 0.250 |  | 4 | 4 |\n"
        "| O | plda | 25.000 |  |  | 0.250 | 4 | 4 |\n"
        "| H | cos | 50.000 | 1.000 | 1.000 |  | 1 | 1 |\n"
    )


def test_summary_of_systems_has_their_names(run: Run, exp: Path) -> None:
    compute(run, exp, "H.kaldi")
    result = run("steps/summarize_results.py", exp)
    assert result.returncode == 0, result.stderr
    head, rule, row = result.stdout.splitlines()
    assert head.startswith("| system | trials | back-end | EER (%) |") and rule.startswith("| --- | --- | --- | ---: |")
    assert row == "| exp | H | cos | 50.000 | 1.000 | 1.000 | 1 | 1 |"


def test_scores_of_another_version_of_the_list_are_refused(run: Run, exp: Path) -> None:
    scores = exp / "scores" / "O.kaldi.score"
    options = {"trials_sha256": "another", "model_sha256": "m"}
    mark = {"options": options, "inputs": {}, "outputs": {scores.name: {"size": 0, "sha256": sha256_of(scores)}}}
    (exp / "scores" / ".done.O.kaldi.score").write_text(json.dumps(mark))
    result = compute(run, exp)
    assert result.returncode == 1 and "was made from another version of" in result.stderr
    assert not (exp / "results.json").exists()
    options["trials_sha256"] = sha256_of(exp.parent / "trials" / "O.kaldi")
    (exp / "scores" / ".done.O.kaldi.score").write_text(json.dumps(mark))
    assert compute(run, exp).returncode == 0
    assert read_json(exp)["O.kaldi"]["cos"]["model_sha256"] == "m"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("a b 0.5 target\n", "H.kaldi.score: no nontarget trials; EER and minDCF need trials of both kinds"),
        ("a b 0.5 nontarget\n", "H.kaldi.score: no target trials; EER and minDCF need trials of both kinds"),
        ("a b 0.5\n", "H.kaldi.score: scores without labels"),
        ("a b x target\n", "H.kaldi.score:1: score 'x' is not a finite number"),
        ("", "H.kaldi.score is empty"),
        (None, "H.kaldi.score does not exist; score it first (stage 5)"),
    ],
)
def test_bad_scores_are_one_line_and_leave_no_results(run: Run, exp: Path, scores: str | None, message: str) -> None:
    path = exp / "scores" / "H.kaldi.score"
    if scores is None:
        path.unlink()
    else:
        path.write_text(scores)
    result = compute(run, exp)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("compute_metrics.py: error: ")
    assert message in result.stderr.splitlines()[-1]
    assert not (exp / "results.json").exists() and not (exp / "scores" / "test_cos_result").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--replicates", "1"), "--replicates 1: expected 2 or more, such as 200, or 0 for no intervals"),
        (("--replicates", "-5"), "--replicates -5: expected 2 or more, such as 200, or 0 for no intervals"),
        (("--p-target", "0.05", "1"), "p_target 1.0: expected 0 < p_target < 1"),
    ],
)
def test_options_out_of_range_are_refused_before_a_file_is_read(
    run: Run, exp: Path, options: tuple[str, ...], message: str
) -> None:
    (exp / "scores" / "O.kaldi.score").unlink()
    result = compute(run, exp, options=options)
    assert result.returncode == 1 and result.stderr.startswith(f"compute_metrics.py: error: {message}")


def test_damaged_results_are_named(run: Run, exp: Path) -> None:
    compute(run, exp, "H.kaldi")
    entry = read_json(exp)["H.kaldi"]["cos"]
    del entry["eer_rocch"]
    for results in ("{", json.dumps({"results": {"H.kaldi": {"cos": entry}}}), '{"results": {"H.kaldi": {"cos": []}}}'):
        (exp / "results.json").write_text(results)
        for result in (compute(run, exp), run("steps/summarize_results.py", exp)):
            assert result.returncode == 1
            assert result.stderr.splitlines()[-1].endswith(
                "results.json is damaged; remove it and run the metrics again (stage 5)"
            )
    result = run("steps/summarize_results.py", exp.parent)
    assert result.returncode == 1 and "results.json does not exist; score first (stage 5)" in result.stderr


def test_figures_of_another_model_are_told(run: Run, exp: Path) -> None:
    compute(run, exp)
    compute(run, exp, "O.kaldi", options=("--backend", "plda"))
    tree = json.loads((exp / "results.json").read_text())
    models = {"O.kaldi": {"cos": "b", "plda": "a"}, "H.kaldi": {"cos": "b"}}
    for trials, backends in models.items():
        for backend, model in backends.items():
            tree["results"][trials][backend] |= {"model_sha256": model, "date": f"2026-01-0{'ab'.index(model) + 1}"}
    (exp / "results.json").write_text(json.dumps(tree))
    result = run("steps/summarize_results.py", exp)
    assert result.returncode == 0 and result.stdout.count("\n") == 5
    assert (
        "results.json: of another model than O.kaldi cos, which was measured last, are O.kaldi plda;" in result.stderr
    )
    tree["results"]["O.kaldi"]["plda"]["model_sha256"] = "b"
    (exp / "results.json").write_text(json.dumps(tree))
    assert run("steps/summarize_results.py", exp).stderr == ""


def write_speakers(exp: Path) -> None:
    """Four speakers of two utterances, all pairs scored; a data dir above the trial lists."""
    utts = [f"{spk}{n}" for spk in "ABCD" for n in (1, 2)]
    pairs = [(a, b) for i, a in enumerate(utts) for b in utts[i + 1 :]]
    rows = [(a, b, f"{(len(pairs) - i) % 7 / 7 + (a[0] == b[0]):.5f}") for i, (a, b) in enumerate(pairs)]
    labels = ["target" if a[0] == b[0] else "nontarget" for a, b in pairs]
    (exp.parent / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in utts))
    lines = [(f"{a} {b}", score, label) for (a, b, score), label in zip(rows, labels, strict=True)]
    (exp / "scores" / "S.kaldi.score").write_text("".join(f"{pair} {score} {label}\n" for pair, score, label in lines))
    (exp.parent / "trials" / "S.kaldi").write_text("".join(f"{pair} {label}\n" for pair, _, label in lines))


def test_intervals_stand_beside_the_numbers_where_speakers_are_known(run: Run, exp: Path) -> None:
    write_speakers(exp)
    result = compute(run, exp, "S.kaldi", options=("--llr", "true"))
    assert result.returncode == 0, result.stderr
    assert "actDCF (p_target:0.01 c_miss:1 c_fa:1) = " in result.stdout and "Cllr = " in result.stdout
    entry = read_json(exp)["S.kaldi"]["cos"]
    low, high = entry["interval"]["eer"]
    assert low <= entry["eer"] <= high and entry["interval"]["num_speakers"] == 4
    assert set(entry["interval"]["min_dcf"]) == {"0.01", "0.05"}
    assert {"eer_rocch", "min_cllr", "cllr", "act_dcf"} <= set(entry)
    row = (exp / "results.md").read_text().splitlines()[-1]
    assert row.startswith(f"| S | cos | {entry['eer']:.3f} [{low:.2f}, {high:.2f}] |")
    for value, (low, high) in (
        (entry["act_dcf"]["0.05"], entry["interval"]["act_dcf"]["0.05"]),
        (entry["cllr"], entry["interval"]["cllr"]),
    ):
        assert low < value < high and f"| {value:.3f} [{low:.3f}, {high:.3f}] |" in row
    compute(run, exp, "S.kaldi")
    assert not {"act_dcf", "cllr"} & set(read_json(exp)["S.kaldi"]["cos"]["interval"])


def test_parts_by_what_the_data_dir_tells_are_kept_beside_those_of_a_trial2cond(run: Run, exp: Path) -> None:
    write_speakers(exp)
    (exp.parent / "spk2gender").write_text("A f\nB f\nC m\nD m\n")
    (exp.parent / "utt2dur").write_text("".join(f"{spk}{n} {2 * n}\n" for spk in "ABCD" for n in (1, 2)))
    pairs = [line.split()[:2] for line in (exp.parent / "trials" / "S.kaldi").open()]
    cond = exp.parent / "trial2cond"
    cond.write_text("enroll test noise\n" + "".join(f"{a} {b} {b[1]}\n" for a, b in pairs))
    result = compute(run, exp, "S.kaldi", options=("--test-data", exp.parent, "--trial2cond", cond))
    assert result.returncode == 0, result.stderr
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
        (4, 18), (0, 6), (2, 4), (0, 16), (2, 4), (0, 12), (4, 12)
    ]  # fmt: skip
    assert "sex f / m: 0 targets, 16 non-targets\n" in result.stdout
    cond.write_text(cond.read_text().replace("noise", "sex", 1))
    result = compute(run, exp, "S.kaldi", options=("--test-data", exp.parent, "--trial2cond", cond))
    assert result.returncode == 1 and "S.kaldi.score: two conditions are named 'sex'; rename" in result.stderr


def test_conditions_are_printed_and_kept(run: Run, exp: Path) -> None:
    (exp / "scores" / "O.kaldi.score").write_text(
        "a b 0.9 target\na c 0.4 target\na d 0.5 nontarget\na e 0.1 nontarget\n"
    )
    cond = exp.parent / "trial2cond"
    cond.write_text("enroll test noise\na b quiet\na c babble\na d babble\na e babble\n")
    result = compute(run, exp, "O.kaldi", options=("--p-target", 0.05, "--trial2cond", cond))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[3:] == [
        "noise babble: EER = 50.000, minDCF (p_target:0.05) = 1.000, 1 targets, 2 non-targets",
        "noise quiet: 1 targets, 0 non-targets",
    ]
    babble, quiet = read_json(exp)["O.kaldi"]["cos"]["breakdown"]
    assert (babble["by"], babble["name"], babble["eer"], babble["min_dcf"]) == ("noise", "babble", 50.0, {"0.05": 1.0})
    assert quiet["eer"] is None and quiet["num_target"] == 1
    cond.write_text("a b quiet\n")
    result = compute(run, exp, "O.kaldi", options=("--trial2cond", cond))
    (line,) = result.stderr.splitlines()
    assert result.returncode == 1 and "O.kaldi.score:2: the trial of a and c is not in" in line


def test_label_that_contradicts_the_speakers_is_named(run: Run, exp: Path) -> None:
    write_speakers(exp)
    for path in (exp / "scores" / "S.kaldi.score", exp.parent / "trials" / "S.kaldi"):
        path.write_text(path.read_text().replace("nontarget", "target", 1))
    result = compute(run, exp, "S.kaldi")
    assert result.returncode == 1
    assert "S.kaldi.score:2: A1 and B1 is labelled target, but" in result.stderr
