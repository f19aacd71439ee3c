"""A small mini run, killed, damaged, denied, stopped, goes on or tells; its folders may be copied, moved and renamed.

Many more faults: python3 -m tests.faults.damage, python3 -m tests.faults.kills.
"""

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.damage import PLAIN_USER, harm, may_mount
from tests.faults.kills import run_killed
from tests.faults.runs import OPTIONS, Place, fingerprint

pytestmark = pytest.mark.recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place.prepare(tmp_path_factory.mktemp("faults") / "all")


def test_six_kills_change_nothing(place):
    """In the stages that make something: corpus, features, training, embeddings, PLDA and calibration."""
    counts, different = run_killed(place, Counter({0: 1, 2: 1, 3: 2, 4: 1, 7: 1}).__getitem__, seed=1)
    assert sum(counts.values()) == 6
    assert counts["ended before"] <= 4  # moments are shares of the undisturbed time, which a busy machine stretches
    assert len(fingerprint(place.calm)) > 50
    assert different == []


@pytest.mark.parametrize(  # without "truncate", which is much like "flip"; the seeds draw different stages
    ("kind", "seed"), [("flip", 1), ("checkpoint", 1), ("deny", 3), ("hang", 1), ("full", 4)]
)
def test_harm_is_mended_or_told(place, kind, seed, tmp_path):
    if kind == "full" and not may_mount(tmp_path):
        pytest.skip("a small disk takes root, and in a container the right to mount")
    if kind == "deny" and os.getuid() == 0 and not shutil.which(PLAIN_USER[0]):
        pytest.skip(f"no {PLAIN_USER[0]}, without which root reads what may not be read")
    counts = harm(place, [kind], 1, random.Random(seed))
    assert sum(counts.values()) == 1


@pytest.fixture
def finished(place):
    """The folder of the run, as it was before it was harmed."""
    place.restore(place.calm)
    return place.run


def stages(first, last, corpora, data, exp):
    names = ["--corpora", corpora, "--data", data, "--exp-dir", exp]
    return ["egs/mini/run.sh", "--stage", first, "--stop-stage", last, *names, *OPTIONS]


def content(exp: Path, *patterns: str) -> dict[str, bytes]:
    return {str(path.relative_to(exp)): path.read_bytes() for pattern in patterns for path in exp.glob(pattern)}


def made(*folders: Path) -> dict[Path, int]:
    """Archives and when they were written."""
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.ark")}


def test_renamed_folders_are_finished_work_and_give_the_same_scores(run, step, finished, tmp_path):
    before = content(finished / "exp", "scores/*.score")
    data, exp = tmp_path / "features", tmp_path / "systems" / "renamed"
    exp.parent.mkdir()
    (finished / "data").rename(data)
    (finished / "exp").rename(exp)
    kept = {path: time for path, time in made(data, exp).items() if path.name != "spk_xvector.ark"}
    (exp / "report.html").unlink()
    result = run(*stages(2, 8, finished / "corpora", data, exp))
    assert result.returncode == 0, result.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert content(exp, "scores/*.score") == before
    assert (exp / "report.html").stat().st_size > 0
    wavs = sorted((finished / "corpora").rglob("*.wav"))[:2]
    verdict = step("steps/verify.py", "--gpus", "none", "--model", exp, *wavs)
    assert verdict.returncode in (0, 3, 4) and "LLR" in verdict.stdout, verdict.stderr  # any answer


def test_a_copy_keeps_its_embeddings_when_the_original_gets_another_model(run, finished, tmp_path):
    one, copy = tmp_path / "one", tmp_path / "copy"
    for folder in (one, copy):
        shutil.copytree(finished / "exp", folder)
    before = content(copy, "scores/*.score", "embeddings/vox*/xvector.ark")
    for path in one.glob("models/*.pt*"):
        path.unlink()
    for ending in ("", ".sha256"):  # the untrained encoder
        shutil.copy(finished / "exp" / "models" / f"model_0.pt{ending}", one / "models" / f"avg_model.pt{ending}")
    for folder in (one, copy):
        result = run(*stages(4, 5, finished / "corpora", finished / "data", folder))
        assert result.returncode == 0, result.stderr[-3000:]
    assert content(copy, "scores/*.score", "embeddings/vox*/xvector.ark") == before
    eers = [json.loads((folder / "results.json").read_text())["results"]["vox1_O_cleaned.kaldi"]["cos"]["eer"]
            for folder in (one, copy, finished / "exp")]  # fmt: skip
    assert eers[1] == eers[2] != eers[0]
