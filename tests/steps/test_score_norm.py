"""steps/compute_spk_means.py and steps/score_norm.py on embeddings one can check by hand."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.io import ArkWriter, read_vectors

Run = Callable[..., subprocess.CompletedProcess[str]]

TRAIN = {"a1": [3.0, 0.0], "a2": [5.0, 0.0], "b1": [0.0, 2.0], "c1": [0.0, -9.0], "d1": [-1.0, 0.0]}
TEST = {"x": [2.0, 0.0], "y": [0.6, 0.8]}


def write_vectors(folder: Path, vectors: dict[str, list[float]]) -> None:
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as writer:
        for utt, vector in vectors.items():
            writer.write(utt, np.array(vector, dtype=np.float32))


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> Path:
    write_vectors(tmp_path / "train", TRAIN)
    write_vectors(tmp_path / "test", TEST)
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in TRAIN))
    (tmp_path / "list").write_text("x y target\ny x nontarget\n")
    (tmp_path / "heldout_spk").write_text("d\n")
    result = compute_means(run, tmp_path, "--exclude", tmp_path / "heldout_spk")
    assert result.returncode == 0, result.stderr
    return tmp_path


def compute_means(run: Run, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    train = folder / "train"
    return run(
        "steps/compute_spk_means.py", *options, train / "xvector.scp", folder / "utt2spk", train / "spk_xvector.scp"
    )


def score(run: Run, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    cohort, scores = folder / "train" / "spk_xvector.scp", folder / "out" / "x.score"
    return run("steps/score_norm.py", *options, folder / "list", folder / "test" / "xvector.scp", cohort, scores)


def test_means_are_those_of_the_speakers(folder: Path) -> None:
    means = read_vectors(folder / "train" / "spk_xvector.scp")
    assert means.ids == ["a", "b", "c"]
    assert means.matrix.tolist() == [[4, 0], [0, 2], [0, -9]]


def test_scores_are_normalized(run: Run, folder: Path) -> None:
    """x scores 1, 0, 0 with the cohort, y 0.6, 0.8, -0.8; the two nearest: (1, 0) and (0.8, 0.6)."""
    result = score(run, folder, "--top-n", 2)
    assert result.returncode == 0, result.stderr
    expected = ((0.6 - 0.5) / 0.5 + (0.6 - 0.7) / 0.1) / 2
    assert (folder / "out" / "x.score").read_text() == (
        f"x y {expected:.5f} target 2.0000 1.0000 0.5000 0.7000\n"
        f"y x {expected:.5f} nontarget 1.0000 2.0000 0.7000 0.5000\n"
    )
    options = json.loads((folder / "out" / ".done.x.score").read_text())["options"]
    assert options["method"] == "asnorm" and options["top_n"] == 2 and len(options["cohort_sha256"]) == 64


def test_list_without_labels_gives_three_columns(run: Run, folder: Path) -> None:
    (folder / "list").write_text("x y\n")
    score(run, folder, "--method", "tnorm")
    mean, std = 0.2, np.std([0.6, 0.8, -0.8])
    assert (folder / "out" / "x.score").read_text() == f"x y {(0.6 - mean) / std:.5f}\n"


def test_models_of_several_utterances(run: Run, folder: Path) -> None:
    (folder / "map").write_text("m x y\n")
    (folder / "list").write_text("m y target\nm x nontarget\n")
    result = score(run, folder, "--top-n", 2, "--enroll-map", folder / "map")
    assert result.returncode == 0, result.stderr
    model, y = np.array([1.6, 0.8]) / np.sqrt(3.2), np.array([0.6, 0.8])
    expected = ((model @ y - model.mean()) / model.std() + (model @ y - 0.7) / 0.1) / 2
    text = (folder / "out" / "x.score").read_text().splitlines()[0].split()
    assert float(text[2]) == pytest.approx(expected, abs=1e-4)
    assert text[4:] == ["1.5000", "1.0000", f"{model.mean():.4f}", "0.7000"]


def top_n_above_cohort(folder: Path) -> str:
    return "spk_xvector.scp has 3 speakers; set it to 2 to 3"


def empty_cohort(folder: Path) -> str:
    (folder / "train" / "spk_xvector.scp").write_text("")
    return "spk_xvector.scp is empty"


def missing_cohort(folder: Path) -> str:
    (folder / "train" / "spk_xvector.scp").unlink()
    return "spk_xvector.scp does not exist; make it with steps/compute_spk_means.py (stage 6)"


def zero_mean_speaker(folder: Path) -> str:
    with ArkWriter(folder / "train" / "spk_xvector.ark", folder / "train" / "spk_xvector.scp") as writer:
        writer.write("a", np.array([1, 2], dtype=np.float32))
        writer.write("b", np.zeros(2, dtype=np.float32))
    return "spk_xvector.scp: the embedding of b is zero"


def cohort_of_other_dimension(folder: Path) -> str:
    with ArkWriter(folder / "train" / "spk_xvector.ark", folder / "train" / "spk_xvector.scp") as writer:
        for speaker in "abc":
            writer.write(speaker, np.arange(1, 4, dtype=np.float32))
    return "spk_xvector.scp: vectors of dimension 3, the embeddings have 2"


def cohort_with_nan(folder: Path) -> str:
    ark = folder / "train" / "spk_xvector.ark"
    ark.write_bytes(ark.read_bytes()[:-4] + np.array([np.nan], "<f4").tobytes())
    return "c has NaN or infinite values"


def targets_alone(folder: Path) -> str:
    (folder / "list").write_text("x y target\n")
    return "list: all trials are target; EER and minDCF need nontarget trials too"


def unknown_utterance(folder: Path) -> str:
    (folder / "list").write_text("x z target\nx y nontarget\n")
    return "list:1: z is not in"


BAD = [top_n_above_cohort, empty_cohort, missing_cohort, zero_mean_speaker, cohort_with_nan, cohort_of_other_dimension]
BAD += [targets_alone, unknown_utterance]


@pytest.mark.parametrize("spoil", BAD)
def test_bad_input_is_one_line_and_leaves_no_scores(run: Run, folder: Path, spoil: Callable[[Path], str]) -> None:
    message = spoil(folder)
    result = score(run, folder, "--top-n", 4 if spoil is top_n_above_cohort else 2)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("score_norm.py: error: ") and message in line
    assert not list(folder.glob("out/*")) and not list(folder.glob("out/.*"))


def test_means_of_an_utterance_without_speaker(run: Run, folder: Path) -> None:
    (folder / "utt2spk").write_text("a1 a\n")
    result = compute_means(run, folder)
    assert result.returncode == 1
    assert "utt2spk: a2 of" in result.stderr and "(4 such utterances)" in result.stderr
