"""Counted scores give the very numbers of the sorted ones."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import Scores
from sv.scoring import evaluate
from sv.scoring.streaming import count_scores, evaluate_counts, evaluate_file


def blocks_of(values: np.ndarray, is_target: np.ndarray, size: int) -> list[Scores]:
    return [Scores(values[i : i + size], is_target[i : i + size]) for i in range(0, len(values), size)]


@pytest.mark.parametrize("decimals", [0, 1, 5])
@pytest.mark.parametrize("targets", [0.01, 0.5, 0.97])
@pytest.mark.parametrize("chunk", [1, 300, 1 << 20])
def test_numbers_are_those_of_sorted_scores(
    decimals: int, targets: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sv.scoring.streaming._CHUNK", chunk)
    rng = np.random.default_rng(int(100 * targets) + decimals)
    is_target = rng.random(1000) < targets
    is_target[:2] = True, False
    values = np.round(rng.normal(2 * is_target), decimals)
    counted = evaluate_counts(count_scores(blocks_of(values, is_target, 70)), (0.01, 0.05, 0.5, 0.9))
    assert counted == evaluate(values[is_target], values[~is_target], (0.01, 0.05, 0.5, 0.9))


@pytest.mark.parametrize(("target", "nontarget"), [([1.0], [0.0]), ([0.0], [1.0]), ([1.0], [1.0]), ([0, 2], [1, 1])])
def test_smallest_lists(target: list[float], nontarget: list[float]) -> None:
    values, labels = np.array([*target, *nontarget], float), np.arange(len(target) + len(nontarget)) < len(target)
    assert evaluate_counts(count_scores(blocks_of(values, labels, 1))) == evaluate(target, nontarget)


def test_counts_do_not_grow_with_the_trials() -> None:
    values, labels = np.tile([0.1, 0.2, 0.3], 1000), np.tile([True, False], 1500)
    counts = count_scores(blocks_of(values, labels, 10))
    assert counts.values.tolist() == [0.1, 0.2, 0.3]
    assert counts.target.tolist() == counts.nontarget.tolist() == [500, 500, 500]


def test_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.score"
    path.write_text("a b 0.5 target\na c 0.25 nontarget\nb c 0.75 nontarget\n")
    assert evaluate_file(path) == evaluate([0.5], [0.25, 0.75])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b 0.5\n", "x.score: scores without labels; score a trial list"),
        ("a b 0.5 target\n", "x.score: no nontarget trials"),
        ("a b 0.5 nontarget\n", "x.score: no target trials"),
        ("a b nan target\n", r"x\.score:1: score 'nan' is not a finite number"),
        ("", "x.score is empty"),
    ],
)
def test_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.score"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        evaluate_file(path)


@pytest.mark.parametrize("prior", [0.0, 1.0, -1.0])
def test_prior_out_of_range_is_refused(prior: float) -> None:
    with pytest.raises(UserError, match="expected 0 < p_target < 1"):
        evaluate_counts(count_scores([Scores(np.array([0.0, 1.0]), np.array([True, False]))]), [prior])
