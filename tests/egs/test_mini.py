"""The mini recipe, as a newcomer runs it: from nothing to a table of results."""

import pytest

from tests.egs.recipe import eer_of, evaluate_untrained

pytestmark = pytest.mark.recipe


@pytest.fixture(scope="module")
def mini(run, tmp_path_factory):
    """A finished run in a folder of its own; (folder, what the recipe printed)."""
    folder = tmp_path_factory.mktemp("mini")
    result = run("egs/mini/run.sh", *options(folder), timeout=900)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, result


def options(folder):
    names = {"--corpora": "corpora", "--data": "data", "--exp-dir": "exp"}
    return [word for option, name in names.items() for word in (option, folder / name)]


def test_ends_with_a_table(mini):
    folder, result = mini
    assert "vox1_O_cleaned" in result.stdout
    assert "minDCF" in result.stdout
    for backend in ("cos", "asnorm20", "plda"):
        assert f"| vox1_O_cleaned | {backend} |" in result.stdout
    assert (folder / "exp" / "results.md").exists()


def test_training_at_least_halves_the_eer_of_the_untrained_encoder(mini, run):
    folder, _ = mini
    trained = eer_of(folder / "exp", "vox1_O_cleaned.kaldi")
    untrained = evaluate_untrained(run, folder / "exp", folder / "data" / "vox1", "vox1_O_cleaned.kaldi")
    print(f"EER trained {trained:.2f} %, untrained {untrained:.2f} %")
    assert 2 <= trained <= 20
    assert trained <= untrained / 2


def test_a_second_run_does_nothing_again_and_ends_alike(mini, run):
    folder, first = mini
    made = [
        *folder.glob("corpora/**/*.wav"),
        *folder.glob("data/fbank/**/*.ark"),
        *folder.glob("exp/models/model_*.pt"),
    ]
    made += folder.glob("exp/embeddings/*/xvector.ark")
    before = {path: path.stat().st_mtime_ns for path in made}
    second = run("egs/mini/run.sh", *options(folder), timeout=300)
    assert second.returncode == 0, second.stderr[-2000:]
    assert {path: path.stat().st_mtime_ns for path in made} == before
    assert second.stdout == first.stdout
