"""The folds of a cross-validation measured as one list, calibrated on one another."""

import re
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import write_table
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists
from sv.metrics.results import read_results
from sv.scoring.calibration import fit
from sv.scoring.pooling import pool_scores

SCORES = {
    "fold1": [(3, "target"), (1, "target"), (0, "nontarget"), (2, "nontarget")],
    "fold2": [(2, "target"), (2.5, "nontarget"), (4, "target")],
}


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


def pooled(tmp_path: Path, folds: list[Path]) -> str:
    return pool_scores(tmp_path / "pooled", folds, tmp_path / "data" / "pooled" / "trials")


def scores_in(path: Path) -> np.ndarray:
    return np.array([float(line.split()[2]) for line in path.read_text().splitlines()])


def test_all_trials_are_measured_with_one_threshold(
    folds: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    pooled(tmp_path, folds)
    assert "no mark" not in caplog.text  # the pooled scores have one, which names those of the folds
    entry = read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]["cos"]
    assert (entry["num_target"], entry["num_nontarget"]) == (4, 3)
    # targets 1, 2, 3, 4, non-targets 0, 2, 2.5: misses and false accepts go from 1/4 and 2/3 at 2 to 1/2 and 1/3 at
    # 2.5; on the line between they are both 3/7
    assert entry["eer"] == pytest.approx(100 * 3 / 7)


def test_each_fold_is_calibrated_on_the_others(folds: list[Path], tmp_path: Path) -> None:
    assert "Cllr" in pooled(tmp_path, folds)
    expected = []
    for fold, other in (folds, folds[::-1]):
        values, labels = zip(*SCORES[other.name], strict=True)
        is_target = np.array([label == "target" for label in labels])
        calibration = fit(np.array(values)[:, None], is_target, ["score"], p_target=0.05, nonnegative=True)
        expected += calibration.llrs(np.array([[value] for value, _ in SCORES[fold.name]])).tolist()
    found = scores_in(tmp_path / "pooled" / "scores" / "cali_O.kaldi.score")
    assert found == pytest.approx(expected, abs=1e-4)
    assert np.ptp(found) > 0.5


def test_scores_that_a_fold_calibrated_itself_are_left_out(folds: list[Path], tmp_path: Path) -> None:
    pooled(tmp_path, folds)
    first = (tmp_path / "pooled" / "scores" / "cali_O.kaldi.score").read_text()
    for fold in folds:
        write_fold(fold, tmp_path / "data", "cos_cali", "cali_")
    pooled(tmp_path, folds)
    assert list(read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]) == ["cos", "cos_cali"]
    assert (tmp_path / "pooled" / "scores" / "cali_O.kaldi.score").read_text() == first


def test_scores_without_a_final_newline_are_joined_line_by_line(folds: list[Path], tmp_path: Path) -> None:
    scores = [fold / "scores" / "O.kaldi.score" for fold in folds]
    whole = "".join(path.read_text() for path in scores)
    scores[0].write_text(scores[0].read_text().rstrip("\n"))
    pooled(tmp_path, folds)
    assert (tmp_path / "pooled" / "scores" / "O.kaldi.score").read_text() == whole


def test_back_ends_are_fused_on_the_other_folds(folds: list[Path], tmp_path: Path) -> None:
    write_fold(folds[0], tmp_path / "data", "plda", "plda_")
    pooled(tmp_path, folds)
    assert list(read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]) == ["cos", "cos_cali"]  # not of all
    write_fold(folds[1], tmp_path / "data", "plda", "plda_")
    pooled(tmp_path, folds)
    found = read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]
    assert list(found) == ["cos", "cos_cali", "fused", "plda", "plda_cali"]
    for fold in folds:  # both back-ends have the same scores, so the fusion is the calibration of either
        assert (fold / "scores" / "O.kaldi.score").read_text() == (fold / "scores" / "plda_O.kaldi.score").read_text()
    fused, alone = (scores_in(tmp_path / "pooled" / "scores" / f"{name}_O.kaldi.score") for name in ("fused", "cali"))
    assert fused == pytest.approx(alone, abs=0.01)


def test_back_ends_that_the_folds_have_no_more_are_removed(folds: list[Path], tmp_path: Path) -> None:
    for fold in folds:
        write_fold(fold, tmp_path / "data", "plda", "plda_")
    pooled(tmp_path, folds)
    for fold in folds:
        (fold / "results.json").unlink()
        write_fold(fold, tmp_path / "data", "cos")
    pooled(tmp_path, folds)
    assert list(read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]) == ["cos", "cos_cali"]
    assert "plda" not in (tmp_path / "pooled" / "results.md").read_text()
    for fold in folds:  # all at once
        (fold / "results.json").unlink()
        write_fold(fold, tmp_path / "data", "plda", "plda_")
    pooled(tmp_path, folds)
    assert list(read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]) == ["plda", "plda_cali"]


def test_lists_that_name_enroll_models_are_pooled(folds: list[Path], tmp_path: Path, step) -> None:
    lists = tmp_path / "data" / "pooled" / "trials"
    models = {line.split()[0]: f"{line.split()[0]}u" for line in (lists / "O.kaldi").read_text().splitlines()}
    utts = [*models.values(), *(line.split()[1] for line in (lists / "O.kaldi").read_text().splitlines())]
    write_table(lists.parent / "utt2spk", {utt: re.split(r"x?\du?$", utt)[0] for utt in utts})
    write_table(tmp_path / "map", models)
    words = [lists, tmp_path / "pooled", *folds]
    refused = step("steps/pool_scores.py", *words)
    told = f"the speaker of fold1a0 is not in {lists.parent}/utt2spk; give the test set's utt2spk, and --enroll-map if"
    assert refused.returncode == 1 and told in refused.stderr and not (tmp_path / "pooled").exists()
    done = step("steps/pool_scores.py", "--enroll-map", tmp_path / "map", *words)
    assert done.returncode == 0, done.stderr
    found = read_results(tmp_path / "pooled" / "results.json")["O.kaldi"]
    assert {entry["enroll_map"] for entry in found.values()} == {str(tmp_path / "map")}


def test_a_single_fold_is_refused(folds: list[Path], tmp_path: Path, step) -> None:
    result = step("steps/pool_scores.py", tmp_path / "data/pooled/trials", tmp_path / "pooled", folds[0])
    told = f"pool_scores.py: error: {folds[0]} is a single fold; give two or more: each is calibrated on the others\n"
    assert (result.returncode, result.stderr) == (2, told)


def test_a_fold_is_not_overwritten(folds: list[Path], tmp_path: Path) -> None:
    before = (folds[0] / "scores" / "O.kaldi.score").read_text()
    with pytest.raises(UserError, match="fold1 is a fold, whose scores would be overwritten; give another folder"):
        pool_scores(folds[0], folds, tmp_path / "data" / "pooled" / "trials")
    assert (folds[0] / "scores" / "O.kaldi.score").read_text() == before


@pytest.mark.parametrize(("order", "told"), [((0, 0), "fold1/scores/O.kaldi.score:1: "), ((1, 0), "fold2/scores/O")])
def test_folds_that_are_not_the_joined_list_are_refused(
    folds: list[Path], tmp_path: Path, order: tuple[int, int], told: str
) -> None:
    with pytest.raises(UserError, match=rf"give all folds of \S+/trials once, in the order of its lists: \S+{told}"):
        pooled(tmp_path, [folds[number] for number in order])
    assert not (tmp_path / "pooled").exists()


def test_a_fold_that_is_missing_is_told(folds: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "data" / "pooled" / "trials" / "O.kaldi"
    path.write_text(f"{path.read_text()}fold3a fold3b nontarget\n")
    with pytest.raises(UserError, match=r"in the order of its lists: \S+ ends after 7 trials, \S+O.kaldi does not"):
        pooled(tmp_path, folds)


def test_folds_without_one_kind_of_trials_name_the_file(folds: list[Path], tmp_path: Path) -> None:
    for path in (folds[1] / "scores" / "O.kaldi.score", tmp_path / "data" / "pooled" / "trials" / "O.kaldi"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if line.startswith("fold1") or line.endswith(" target\n")))
    with pytest.raises(UserError, match=r"fold1/scores/O.kaldi.score cannot be calibrated on the other folds: "):
        pooled(tmp_path, folds)


def test_folds_scored_by_other_back_ends_are_refused(folds: list[Path], tmp_path: Path) -> None:
    (folds[1] / "results.json").unlink()
    write_fold(folds[1], tmp_path / "data", "plda", "plda_")
    with pytest.raises(UserError, match="no list is scored by one back-end in all; score them alike"):
        pooled(tmp_path, folds)


def test_a_fold_without_results_says_what_to_do(folds: list[Path], tmp_path: Path, step) -> None:
    (folds[1] / "results.json").unlink()
    result = step("steps/pool_scores.py", tmp_path / "data/pooled/trials", tmp_path / "pooled", *folds)
    told = f"pool_scores.py: error: {folds[1]}/results.json does not exist; score first (stage 5)\n"
    assert (result.returncode, result.stderr) == (1, told)
    assert not (tmp_path / "pooled").exists()
