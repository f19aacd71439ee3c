"""Quality measures of trials, worked by hand."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import ArkWriter, ScoredTrials, read_scored_trials, write_table
from sv.scoring.quality import Features, factors


@pytest.fixture
def scores(tmp_path: Path) -> ScoredTrials:
    path = tmp_path / "O.score"
    path.write_text("a b 0.5 target 1 2 0.1 0.3\nb c -0.5 nontarget 2 3 0.3 0.2\n")
    write_table(tmp_path / "utt2dur", {"a": 2.0, "b": 8.0, "c": 30.0})
    with ArkWriter(tmp_path / "x.ark", tmp_path / "xvector.scp") as writer:
        for utt, vector in (("a", [3.0, 4.0]), ("b", [0.0, 2.0]), ("c", [1.0, 0.0])):
            writer.write(utt, np.array(vector, dtype=np.float32))
    return read_scored_trials(path)


def test_features_of_all_measures(scores: ScoredTrials, tmp_path: Path) -> None:
    measures = ["duration", "magnitude", "cohort"]
    features = Features(measures, data_dir=tmp_path, xvector_scp=tmp_path / "xvector.scp")
    np.testing.assert_allclose(
        features.of(scores),
        [
            [0.5, 2, 8, 6, 0.25, 2, 5, 3, 0.4, 0.1, 0.3, 0.2, 1 / 3],
            [-0.5, 8, 20, 12, 0.4, 1, 2, 1, 0.5, 0.2, 0.3, 0.1, 2 / 3],  # 30 s count as 20
        ],
    )
    assert len(features.names) == 13


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        *[(0.2, 0.1, 0.5), (-0.1, 0.2, -0.5), (0.3, 0.3, 1.0), (0.0, 0.0, 1.0)],
        *[(1e-300, -0.4, 0.0), (0.0, -0.4, 0.0), (-0.4, -0.1, 0.25), (-0.2, 0.1, -0.5)],  # means about 0, as of S-norm
    ],
)
def test_ratio_stays_within_one_whatever_the_signs(one: float, other: float, ratio: float) -> None:
    for pair in ((one, other), (other, one)):
        low, high, difference, found = (float(value) for value in factors(*pair))
        assert found == pytest.approx(ratio) and (low, high, difference) == (min(pair), max(pair), abs(one - other))


def test_no_measure_is_the_score_alone(scores: ScoredTrials) -> None:
    assert Features([]).of(scores).tolist() == [[0.5], [-0.5]]


def test_what_is_missing_is_named(scores: ScoredTrials, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown quality measure 'durations'; did you mean 'duration'"):
        Features(["durations"])
    with pytest.raises(UserError, match="quality measures cohort cohort: give each once"):
        Features(["cohort", "cohort"])
    write_table(tmp_path / "utt2dur", {"a": 2.0, "b": 8.0})
    with pytest.raises(UserError, match="utt2dur has no line for utterance c, "):
        Features(["duration"], data_dir=tmp_path).of(scores)
    (tmp_path / "O.score").write_text("a b 0.5 target\n")
    with pytest.raises(UserError, match="no cohort means; they come with normalized scores"):
        Features(["cohort"]).of(read_scored_trials(tmp_path / "O.score"))
