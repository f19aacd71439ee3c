"""The mini recipe through a real scheduler, from stage 1 to the table, as a lab runs it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.faults.runs import OPTIONS

pytestmark = pytest.mark.recipe


def run_mini(root: Path, cluster: Cluster, corpora: Path, folder: Path, *options: str) -> str:
    """Run mini with its working folders in `folder`, and return what it prints."""
    words = ["--stage", "1", "--corpora", corpora, "--data", folder / "data", "--exp-dir", folder / "exp"]
    words += ["--cmd", f"{cluster.submitter.name} --mem 1G", *OPTIONS, *options]
    done = subprocess.run(
        [root / "egs" / "mini" / "run.sh", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def made(folder: Path) -> dict[Path, int]:
    """Features, models, embeddings and logs of jobs, with the time at which each was written."""
    patterns = (
        "data/fbank/**/*.ark",
        "exp/models/model_*.pt",
        "exp/embeddings/*/xvector.ark",
        "**/log/*.[0-9]*.log",
        "exp/log/train.log",
    )
    return {path: path.stat().st_mtime_ns for pattern in patterns for path in folder.glob(pattern)}


def test_the_mini_recipe_ends_with_a_table_and_is_not_done_twice(
    cluster: Cluster, root: Path, small_corpus: Path, tmp_path: Path
) -> None:
    """With one scheduler to the features, with the other to the table and once more; what is done submits no jobs."""
    last, steps = {"gridengine": ("2", {"fbank"}), "slurm": ("7", {"fbank", "exp", "embeddings/vox1"})}[cluster.name]
    printed = run_mini(root, cluster, small_corpus, tmp_path, "--stop-stage", last)
    if last == "7":
        table = (tmp_path / "exp" / "results.txt").read_text()
        assert printed.endswith(table) and table.split()[:4] == ["asnorm5", "cos", "fused", "plda"]
    logs = [log for log in tmp_path.glob("**/log/*.log") if log.name.startswith(("make_fbank.", "train.", "extract."))]
    for step in steps:
        assert any(str(log.parent.parent).endswith(step) for log in logs), step
    for log in logs:
        assert log.read_text().splitlines()[-1].startswith("# Ended (code 0) at "), log
    assert not list(tmp_path.glob("**/q"))

    if last == "7":
        before = made(tmp_path)
        run_mini(root, cluster, small_corpus, tmp_path, "--stop-stage", "4")
        assert made(tmp_path) == before
