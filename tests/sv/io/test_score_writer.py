"""Lines of score files, against a format string for each line."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import ScoreWriter, Trials
from sv.io.score_writer import decimals

EXTREME = [0.0, -0.0, -1e-9, 1e-5, -5e-6, 0.5, 9998.999994, 9998.999996, 1e4, -123456.789, 1e22, -1e-300]
TIES = [0.000005, 0.000015, 0.5 + 2**-17, 2.5e-5, 0.123455, -0.123465, 0.999995, -1.000005, 1234.567895]


def plain(values: NDArray[np.floating[Any]], places: int) -> list[str]:
    return [f" {value:.{places}f}" for value in values.tolist()]


def in_columns(values: NDArray[np.floating[Any]], places: int) -> list[str]:
    columns = [column for column in decimals(values, places) if not isinstance(column, bytes)]
    return ["".join(part.decode() for part in parts) for parts in zip(*columns, strict=True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("places", [4, 5])
def test_decimals_are_those_of_a_format_string(dtype: type, places: int) -> None:
    rng = np.random.default_rng(0)
    steps = (rng.integers(-(10**7), 10**7, 5000) + 0.5) / 10**places  # ties, as near as floats get to them
    for values in (rng.uniform(-1, 1, 5000), rng.normal(0, 500, 5000), steps, TIES, EXTREME, EXTREME[:8], []):
        given: NDArray[np.floating[Any]] = np.array(values, dtype=dtype)
        assert in_columns(given, places) == plain(given, places)


def block(ids: list[str], rows: list[tuple[int, int]], is_target: list[bool] | None) -> Trials:
    names, pairs = np.array(ids, dtype=object), np.array(rows, dtype=np.int32).reshape(-1, 2)
    labels = None if is_target is None else np.array(is_target)
    return Trials(Path("list"), 1, names, names, pairs[:, 0], pairs[:, 1], labels, 0)


def test_ids_of_any_length_and_alphabet_that_grow_or_change_between_blocks() -> None:
    file = io.StringIO()
    writer, half = ScoreWriter(file), np.array([0.5])
    writer.write(block(["a"], [(0, 0)], None), half)
    writer.write(block(["a", "\u00e4" * 70], [(0, 1)], None), half)
    writer.write(block(["b", "c", "d"], [(2, 1)], None), half)
    writer.write(block(["b"], [], None), np.array([]))
    writer.write(block(["e"], [(0, 0)], None), half)
    umlauts = "\u00e4" * 70
    assert file.getvalue() == f"a a 0.50000\na {umlauts} 0.50000\nd c 0.50000\ne e 0.50000\n"


def test_factors_stand_behind_the_label_and_need_one() -> None:
    file = io.StringIO()
    writer, factors = ScoreWriter(file), [np.array([12.34567, 20000.0]), np.array([-0.00001, 0.5], np.float32)]
    rows, scores = [(0, 1), (1, 0)], np.array([-0.5, 3.0], np.float32)
    writer.write(block(["a", "b"], rows, [True, False]), scores, factors)
    writer.write(block(["a", "b"], rows, None), scores, factors)
    assert file.getvalue() == (
        "a b -0.50000 target 12.3457 -0.0000\nb a 3.00000 nontarget 20000.0000 0.5000\na b -0.50000\nb a 3.00000\n"
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_score_or_factor_that_is_no_number_names_trial_and_pair(wrong: float) -> None:
    file = io.StringIO()
    trials, fine, bad = block(["a", "b"], [(0, 1), (1, 0)], [True, False]), np.zeros(2), np.array([1.0, wrong])
    with pytest.raises(UserError, match=f"list:2: the score of b and a is {wrong}; extract again"):
        ScoreWriter(file).write(trials, bad, [fine])
    with pytest.raises(UserError, match=f"list:2: the factor of normalization of b and a is {wrong}; extract again"):
        ScoreWriter(file).write(trials, fine, [fine, bad])
    assert file.getvalue() == ""
