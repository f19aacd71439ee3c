"""steps/train_plda.py, adapt_plda.py and score_plda.py, from embeddings to log-likelihood ratios."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.io import ArkWriter, Vectors, read_scored_trials, read_vectors
from sv.metrics.error_rates import eer, sort_scores
from sv.scoring.plda_files import read_backend

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow

DIM, NUM_TRAIN, NUM_UTTS = 6, 40, 5


def write_speakers(folder: Path, num_speakers: int, shift: float, seed: int) -> list[str]:
    """Speakers that differ in three dimensions, channels in the others; the utterances, and utt2spk beside."""
    rng = np.random.default_rng(seed)
    utts = []
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as writer:
        for speaker in range(num_speakers):
            center = rng.normal(size=DIM) * [3, 3, 3, 0, 0, 0]
            for number in range(NUM_UTTS):
                utts.append(f"s{speaker:02d}-{number}")
                writer.write(utts[-1], (center + rng.normal(size=DIM) * [1, 1, 1, 4, 4, 4] + shift).astype(np.float32))
    (folder / "utt2spk").write_text("".join(f"{utt} {utt[:3]}\n" for utt in utts))
    return utts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    folder = tmp_path_factory.mktemp("plda")
    write_speakers(folder / "train", NUM_TRAIN, 0, seed=0)
    utts = write_speakers(folder / "test", 10, 0, seed=1)
    write_speakers(folder / "other", 30, 5, seed=2)
    pairs = [(x, y) for i, x in enumerate(utts) for y in utts[i + 1 :]]
    lines = [f"{x} {y} {'target' if x[:3] == y[:3] else 'nontarget'}\n" for x, y in pairs]
    (folder / "list").write_text("".join(lines))
    assert train(run, folder, "--lda-dim", 4).returncode == 0
    return folder


def train(run: Run, folder: Path, *options: object, out: str = "plda") -> subprocess.CompletedProcess[str]:
    return run(
        "steps/train_plda.py", *options, folder / "train" / "xvector.scp", folder / "train" / "utt2spk", folder / out
    )


def score(run: Run, folder: Path, plda: Path, name: str, *options: object) -> subprocess.CompletedProcess[str]:
    vectors = folder / "test" / "xvector.scp"
    return run("steps/score_plda.py", *options, folder / "list", vectors, plda, folder / "out" / name)


def test_speakers_are_told_apart_where_the_cosine_fails(run: Run, folder: Path) -> None:
    assert score(run, folder, folder / "plda", "x.score").returncode == 0
    scores = read_scored_trials(folder / "out" / "x.score")
    assert scores.is_target is not None
    plda_eer = eer(sort_scores(scores.values[scores.is_target], scores.values[~scores.is_target]))
    cosines = folder / "out" / "cos.score"
    run("steps/score_cosine.py", folder / "list", folder / "test" / "xvector.scp", cosines)
    cosine = read_scored_trials(cosines)
    cosine_eer = eer(sort_scores(cosine.values[scores.is_target], cosine.values[~scores.is_target]))
    assert plda_eer < 0.6 * cosine_eer


def test_score_equals_kaldis_steps_one_by_one(run: Run, folder: Path) -> None:
    """Mean, LDA, length, latent space and its length, ratio: for a model of two utterances and one test."""
    (folder / "map").write_text("m s00-0 s00-1\nn s01-0\n")
    one = folder / "one"
    one.write_text("m s00-2 target\nn s00-2 nontarget\n")
    backend, vectors = read_backend(folder / "plda"), read_vectors(folder / "test" / "xvector.scp")
    scores = folder / "out" / "m.score"
    words = [folder / "test" / "xvector.scp", folder / "plda", scores, "--enroll-map", folder / "map"]
    result = run("steps/score_plda.py", one, *words)
    assert result.returncode == 0, result.stderr
    expected = [
        kaldi_ratio(backend, vectors, ["s00-0", "s00-1"], "s00-2"),
        kaldi_ratio(backend, vectors, ["s01-0"], "s00-2"),
    ]
    np.testing.assert_allclose(read_scored_trials(scores).values, expected, atol=5e-5)


def kaldi_ratio(backend, vectors: Vectors, enroll: list[str], test: str) -> float:
    psi, plda = backend.plda.psi, backend.plda

    def latent(utts: list[str]) -> np.ndarray:
        x = np.mean([vectors.matrix[vectors.index[utt]] for utt in utts], axis=0, dtype=np.float64)
        x = backend.projection.matrix @ (x - backend.projection.mean)
        x = x * np.sqrt(len(x)) / np.linalg.norm(x)
        u = plda.transform @ (x - plda.mean)
        return u * np.sqrt(len(u) / np.sum(u**2 / (psi + 1 / len(utts))))

    n = len(enroll)
    e, t = latent(enroll), latent([test])
    variance = 1 + psi / (n * psi + 1)
    same = np.log(variance) + (t - n * psi / (n * psi + 1) * e) ** 2 / variance
    return float(-0.5 * (same - np.log(1 + psi) - t**2 / (1 + psi)).sum())


def test_mark_tells_how_it_was_trained(folder: Path) -> None:
    options = json.loads((folder / "plda" / ".done").read_text())["options"]
    assert options["lda_dim"] == 4 and options["length_norm"] is True and options["num_iters"] == 10


@pytest.mark.parametrize("method", ["kaldi", "coral", "coral+"])
def test_adapted_folder_has_the_mean_of_the_other_domain(run: Run, folder: Path, method: str) -> None:
    other, adapted = folder / "other" / "xvector.scp", folder / f"adapted-{method}"
    result = run("steps/adapt_plda.py", "--method", method, folder / "plda", other, adapted)
    assert result.returncode == 0, result.stderr
    old, new = read_backend(folder / "plda"), read_backend(adapted)
    np.testing.assert_allclose(new.projection.mean, read_vectors(other).matrix.mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(new.projection.matrix, old.projection.matrix)
    assert score(run, folder, adapted, f"{method}.score").returncode == 0


def refused(result: subprocess.CompletedProcess[str], message: str) -> None:
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if "error: " in line]
    assert result.stderr.splitlines()[-1] == line and message in line


def test_lda_dim_above_the_speakers_names_the_most(run: Run, folder: Path) -> None:
    refused(train(run, folder, "--lda-dim", 7, out="none"), "lda_dim is 7; 40 speakers and embeddings of dimension 6")
    assert not (folder / "none").exists()


def test_embeddings_of_another_dimension_are_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    with ArkWriter(tmp_path / "xvector.ark", tmp_path / "xvector.scp") as writer:
        writer.write("x", np.ones(3, dtype=np.float32))
    words = [folder / "list", tmp_path / "xvector.scp", folder / "plda", tmp_path / "x.score"]
    refused(run("steps/score_plda.py", *words), "embeddings have dimension 3, the PLDA was trained on 6")
    words = [folder / "plda", tmp_path / "xvector.scp", tmp_path / "adapted"]
    refused(run("steps/adapt_plda.py", *words), "embeddings have dimension 3, the PLDA was trained on 6")


def test_truncated_plda_is_one_line(run: Run, folder: Path, tmp_path: Path) -> None:
    for name in ("mean.vec", "transform.mat", "plda"):
        (tmp_path / name).write_bytes((folder / "plda" / name).read_bytes())
    (tmp_path / "plda").write_bytes((tmp_path / "plda").read_bytes()[:-50])
    refused(score(run, folder, tmp_path, "t.score"), "plda: truncated or damaged at byte")
    assert not (folder / "out" / "t.score").exists()


def test_adapting_onto_itself_is_refused(run: Run, folder: Path) -> None:
    result = run("steps/adapt_plda.py", folder / "plda", folder / "other" / "xvector.scp", folder / "plda")
    refused(result, "would overwrite the PLDA it is made from")


def test_wrong_number_of_iterations_is_refused(run: Run, folder: Path) -> None:
    refused(train(run, folder, "--num-iters", 0, out="none"), "--num-iters is 0; give 1 or more")
