"""steps/train_plda.py and adapt_plda.py; more in tests/sv/scoring/test_plda_backend.py."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sv.io import ArkWriter

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_options_of_training_and_adapting_reach_the_folders(step: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    utts = [f"{speaker}{number}" for speaker in "abcdefgh" for number in range(4)]
    with ArkWriter(tmp_path / "xvector.ark", tmp_path / "xvector.scp") as writer:
        for utt, vector in zip(utts, rng.normal(size=(8, 1, 3)).repeat(4, axis=1).reshape(-1, 3), strict=True):
            writer.write(utt, (vector + 0.5 * rng.normal(size=3)).astype(np.float32))
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in utts))
    (tmp_path / "list").write_text("a0 a1 target\na0 b1 nontarget\n")
    vectors, plda, adapted = tmp_path / "xvector.scp", tmp_path / "plda", tmp_path / "adapted"
    options = ["--lda-dim", 2, "--whiten", "true", "--length-norm", "false", "--num-iters", 3]
    result = step("steps/train_plda.py", *options, vectors, tmp_path, plda)
    assert result.returncode == 0 and "PLDA of dimension 2 in" in result.stderr, result.stderr
    found = json.loads((plda / ".done").read_text())["options"]
    names = ("lda_dim", "whiten", "length_norm", "num_iters", "exclude_sha256")
    assert [found[name] for name in names] == [2, True, False, 3, None]
    result = step("steps/adapt_plda.py", "--within-scale", 0.75, plda, vectors, adapted)
    assert result.returncode == 0 and "PLDA adapted to 32 embeddings" in result.stderr, result.stderr
    found = json.loads((adapted / ".done").read_text())["options"]
    assert [found[name] for name in ("method", "within_scale", "between_scale")] == ["kaldi", 0.75, 0.7]
    words = ["--backend", "plda", "--plda-dir", adapted, tmp_path / "list", vectors, tmp_path / "x.score"]
    result = step("steps/score_trials.py", *words)
    assert result.returncode == 0 and "2 scores in" in result.stderr, result.stderr
    found = json.loads((tmp_path / ".done.x.score").read_text())["options"]
    assert found["normalize_length"] is True and found["length_norm"] is False
    for words, message in (
        (["--method", "corall"], "unknown PLDA adaptation 'corall'; did you mean 'coral'? known: kaldi, coral, coral+"),
        (["--within-scale", -1], "within_scale -1.0: expected a number that is not below 0"),
    ):
        result = step("steps/adapt_plda.py", *words, tmp_path / "none", vectors, adapted)
        assert (result.returncode, result.stderr) == (2, f"adapt_plda.py: error: {message}\n")
    result = step("steps/train_plda.py", "--num-iters", 0, vectors, tmp_path, tmp_path / "none")
    message = "train_plda.py: error: --num-iters 0: expected a whole number of at least 1\n"
    assert (result.returncode, result.stderr) == (2, message)
