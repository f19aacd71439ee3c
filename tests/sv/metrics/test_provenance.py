"""Marks beside score files: which model, embeddings and trial list scores come from."""

import json
from pathlib import Path

import pytest

from sv.errors import UserError
from sv.io import sha256_of
from sv.metrics.provenance import mark_derived, mark_scores, model_of, origin_of


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """A score file with its mark."""
    (tmp_path / "embeddings").mkdir()
    mark = {"options": {"model_sha256": "m"}, "outputs": {"xvector.ark": {"sha256": "e"}}}
    (tmp_path / "embeddings" / ".done").write_text(json.dumps(mark))
    for name in ("O.kaldi", "O.score", "mean.npy", "cali.json", "cali_O.score"):
        (tmp_path / name).write_text(name)
    extras = {"mean": tmp_path / "mean.npy", "cohort": None, "plda": tmp_path / "none"}
    scp = tmp_path / "embeddings" / "xvector.scp"
    mark_scores(tmp_path / "O.score", tmp_path / "O.kaldi", scp, extras, {"top_n": 300})
    return tmp_path / "O.score"


def test_mark_tells_what_scores_were_made_of(scores: Path) -> None:
    trials = scores.with_name("O.kaldi")
    expected = {"model_sha256": "m", "embeddings_sha256": "e", "mean_sha256": sha256_of(scores.with_name("mean.npy"))}
    expected |= {"trials_sha256": sha256_of(trials), "scores_sha256": sha256_of(scores)}
    assert origin_of(scores, trials) == {**expected, "top_n": 300} and model_of(scores) == "m"


def test_calibrated_scores_have_the_origin_of_theirs(scores: Path) -> None:
    calibrated, calibration = scores.with_name("cali_O.score"), scores.with_name("cali.json")
    mark_derived(calibrated, [scores], calibration)
    found = origin_of(calibrated, scores.with_name("O.kaldi"))
    assert found["model_sha256"] == "m" and found["sources_sha256"] == [sha256_of(scores)]
    assert found["calibration_sha256"] == sha256_of(calibration)
    unknown = scores.with_name("mean.npy")
    mark_derived(unknown, [scores, calibration], calibration)
    assert model_of(unknown) is None


def test_scores_changed_since_have_no_origin_and_another_list_is_refused(
    scores: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trials = scores.with_name("O.kaldi")
    trials.write_text("another")
    with pytest.raises(UserError, match=r"was made from another version of .*O\.kaldi; score again \(stage 5\)"):
        origin_of(scores, trials)
    scores.write_text("another")
    assert set(origin_of(scores, trials)) == {"scores_sha256", "trials_sha256"}
    assert "no mark tells which model and embeddings these scores come from" in caplog.text
