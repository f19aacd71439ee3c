"""The best system of speechocean762: two networks, each trained by run.sh, and the fusion of their scores."""

import os
import shutil
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from sv.io import read_json, write_table
from sv.metrics.results import read_results
from tests.conftest import ROOT

BEST = "egs/speechocean762/run_best.sh"
RECIPE = """#!/usr/bin/env bash
# In place of the recipe: leave scores, and note the call.
printf '%s\\n' "$*" >>{folder}/calls
while (($# > 0)); do
  case $1 in --exp-dir) exp_dir=$2 ;; esac
  shift 2
done
mkdir -p "$exp_dir"
cp -r {folder}/scores "$exp_dir/scores"
"""


def write_scores(folder, trials):
    """Scores of three back-ends for the lists of a system, all of the same trials."""
    rng, folder = np.random.default_rng(0), folder / "scores"
    folder.mkdir()
    for prefix in ("", "train_asnorm3_", "plda_"):
        for name in ("heldout", "heldout_H", "O", "H"):
            lines = [
                f"{line.rsplit(' ', 1)[0]} {rng.normal(2 * line.endswith(' target')):.5f} {line.split()[2]}\n"
                for line in trials
            ]
            (folder / f"{prefix}{name}.kaldi.score").write_text("".join(lines))


def test_the_scores_of_two_networks_are_fused(tmp_path):
    for name in ("local", "path.sh", "steps", "sv", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    egs, data, exp = tmp_path / "egs" / "speechocean762", tmp_path / "data", tmp_path / "exp"
    egs.mkdir(parents=True)
    shutil.copy(ROOT / BEST, egs)
    (egs / "run.sh").write_text(RECIPE.format(folder=tmp_path))
    utts = {f"{spk}{n}": spk for spk in "ABCDEF" for n in range(4)}
    trials = [f"{a} {b} {'target' if a[0] == b[0] else 'nontarget'}" for a, b in combinations(utts, 2)]
    (data / "test" / "trials").mkdir(parents=True)
    write_table(data / "test" / "utt2spk", utts)
    for name in ("O", "H"):
        (data / "test" / "trials" / f"{name}.kaldi").write_text("".join(f"{line}\n" for line in trials))
    write_scores(tmp_path, trials)
    for name in ("small", "large"):
        (tmp_path / f"{name}.yaml").touch()
    configs = f"{tmp_path}/small.yaml {tmp_path}/large.yaml"
    given = ["--data", data, "--exp-dir", exp, "--configs", configs, "--set", "precision=bf16", "--seed", 7]
    command = ["bash", egs / "run_best.sh", *given, "--top-n", 3, "--num-threads", 1]
    environment = {**os.environ, "SV_PYTHON": sys.executable}
    result = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    calls = (tmp_path / "calls").read_text().splitlines()
    for call, name in zip(calls, ("small", "large"), strict=True):
        for words in (f"--config {tmp_path}/{name}.yaml", f"--exp-dir {exp}/{name}", "--stop-stage 7", "--seed 7"):
            assert f"{words} " in f"{call} "
        assert "--set precision=bf16 " in call and "--num-threads 1 " in call and "--top-n 3 " in call
    found = read_results(exp / "fused" / "results.json")
    for name in ("O.kaldi", "H.kaldi"):
        assert list(found[name]) == ["fused"] and "cllr" in found[name]["fused"]
        assert found[name]["fused"]["eer"] < 16  # that of a single back-end, whose scores are two deviations apart
        assert len(read_json(exp / "fused" / "scores" / f"fused_{name}.score.json")["weights"]) == 6
    assert result.stdout == (exp / "fused" / "results.txt").read_text()


def test_a_single_network_is_refused(run):
    result = run(BEST, "--configs", "a.yaml")
    told = "run_best.sh: error: --configs a.yaml: give two or more, whose scores are fused\n"
    assert (result.returncode, result.stderr) == (2, told)


@pytest.mark.parametrize(
    ("configs", "status", "told"),
    [
        ("a/net.yaml b/net.yaml", 2, "--configs a/net.yaml b/net.yaml: two are named net; give each network a name"),
        ("there.yaml gone.yaml", 1, "--configs: {folder}/gone.yaml does not exist"),
    ],
)
def test_configs_are_checked_before_a_training(run, tmp_path, configs, status, told):
    (tmp_path / "there.yaml").touch()
    result = run(ROOT / BEST, "--configs", configs, "--corpus", "none", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (status, 1)
    assert result.stderr.startswith(f"run_best.sh: error: {told.format(folder=tmp_path)}")
