"""A recipe whose folders another one uses stops before it does anything, and says which one that is."""

import os
import re
import subprocess

import pytest

HOLDER = """
set -euo pipefail
# Options
. tools/parse_options.sh
. tools/guard.sh
hold_lock "$LOCKED/.run.lock" "it is in use"
echo held
read -r _ || true
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mini", "speechocean762", "voxceleb"])
@pytest.mark.parametrize(("folder", "doing"), [("data", "prepared"), ("exp", "made")])
def test_the_second_recipe_says_who_is_at_work(run, root, tmp_path, recipe, folder, doing):
    (tmp_path / "first.sh").write_text(HOLDER)
    first = subprocess.Popen(
        ["bash", tmp_path / "first.sh"],
        cwd=root,
        env={**os.environ, "LOCKED": str(tmp_path / folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with first:
        assert first.stdout is not None and first.stdout.readline() == b"held\n"
        words = ["--stage", "1", "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp"]
        corpora = {"voxceleb": ["--vox1", tmp_path, "--vox2", tmp_path], "speechocean762": ["--corpus", tmp_path]}
        words += corpora.get(recipe, [])  # which it looks for first
        second = run(f"egs/{recipe}/run.sh", *words)
    assert second.returncode == 1
    who = rf"process {first.pid} on {re.escape(os.uname().nodename)} since .*first.sh\); wait for its end, or end it"
    assert re.fullmatch(rf".*error: {tmp_path}/{folder} is being {doing} by {who}\n", second.stderr), second.stderr
    assert {path.name for path in (tmp_path / folder).iterdir()} == {".run.lock"}
