"""The CN-Celeb recipe on a small tree of the corpus's layout: synthetic voices, from stage 1 to a table by genre."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.faults.runs import OPTIONS
from tests.local.cnceleb_tree import make_tree

pytestmark = pytest.mark.recipe

Run = Callable[..., subprocess.CompletedProcess[str]]
GENRES = ("drama", "interview", "vlog")


def speakers(folder: Path) -> list[list[Path]]:
    """Files of each synthetic voice."""
    voices: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.wav")):
        voices.setdefault(next(name for name in path.parts if name.startswith("id")), []).append(path)
    return list(voices.values())


def link(path: Path, source: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(source)


def make_corpora(mini: Path, out: Path) -> None:
    """Lay out the mini corpus as CN-Celeb 1 and 2; test speakers have two enroll utterances, in data/ and joined."""
    for number, files in enumerate(speakers(mini / "voxceleb2")):
        folder, spk = ("CN-Celeb_flac", f"id{number:05}") if number < 8 else ("CN-Celeb2_flac", f"id1{number:04}")
        for count, path in enumerate(files):
            link(out / folder / "data" / spk / f"{GENRES[count % 2]}-01-{count:03}.wav", path)
    one = out / "CN-Celeb_flac"
    for number, files in enumerate(speakers(mini / "voxceleb1")):
        spk = f"id{800 + number:05}"
        for count, path in enumerate(files):
            name = f"{GENRES[count % 3]}-01-{count:03}.wav"
            link(one / "data" / spk / name if count < 2 else one / "eval" / "test" / f"{spk}-{name}", path)
        both = np.concatenate([soundfile.read(path, dtype="int16")[0] for path in files[:2]])
        (one / "eval" / "enroll").mkdir(exist_ok=True)
        soundfile.write(one / "eval" / "enroll" / f"{spk}-enroll.flac", both, 16000)
    make_tree(one, [f"id{number:05}" for number in range(8)])


def test_recipe_ends_with_a_table_of_both_lists_by_genre(run: Run, small_corpus: Path, tmp_path: Path) -> None:
    make_corpora(small_corpus, tmp_path)
    exp, corpora = tmp_path / "exp", [f"--cnceleb{n}={tmp_path}/CN-Celeb{n if n > 1 else ''}_flac" for n in (1, 2)]
    done = run(
        *["egs/cnceleb/run.sh", *corpora, "--data", tmp_path / "data", "--exp-dir", exp, "--speeds", ""],
        *["--config", "egs/mini/conf/resnet_small.yaml", "--nj", 1, "--gpus", "none", *OPTIONS],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    joined = list((tmp_path / "data" / "joined").rglob("*.flac"))
    assert joined and all(soundfile.info(path).duration >= 5 for path in joined)
    table, results = (exp / "results.md").read_text(), json.loads((exp / "results.json").read_text())["results"]
    for name in ("CNC-Eval-Avg", "CNC-Eval-Concat"):
        for backend in ("cos", "asnorm5", "plda"):
            assert f"| {name} | {backend}_cali |" in table
        parts = {
            (part["by"], part["name"]): part["num_target"] for part in results[f"{name}.kaldi"]["cos"]["breakdown"]
        }
        assert {part for by, part in parts if by == "genre of the test"} == set(GENRES)
        assert (parts["genre", "same genre"], parts["genre", "other genre"]) == (6 * 6, 6 * 4)  # enrolled: all but vlog
    assert "genre of the test" in (exp / "report.html").read_text()


def test_missing_corpus_is_one_line(run: Run, tmp_path: Path) -> None:
    words = [
        "--cnceleb1",
        tmp_path / "none",
        "--data",
        tmp_path / "data",
        "--exp-dir",
        tmp_path / "exp",
        "--gpus",
        "none",
    ]
    done = run("egs/cnceleb/run.sh", *words)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "none does not exist; give --cnceleb1 DIR and --cnceleb2 DIR" in done.stderr
