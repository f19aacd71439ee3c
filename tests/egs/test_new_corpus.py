"""docs/new-corpus.md, followed to the letter: its two files, put where it says, run from a corpus to a table."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.runs import OPTIONS

pytestmark = pytest.mark.recipe

ENV = {**os.environ, "SV_PYTHON": sys.executable}  # the page is not about set-up


@pytest.fixture
def house(root: Path, tmp_path: Path) -> Path:
    """A repository of links with the page's files in it."""
    house = tmp_path / "house"
    for folder in ("local", "egs/calls"):
        (house / folder).mkdir(parents=True)
    for path in [
        *root.glob("local/*"),
        *(root / name for name in ("steps", "sv", "tools", "path.sh", "pyproject.toml")),
    ]:
        (house / path.relative_to(root)).symlink_to(path)
    (house / "egs/speechocean762").symlink_to(root / "egs/speechocean762")
    (house / "egs/voxceleb").symlink_to(root / "egs/voxceleb")
    page = (root / "docs/new-corpus.md").read_text()
    files = re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)```", page, flags=re.DOTALL)
    assert [name for name, _ in files] == ["local/prepare_calls.py", "egs/calls/run.sh"]
    for name, text in files:
        (house / name).write_text(text)
        (house / name).chmod(0o755)
    return house


def test_a_recipe_made_by_the_page_ends_with_a_table(house: Path, small_corpus: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):  # the voices of the mini corpus, a folder each
        pattern = {"train": "voxceleb2/**/*.wav", "test": "voxceleb1/**/*.wav"}[part]
        for path in small_corpus.glob(pattern):
            speaker = next(name for name in path.parts if name.startswith("id"))
            link = tmp_path / "corpus" / part / speaker / f"{path.parent.name}-{path.name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    words = ["egs/calls/run.sh", "--corpus", tmp_path / "corpus", "--nj", 1, "--gpus", "none", *OPTIONS]
    words += ["--stop-stage", 7]  # the table; stage 8, the report, is as in the other recipes
    done = subprocess.run(list(map(str, words)), cwd=house, capture_output=True, text=True, timeout=800, env=ENV)
    assert done.returncode == 0, done.stderr[-3000:]
    (table,) = (house / "egs/calls/exp").glob("*/results.md")
    for backend in ("cos", "asnorm5", "plda"):
        assert f"| O | {backend}_cali |" in table.read_text()


def test_a_corpus_of_another_layout_is_one_line(house: Path, tmp_path: Path) -> None:
    bare = {name: value for name, value in ENV.items() if name != "PYTHONPATH"}  # a shell without path.sh
    for words in (["egs/calls/run.sh", "--corpus", tmp_path], ["local/prepare_calls.py", tmp_path, tmp_path / "data"]):
        done = subprocess.run(list(map(str, words)), cwd=house, capture_output=True, text=True, timeout=100, env=bare)
        assert done.returncode == 1
        message = f"{tmp_path}/train has no <speaker>/*.wav; give the folder that holds train/ and test/"
        assert done.stderr.endswith(f"prepare_calls.py: error: {message}\n")
