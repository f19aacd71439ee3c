"""The speechocean762 recipe on real speech: a short training has to beat the untrained encoder clearly."""

import pytest

from tests.egs.recipe import eer_of, evaluate_untrained

pytestmark = pytest.mark.recipe


def test_three_epochs_lower_the_eer_by_five_points(run, corpora, tmp_path):
    result = run(
        *["egs/speechocean762/run.sh", "--corpus", corpora / "speechocean762", "--num-epochs", 3, "--num-avg", 1],
        *["--data", tmp_path / "data", "--fbank", tmp_path / "fbank", "--exp-dir", tmp_path / "exp"],
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    trained = eer_of(tmp_path / "exp", "O.kaldi")
    untrained = evaluate_untrained(run, tmp_path / "exp", tmp_path / "data" / "test", "O.kaldi")
    print(f"EER after 3 epochs {trained:.2f} %, untrained {untrained:.2f} %")
    assert trained <= untrained - 5
