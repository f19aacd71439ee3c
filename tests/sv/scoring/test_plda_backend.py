"""PLDA trained, adapted and scored, from embeddings to log-likelihood ratios."""

import json
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import ArkWriter, ScoredTrials, Vectors, read_scored_trials, read_vectors
from sv.metrics.error_rates import eer, sort_scores
from sv.scoring.cosine import load_cosine
from sv.scoring.inputs import Inputs, TrainingFiles
from sv.scoring.plda_backend import adapt_plda_folder, load_plda, train_plda_folder
from sv.scoring.plda_files import PldaBackend, read_backend
from sv.scoring.score_list import Scorer, score_list

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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plda")
    write_speakers(folder / "train", NUM_TRAIN, 0, seed=0)
    utts = write_speakers(folder / "test", 10, 0, seed=1)
    write_speakers(folder / "other", 30, 5, seed=2)
    pairs = [(x, y) for i, x in enumerate(utts) for y in utts[i + 1 :]]
    lines = [f"{x} {y} {'target' if x[:3] == y[:3] else 'nontarget'}\n" for x, y in pairs]
    (folder / "list").write_text("".join(lines))
    train_plda_folder(training_files(folder), folder / "plda", lda_dim=4)
    return folder


def training_files(folder: Path, exclude: Path | None = None) -> TrainingFiles:
    return TrainingFiles(folder / "train" / "xvector.scp", folder / "train" / "utt2spk", exclude)


def plda_scorer(folder: Path, plda_dir: Path, enroll_map: Path | None = None) -> Scorer:
    return load_plda(Inputs(folder / "test" / "xvector.scp", {"plda_dir": plda_dir}, enroll_map))


def scores_of(trials: Path, scorer: Scorer, out: Path) -> ScoredTrials:
    score_list(trials, out, scorer)
    return read_scored_trials(out)


def test_speakers_are_told_apart_where_the_cosine_fails(folder: Path) -> None:
    rates = []
    for scorer in (plda_scorer(folder, folder / "plda"), load_cosine(Inputs(folder / "test" / "xvector.scp"))):
        scores = scores_of(folder / "list", scorer, folder / "out" / "x.score")
        rates.append(eer(sort_scores(scores.values[scores.labels()], scores.values[~scores.labels()])))
    assert rates[0] < 0.6 * rates[1]


def test_score_equals_kaldis_steps_one_by_one(folder: Path) -> None:
    """Mean, LDA, length, latent space and its length, ratio: for a model of two utterances and one test."""
    (folder / "map").write_text("m s00-0 s00-1\nn s01-0\n")
    one = folder / "one"
    one.write_text("m s00-2 target\nn s00-2 nontarget\n")
    backend, vectors = read_backend(folder / "plda"), read_vectors(folder / "test" / "xvector.scp")
    scores = scores_of(one, plda_scorer(folder, folder / "plda", folder / "map"), folder / "out" / "m.score")
    expected = [
        kaldi_ratio(backend, vectors, ["s00-0", "s00-1"], "s00-2"),
        kaldi_ratio(backend, vectors, ["s01-0"], "s00-2"),
    ]
    np.testing.assert_allclose(scores.values, expected, atol=5e-5)


def kaldi_ratio(backend: PldaBackend, vectors: Vectors, enroll: list[str], test: str) -> float:
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


def test_excluded_speakers_have_no_part_in_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "exclude").write_text("s00\ns01\n")
    train_plda_folder(training_files(folder, tmp_path / "exclude"), tmp_path / "plda")
    matrix = read_vectors(folder / "train" / "xvector.scp").matrix[2 * NUM_UTTS :]
    np.testing.assert_allclose(read_backend(tmp_path / "plda").projection.mean, matrix.mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize("method", ["kaldi", "coral", "coral+"])
def test_adapted_folder_has_the_mean_of_the_other_domain(folder: Path, method: str) -> None:
    other, adapted = folder / "other" / "xvector.scp", folder / f"adapted-{method}"
    adapt_plda_folder(folder / "plda", other, adapted, method=method, options={})
    old, new = read_backend(folder / "plda"), read_backend(adapted)
    np.testing.assert_allclose(new.projection.mean, read_vectors(other).matrix.mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(new.projection.matrix, old.projection.matrix)
    assert len(scores_of(folder / "list", plda_scorer(folder, adapted), folder / "out" / "a.score")) > 0


def test_what_makes_no_sense_is_refused(folder: Path) -> None:
    for options, message in (
        ({"lda_dim": 7}, "lda_dim is 7; 40 speakers and embeddings of dimension 6"),
        ({"num_iters": 0}, "--num-iters 0: expected a whole number of at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            train_plda_folder(training_files(folder), folder / "none", **options)
    assert not (folder / "none").exists()
    with pytest.raises(UserError, match="would overwrite the PLDA it is made from"):
        adapt_plda_folder(
            folder / "plda", folder / "other" / "xvector.scp", folder / "plda", method="kaldi", options={}
        )


def test_embeddings_of_another_dimension_are_refused(folder: Path, tmp_path: Path) -> None:
    with ArkWriter(tmp_path / "xvector.ark", tmp_path / "xvector.scp") as writer:
        writer.write("x", np.ones(3, dtype=np.float32))
    message = "embeddings have dimension 3, the PLDA was trained on 6"
    with pytest.raises(UserError, match=message):
        load_plda(Inputs(tmp_path / "xvector.scp", {"plda_dir": folder / "plda"}))
    with pytest.raises(UserError, match=message):
        adapt_plda_folder(folder / "plda", tmp_path / "xvector.scp", tmp_path / "new", method="kaldi", options={})


def test_truncated_plda_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("mean.vec", "transform.mat", "plda"):
        (tmp_path / name).write_bytes((folder / "plda" / name).read_bytes())
    (tmp_path / "plda").write_bytes((tmp_path / "plda").read_bytes()[:-50])
    with pytest.raises(UserError, match="plda: truncated or damaged at byte"):
        plda_scorer(folder, tmp_path)
