"""steps/score.py: its calls, and what is wrong with one; what it does is tested in tests/sv/scoring/test_system.py."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.io import ArkWriter

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_help_names_back_ends_and_their_options(step: Run) -> None:
    text = step("steps/score.py", "--help").stdout
    assert "--top-n N" in text and "--lda-dim N" in text
    for name in ("cos", "asnorm", "snorm", "znorm", "tnorm", "plda"):
        assert f"\n  {name} " in text


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["exp", "train", "test"], 2, "score.py: error: no trial list to score; give names"),
        (["--backend", "pldaa", "exp", "train", "test", "O"], 2, "unknown back-end 'pldaa'; did you mean 'plda'?"),
        (["--prepare", "yes", "exp", "train", "test", "O"], 2, "invalid true_or_false value: 'yes'"),
        (["--calibrate-on", "mine.kaldi", "exp", "train", "test"], 2, "it must be heldout.kaldi or heldout_X.kaldi"),
        (["--same", "spk2gender", "exp", "train", "test", "O"], 2, "--same is for the list that --prepare true"),
        (["exp", "train"], 2, "the following arguments are required: test_data"),
    ],
)
def test_a_wrong_call_says_why_in_a_line(step: Run, words: list[str], status: int, message: str) -> None:
    result = step("steps/score.py", *words)
    assert result.returncode == status and message in result.stderr.splitlines()[-1]


def test_stages_5_to_7_of_a_recipe(step: Run, tmp_path: Path) -> None:
    exp, train, test = (tmp_path / name for name in ("exp", "train", "test"))
    for folder, letters in ((train, "abcdef"), (test, "xyz")):
        rng, scp = np.random.default_rng(len(letters)), exp / "embeddings" / folder.name / "xvector.scp"
        utts = [f"{letter}{number}" for letter in letters for number in range(5)]
        with ArkWriter(scp.with_suffix(".ark"), scp) as writer:
            for utt in utts:
                writer.write(utt, (ord(utt[0]) % 5 + 0.3 * rng.normal(size=3)).astype(np.float32))
        folder.mkdir()
        (folder / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in utts))
    (train / "spk2gender").write_text("".join(f"{letter} f\n" for letter in "abcdef"))
    (exp / "heldout_spk").write_text("a\nb\n")
    (test / "trials").mkdir()
    (test / "trials" / "O.kaldi").write_text("x0 x1 target\nx0 y1 nontarget\nz0 z1 target\nz0 y1 nontarget\n")
    words = [exp, train, test, "O.kaldi"]
    means = exp / "embeddings" / "train"
    assert step("steps/compute_mean.py", means / "xvector.scp", means / "mean_vec.npy").returncode == 0
    result = step("steps/score.py", "--prepare", "true", "--backend", "cos asnorm plda", "--top-n", 3, *words)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if line.startswith("----")] == [
        f"---- {prefix}O.kaldi.score -----" for prefix in ("", "train_asnorm3_", "plda_")
    ]
    other = step("steps/score.py", "--backend", "plda", "--lda-dim", 1, *words)
    told = f"{exp}/plda was made with --lda-dim 0, not 1; score with --prepare true to make it again, or leave"
    assert other.returncode == 1 and told in other.stderr
    options = ["--backend", "cos asnorm plda", "--top-n", 3, "--calibrate-on", "heldout_H.kaldi"]
    result = step("steps/score.py", *options, *words)
    assert result.returncode == 1
    told = "heldout_H.kaldi does not exist; make it with steps/make_calibration_trials.py (stage 7)"
    assert result.stderr == f"score.py: error: {exp}/calibration/{told}\n"
    result = step("steps/score.py", "--prepare", "true", *options, "--same", "spk2gender", *words, "O.kaldi")
    assert result.returncode == 0, result.stderr
    assert list(json.loads((exp / "thresholds.json").read_text())) == ["cos_H", "asnorm3_H", "plda_H"]
    entries = json.loads((exp / "results.json").read_text())["results"]["O.kaldi"]
    assert list(entries) == ["asnorm3", "asnorm3_cali", "cos", "cos_cali", "fused", "plda", "plda_cali"]
    assert "cllr" in entries["fused"] and "cllr" not in entries["cos"]  # fused scores are log-likelihood ratios
    prefixes = ("", "train_asnorm3_", "plda_", "fused_")
    *scores, fused = (np.loadtxt(exp / f"scores/{name}O.kaldi.score", usecols=2) for name in prefixes)
    weights = json.loads((exp / "scores/fused_O.kaldi.score.json").read_text())
    np.testing.assert_allclose(np.transpose(scores) @ weights["weights"] + weights["offset"], fused, atol=1e-4)
