"""One pass over a list, by a scorer that counts."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import Trials, sha256_of
from sv.scoring.inputs import Inputs
from sv.scoring.score_list import Column, Scorer, score_list


class Counting:
    """Gives row numbers as scores, and says how many lists were begun."""

    def __init__(self) -> None:
        self.lists = 0

    def begin(self) -> "Counting":
        self.lists += 1
        return self

    def __call__(self, block: Trials) -> Sequence[Column]:
        return [block.enroll.astype(np.float64), block.test.astype(np.float64)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "list").write_text("m b target\nn a nontarget\n")
    (tmp_path / "map").write_text("m a\nn b\n")
    (tmp_path / "plain").write_text("a b target\nb b nontarget\n")
    return tmp_path


def scorer_of(folder: Path, counting: Counting, enroll_ids: list[str] | None) -> Scorer:
    inputs = Inputs(folder / "xvector.scp", {}, folder / "map" if enroll_ids else None)
    return Scorer(inputs, counting.begin, ["a", "b"], enroll_ids, {"other": folder / "plain"}, {"top_n": 7})


def test_scores_and_factors_in_the_order_of_the_trials(folder: Path) -> None:
    counting = Counting()
    scorer = scorer_of(folder, counting, ["n", "m"])
    assert score_list(folder / "list", folder / "out" / "x.score", scorer) == 2
    assert (folder / "out" / "x.score").read_text() == "m b 1.00000 target 1.0000\nn a 0.00000 nontarget 0.0000\n"
    scorer = scorer_of(folder, counting, None)
    score_list(folder / "plain", folder / "out" / "y.score", scorer)
    assert (folder / "out" / "y.score").read_text() == "a b 0.00000 target 1.0000\nb b 1.00000 nontarget 1.0000\n"
    assert counting.lists == 2


def test_mark_holds_what_decides_the_scores(folder: Path) -> None:
    score_list(folder / "list", folder / "x.score", scorer_of(folder, Counting(), ["n", "m"]))
    assert json.loads((folder / ".done.x.score").read_text())["options"] == {
        "trials_sha256": sha256_of(folder / "list"),
        "model_sha256": None,
        "fingerprint": None,
        "embeddings_sha256": None,
        "enroll_map_sha256": sha256_of(folder / "map"),
        "other_sha256": sha256_of(folder / "plain"),
        "top_n": 7,
    }


def test_unknown_model_names_the_map_and_leaves_nothing(folder: Path) -> None:
    with pytest.raises(UserError, match=r"list:1: m is not in .*map"):
        score_list(folder / "list", folder / "out" / "x.score", scorer_of(folder, Counting(), ["n"]))
    assert list(folder.glob("out/*")) == [] and list(folder.glob("out/.*")) == []
