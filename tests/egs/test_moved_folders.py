"""Data and experiment folders, copied, moved and renamed: stages 2 to 8, verify and report use their own files."""

import json
import shutil
from pathlib import Path

import pytest

from tests.faults.runs import OPTIONS, command

pytestmark = pytest.mark.recipe


@pytest.fixture(scope="module")
def first(run, tmp_path_factory):
    """A finished run, small."""
    folder = tmp_path_factory.mktemp("first")
    for words in (command(folder, 0), command(folder, 1, 8)):
        result = run(*words, timeout=900)
        assert result.returncode == 0, result.stderr[-3000:]
    return folder


def stages(folder, data, exp, first_stage=4):
    names = ["--corpora", folder / "corpora", "--data", data, "--exp-dir", exp]
    return ["egs/mini/run.sh", "--stage", first_stage, "--stop-stage", 8, *names, *OPTIONS]


def content(exp: Path, *patterns: str) -> dict[str, bytes]:
    return {str(path.relative_to(exp)): path.read_bytes() for pattern in patterns for path in exp.glob(pattern)}


def made(*folders: Path) -> dict[Path, int]:
    """Archives and when they were written."""
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.ark")}


def test_renamed_folders_are_finished_work_and_give_the_same_scores(run, first, tmp_path):
    before = content(first / "exp", "scores/*.score")
    data, exp = tmp_path / "features", tmp_path / "systems" / "renamed"
    shutil.copytree(first / "data", data, copy_function=shutil.copy2)
    shutil.copytree(first / "exp", exp, copy_function=shutil.copy2)
    (first / "data").rename(first / "away")  # nothing may be read from where it was
    (first / "exp").rename(first / "away_exp")
    try:
        kept = {path: time for path, time in made(data, exp).items() if path.name != "spk_xvector.ark"}
        result = run(*stages(first, data, exp, 2), timeout=900)
        assert result.returncode == 0, result.stderr[-3000:]
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
        assert content(exp, "scores/*.score") == before
        assert (exp / "report.html").stat().st_size > 0
        wavs = sorted((first / "corpora").rglob("*.wav"))[:2]
        verdict = run("steps/verify.py", "--gpus", "none", "--model", exp, *wavs)
        assert verdict.returncode == 0 and "LLR" in verdict.stdout, verdict.stderr
    finally:
        (first / "away").rename(first / "data")
        (first / "away_exp").rename(first / "exp")


def test_a_copy_keeps_its_embeddings_when_the_original_gets_another_model(run, first, tmp_path):
    one, copy = tmp_path / "one", tmp_path / "copy"
    for folder in (one, copy):
        shutil.copytree(first / "exp", folder, copy_function=shutil.copy2)
    before = content(copy, "scores/*.score", "embeddings/vox*/xvector.ark")
    for path in one.glob("models/*.pt*"):
        path.unlink()
    for ending in ("", ".sha256"):  # the untrained encoder
        shutil.copy(first / "exp" / "models" / f"model_0.pt{ending}", one / "models" / f"avg_model.pt{ending}")
    for folder in (one, copy):
        result = run(*stages(first, first / "data", folder), timeout=900)
        assert result.returncode == 0, result.stderr[-3000:]
    assert content(copy, "scores/*.score", "embeddings/vox*/xvector.ark") == before
    eers = [json.loads((folder / "results.json").read_text())["results"]["vox1_O_cleaned.kaldi"]["cos"]["eer"]
            for folder in (one, copy, first / "exp")]  # fmt: skip
    assert eers[1] == eers[2] != eers[0]
