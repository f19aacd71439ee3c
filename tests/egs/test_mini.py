"""The mini recipe, as a newcomer runs it: from nothing to a table of results."""

import json
import shutil

import pytest

pytestmark = pytest.mark.recipe


@pytest.fixture(scope="module")
def mini(run, tmp_path_factory):
    """A finished run in a folder of its own; (folder, what the recipe printed)."""
    folder = tmp_path_factory.mktemp("mini")
    result = run("egs/mini/run.sh", *options(folder), timeout=900)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, result


def options(folder):
    return ["--corpora", folder / "corpora", "--data", folder / "data", "--fbank", folder / "fbank"] + [
        "--exp-dir",
        folder / "exp",
    ]


def eer_of(folder, trials="vox1_O_cleaned.kaldi"):
    results = json.loads((folder / "results.json").read_text())
    return next(r["eer"] for r in results["results"] if r["trials"] == trials)


def test_ends_with_a_table(mini):
    folder, result = mini
    assert "vox1_O_cleaned" in result.stdout
    assert "minDCF" in result.stdout
    assert (folder / "exp" / "results.md").exists()


def test_training_at_least_halves_the_eer_of_the_untrained_encoder(mini, run):
    folder, _ = mini
    trained = eer_of(folder / "exp")
    untrained_exp = folder / "untrained"
    (untrained_exp / "models").mkdir(parents=True)
    shutil.copy(folder / "exp" / "config.yaml", untrained_exp)
    for name in ("model_0.pt", "model_0.pt.sha256"):
        shutil.copy(folder / "exp" / "models" / name, untrained_exp / "models" / name.replace("model_0", "avg_model"))
    data, trials = folder / "data" / "vox1", folder / "data" / "vox1" / "trials"
    for step in (
        ["steps/extract_embeddings.sh", "--nj", 2, untrained_exp, data],
        ["steps/score_cosine.py", trials / "vox1_O_cleaned.kaldi", untrained_exp / "embeddings/vox1/xvector.scp"]
        + [untrained_exp / "scores/vox1_O_cleaned.kaldi.score"],
        ["steps/compute_metrics.py", untrained_exp, "vox1_cos_result", trials, "vox1_O_cleaned.kaldi"],
    ):
        result = run(*step)
        assert result.returncode == 0, result.stderr[-2000:]
    untrained = eer_of(untrained_exp)
    print(f"EER trained {trained:.2f} %, untrained {untrained:.2f} %")
    assert 2 <= trained <= 20
    assert trained <= untrained / 2


def test_a_second_run_does_nothing_again_and_ends_alike(mini, run):
    folder, first = mini
    weights = (folder / "exp" / "models" / "avg_model.pt").read_bytes()
    second = run("egs/mini/run.sh", *options(folder), timeout=300)
    assert second.returncode == 0, second.stderr[-2000:]
    assert (folder / "exp" / "models" / "avg_model.pt").read_bytes() == weights
    assert second.stdout == first.stdout
