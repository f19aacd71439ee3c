"""The best system of speechocean762: several networks, fused; here two alike, tiny, on a corpus of synthetic voices."""

import pytest

from sv.io import read_json
from sv.metrics.results import read_results
from tests.conftest import ROOT
from tests.egs.test_study import CONFIG, corpus  # noqa: F401  # a fixture

BEST = "egs/speechocean762/run_best.sh"


@pytest.mark.recipe
def test_two_networks_are_trained_and_fused(run, corpus, tmp_path):  # noqa: F811
    for name in ("small", "large"):
        (tmp_path / f"{name}.yaml").write_text(CONFIG.format(root=ROOT))
    configs = f"{tmp_path}/small.yaml {tmp_path}/large.yaml"
    given = ["--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--configs", configs]
    result = run(BEST, *given, "--top-n", 3, "--lda-dim", 0, "--nj", 1, "--gpus", "none", "--num-threads", 1)
    assert result.returncode == 0, result.stderr[-3000:]
    found = read_results(tmp_path / "exp" / "fused" / "results.json")
    for trials in ("O.kaldi", "H.kaldi"):
        assert list(found[trials]) == ["fused"] and "cllr" in found[trials]["fused"]
        weights = read_json(tmp_path / "exp" / "fused" / "scores" / f"fused_{trials}.score.json")
        assert len(weights["weights"]) == 6
    assert result.stdout.endswith((tmp_path / "exp" / "fused" / "results.txt").read_text())


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
