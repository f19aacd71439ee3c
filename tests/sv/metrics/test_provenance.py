"""Marks beside score files: which model, embeddings and trial list scores come from."""

import json
from pathlib import Path

import pytest

from sv.errors import UserError
from sv.io import sha256_of
from sv.jobs import DoneMark
from sv.metrics.provenance import (
    check_name,
    check_same_embeddings,
    check_same_enrollment,
    check_scored_alike,
    mark_derived,
    mark_scores,
    origin,
    origin_of,
)


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """A score file with its mark."""
    (tmp_path / "embeddings").mkdir()
    mark = {"options": {"model_sha256": "m", "fingerprint": "f"}, "outputs": {"xvector.ark": {"sha256": "e"}}}
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
    expected |= {"fingerprint": "f", "trials_sha256": sha256_of(trials), "scores_sha256": sha256_of(scores)}
    assert origin_of(scores, trials) == {**expected, "top_n": 300} and origin(scores)["model_sha256"] == "m"


def test_calibrated_scores_have_the_origin_of_theirs(scores: Path) -> None:
    calibrated, calibration = scores.with_name("cali_O.score"), scores.with_name("cali.json")
    mark_derived(calibrated, [scores], calibration)
    found = origin_of(calibrated, scores.with_name("O.kaldi"))
    assert found["model_sha256"] == "m" and found["sources_sha256"] == [sha256_of(scores)]
    assert found["calibration_sha256"] == sha256_of(calibration)
    unknown = scores.with_name("mean.npy")
    mark_derived(unknown, [scores, calibration], calibration)
    assert origin(unknown) == {}


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


ONE = {"backend": "asnorm300", "model_sha256": "m" * 64, "mean_sha256": "a" * 64, "top_n": 300, "trials_sha256": "h"}


def marked(path: Path, **options: object) -> Path:
    """A file with a mark of these options beside ONE's; without those that are None."""
    path.write_text(path.name)
    known = {name: value for name, value in {**ONE, **options}.items() if value is not None}
    DoneMark(path.with_name(f".done.{path.name}"), known).write([path])
    return path


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"model_sha256": "o" * 64}, "model is oooooooooooo, there mmmmmmmmmmmm"),
        ({"fingerprint": "f" * 64}, "model and front-end is ffffffffffff, there none"),
        ({"mean_sha256": None}, "mean is none, there aaaaaaaaaaaa"),
        ({"top_n": 200, "backend": "asnorm200"}, "backend is asnorm200, there asnorm300"),
        ({"cohort_sha256": "c" * 64}, "cohort is cccccccccccc, there none"),
        ({"length_norm": False}, "length_norm is False, there none"),
    ],
)
def test_scores_of_two_systems_are_told_apart_by_what_differs(
    tmp_path: Path, options: dict[str, object], difference: str
) -> None:
    one, other = marked(tmp_path / "one"), marked(tmp_path / "other", **options)
    told = f"{other} was not scored like {one}: {difference}; score both the same way"
    with pytest.raises(UserError) as caught:
        check_scored_alike([one, one, other])
    assert str(caught.value) == told


def test_lists_of_one_system_may_differ_and_unmarked_scores_go_with_any(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of_list = {"trials_sha256": "O", "embeddings_sha256": "e", "enroll_map_sha256": "p", "sources_sha256": ["s"]}
    check_scored_alike([marked(tmp_path / "one"), marked(tmp_path / "other", **of_list)])
    (tmp_path / "plain").write_text("scores")
    changed = marked(tmp_path / "changed", model_sha256="o")
    changed.write_text("since")
    assert not caplog.records
    check_scored_alike([tmp_path / "one", tmp_path / "plain", changed])
    assert caplog.text.count("no mark tells how it was scored; it is taken as it is") == 2


def test_other_enroll_models_and_other_embeddings_are_refused(tmp_path: Path) -> None:
    one, other = marked(tmp_path / "one", embeddings_sha256="e"), marked(tmp_path / "other", enroll_map_sha256="p")
    with pytest.raises(
        UserError, match=r"other and .*one have different enroll models; score both with one --enroll-map"
    ):
        check_same_enrollment([one, other])
    (tmp_path / "xvector.ark").write_text("ark")
    DoneMark(tmp_path / ".done", {}).write([tmp_path / "xvector.ark"])
    with pytest.raises(UserError, match=r"one was not made from .*xvector\.scp; give the data dir of its trials"):
        check_same_embeddings(tmp_path / "xvector.scp", [other, one])


def test_names_begin_with_the_back_end_of_the_scores(tmp_path: Path) -> None:
    one, source = marked(tmp_path / "one"), marked(tmp_path / "source")
    for name in ("asnorm300", "asnorm300_H", "asnorm300_cali"):
        check_name(one, name)
    with pytest.raises(UserError, match=r"--backend asnorm30: .*one has scores by asnorm300; give --backend asnorm300"):
        check_name(one, "asnorm30")
    for name, sources in (("asnorm300_cali", [source]), ("fused", [source, one])):
        made = tmp_path / name
        made.write_text(name)
        mark_derived(made, sources, one)
        assert origin(made)["backend"] == name
