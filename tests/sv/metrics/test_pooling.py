"""The folds of a cross-validation measured as one list."""

import re
from pathlib import Path

import pytest

from sv.errors import UserError
from sv.io import write_table
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists
from sv.metrics.pooling import pool_scores
from sv.metrics.results import read_results

SCORES = {"fold1": [(3, "target"), (1, "target"), (0, "nontarget")], "fold2": [(2, "target"), (2.5, "nontarget")]}


def write_fold(exp: Path, data: Path, backend: str, prefix: str = "") -> None:
    """Score and measure the trials of a fold, and put them behind those of the folds before."""
    speakers, lists = {}, data / exp.name / "trials"
    lists.mkdir(parents=True, exist_ok=True)
    (data / "pooled" / "trials").mkdir(parents=True, exist_ok=True)
    (exp / "scores").mkdir(parents=True, exist_ok=True)
    trials, scores = "", ""
    for n, (score, label) in enumerate(SCORES[exp.name]):
        pair = f"{exp.name}a{n} {exp.name}{'a' if label == 'target' else 'b'}x{n}"
        speakers |= {utt: re.split(r"x?\d$", utt)[0] for utt in pair.split()}
        trials += f"{pair} {label}\n"
        scores += f"{pair} {score:.5f} {label}\n"
    write_table(data / exp.name / "utt2spk", speakers)
    (lists / "O.kaldi").write_text(trials)
    (exp / "scores" / f"{prefix}O.kaldi.score").write_text(scores)
    measure_lists(
        ScoredLists(exp, [lists / "O.kaldi"], backend, prefix),
        "result",
        MeasureOptions(llr=prefix == "cali_", intervals=False),
    )


@pytest.fixture
def folds(tmp_path: Path) -> list[Path]:
    """Two folds with cosine scores, and the joined list."""
    exps = [tmp_path / name for name in SCORES]
    for exp in exps:
        write_fold(exp, tmp_path / "data", "cos")
    lists = [tmp_path / "data" / name / "trials" / "O.kaldi" for name in SCORES]
    (tmp_path / "data" / "pooled" / "trials" / "O.kaldi").write_text("".join(path.read_text() for path in lists))
    return exps


def test_all_trials_are_measured_with_one_threshold(folds: list[Path], tmp_path: Path) -> None:
    pool_scores(tmp_path / "pooled", folds, tmp_path / "data" / "pooled" / "trials")
    entry = read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]["cos"]
    assert (entry["num_target"], entry["num_nontarget"]) == (3, 2)
    # targets 1, 2, 3, non-targets 0, 2.5: at 2, misses grow from 1/3 to 2/3, and 1/2 of the others is accepted
    assert entry["eer"] == pytest.approx(50)


def test_only_back_ends_of_all_folds_are_pooled(folds: list[Path], tmp_path: Path) -> None:
    write_fold(folds[0], tmp_path / "data", "cos_cali", "cali_")
    pool_scores(tmp_path / "pooled", folds, tmp_path / "data" / "pooled" / "trials")
    assert list(read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]) == ["cos"]
    write_fold(folds[1], tmp_path / "data", "cos_cali", "cali_")
    printed = pool_scores(tmp_path / "pooled", folds, tmp_path / "data" / "pooled" / "trials")
    assert "Cllr" in printed  # calibrated scores are ratios of likelihoods
    assert list(read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]) == ["cos", "cos_cali"]


def test_folds_scored_by_other_back_ends_are_refused(folds: list[Path], tmp_path: Path) -> None:
    (folds[1] / "results.json").unlink()
    write_fold(folds[1], tmp_path / "data", "plda", "plda_")
    with pytest.raises(UserError, match="no list is scored by one back-end in all; score them alike"):
        pool_scores(tmp_path / "pooled", folds, tmp_path / "data" / "pooled" / "trials")


def test_a_fold_without_results_says_what_to_do(folds: list[Path], tmp_path: Path, step) -> None:
    (folds[1] / "results.json").unlink()
    result = step("steps/pool_scores.py", tmp_path / "data/pooled/trials", tmp_path / "pooled", *folds)
    told = f"pool_scores.py: error: {folds[1]}/results.json does not exist; score first (stage 5)\n"
    assert (result.returncode, result.stderr) == (1, told)
    assert not (tmp_path / "pooled").exists()
