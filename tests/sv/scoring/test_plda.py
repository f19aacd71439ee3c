"""PLDA against Gaussian densities worked out in full, and against data drawn from a known model."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import Trials, read_trials
from sv.scoring.plda import Plda, PldaScorer, from_covariances, log_likelihood, train_plda
from sv.scoring.speakers import ClassStats, class_stats

DIM = 5


def random_covariance(seed: int, scale: float = 1.0) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(DIM, 2 * DIM))
    return scale * factor @ factor.T / (2 * DIM)


@pytest.fixture
def plda() -> Plda:
    return from_covariances(np.arange(DIM) / 3.0, random_covariance(1), random_covariance(2, 2.0))


def draw(plda: Plda, counts: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Utterances of speakers of so many utterances each, and whose they are."""
    rng = np.random.default_rng(seed)
    speakers = rng.multivariate_normal(plda.mean, plda.between, len(counts))
    speaker = np.repeat(np.arange(len(counts)), counts)
    noise = rng.multivariate_normal(np.zeros(plda.dim), plda.within, len(speaker))
    return (speakers[speaker] + noise).astype(np.float32), speaker


def joint_density(plda: Plda, groups: list[np.ndarray]) -> float:
    """Log-density of utterances, those of a group being of one speaker: one Gaussian over all their values."""
    total = 0.0
    for group in groups:
        n = len(group)
        covariance = np.kron(np.eye(n), plda.within) + np.kron(np.ones((n, n)), plda.between)
        apart = group.ravel() - np.tile(plda.mean, n)
        total -= (apart @ np.linalg.solve(covariance, apart) + np.linalg.slogdet(2 * np.pi * covariance)[1]) / 2
    return total


def list_of(folder: Path, pairs: list[tuple[str, str]], tests: list[str], models: list[str] | None = None) -> Trials:
    path = folder / "trials"
    path.write_text("".join(f"{x} {y}\n" for x, y in pairs))
    (block,) = read_trials(path, tests, known_enroll=models)
    return block


def test_covariances_come_back(plda: Plda) -> None:
    np.testing.assert_allclose(plda.within, random_covariance(1), atol=1e-12)
    np.testing.assert_allclose(plda.between, random_covariance(2, 2.0), atol=1e-12)
    np.testing.assert_allclose(plda.transform @ plda.within @ plda.transform.T, np.eye(DIM), atol=1e-12)
    assert (np.diff(plda.psi) <= 0).all()


def test_ratio_equals_the_gaussian_densities(tmp_path: Path, plda: Plda) -> None:
    vectors, _ = draw(plda, [2, 2, 2], seed=3)
    names = [f"u{i}" for i in range(6)]
    pairs = [(x, y) for x in range(6) for y in range(6)]
    block = list_of(tmp_path, [(names[x], names[y]) for x, y in pairs], names)
    scores = PldaScorer(plda, plda.latent(vectors, normalize=False))(block)
    assert scores.dtype == np.float32
    wide = vectors.astype(np.float64)
    expected = [joint_density(plda, [wide[[x, y]]]) - joint_density(plda, [wide[[x]], wide[[y]]]) for x, y in pairs]
    np.testing.assert_allclose(scores, expected, atol=2e-5)


@pytest.mark.parametrize("counts", [[3, 3], [1, 4], [2, 1]])
def test_ratio_of_several_enroll_utterances_equals_the_densities(tmp_path: Path, plda: Plda, counts: list[int]) -> None:
    vectors, speaker = draw(plda, counts, seed=4)
    tests, _ = draw(plda, [1, 1, 1], seed=5)
    groups = [vectors[speaker == number].astype(np.float64) for number in range(len(counts))]
    means = np.stack([group.mean(axis=0) for group in groups]).astype(np.float32)
    pairs = [(m, t) for m in range(2) for t in range(3)]
    block = list_of(tmp_path, [(f"m{m}", f"t{t}") for m, t in pairs], ["t0", "t1", "t2"], ["m0", "m1"])
    numbers = np.array(counts)
    scorer = PldaScorer(
        plda, plda.latent(tests, normalize=False), plda.latent(means, numbers, normalize=False), numbers
    )
    expected = []
    for m, t in pairs:
        test = tests[[t]].astype(np.float64)
        together = np.vstack([groups[m], test])
        expected.append(joint_density(plda, [together]) - joint_density(plda, [groups[m], test]))
    np.testing.assert_allclose(scorer(block), expected, atol=5e-5)


def test_kaldis_length_normalization(plda: Plda) -> None:
    """The squared length under the covariance of a mean of n, Psi + 1/n, is the dimension."""
    vectors, _ = draw(plda, [1, 1, 1], seed=6)
    counts = np.array([1, 4, 20])
    plain, scaled = plda.latent(vectors, counts, normalize=False), plda.latent(vectors, counts)
    for row, n in enumerate(counts):
        inverse = np.linalg.inv(np.diag(plda.psi) + np.eye(DIM) / n)
        factor = np.sqrt(DIM / (plain[row] @ inverse @ plain[row]))
        np.testing.assert_allclose(scaled[row], factor * plain[row], rtol=1e-5)
        assert scaled[row] @ inverse @ scaled[row] == pytest.approx(DIM, rel=1e-5)


def test_likelihood_equals_the_joint_density(plda: Plda) -> None:
    counts = [1, 2, 3, 3, 5]
    vectors, speaker = draw(plda, counts, seed=7)
    stats = class_stats(vectors, speaker)
    wide = vectors.astype(np.float64)
    centered = Plda(stats.means.mean(axis=0), plda.transform, plda.psi)
    expected = joint_density(centered, [wide[speaker == number] for number in range(len(counts))])
    assert log_likelihood(stats, plda.psi, plda.transform.T) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("counts", [[4] * 30, [1, 2, 3, 8] * 8, [2] * 3 + [1] * 20])
def test_likelihood_never_falls(plda: Plda, counts: list[int]) -> None:
    vectors, speaker = draw(plda, counts, seed=8)
    stats = class_stats(vectors, speaker)
    if sum(counts) - len(counts) < DIM:
        stats = ClassStats(stats.counts, stats.means, stats.scatter + 0.01 * np.eye(DIM))
    models = [train_plda(stats, num_iters=number) for number in range(1, 15)]
    values = [log_likelihood(stats, np.ones(DIM), np.eye(DIM))]
    values += [log_likelihood(stats, model.psi, model.transform.T) for model in models]
    assert (np.diff(values) >= -1e-8 * np.abs(values[1:])).all()
    assert values[-1] > values[0]


def slow_em_step(groups: list[np.ndarray], within: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One speaker and one utterance at a time: expectations of y and of x - y under the posterior of y."""
    mean = np.mean([group.mean(axis=0) for group in groups], axis=0)
    new_within, new_between = np.zeros_like(within), np.zeros_like(between)
    for group in groups:
        precision = np.linalg.inv(between) + len(group) * np.linalg.inv(within)
        covariance = np.linalg.inv(precision)
        expected = covariance @ np.linalg.inv(within) @ (group - mean).sum(axis=0)
        new_between += covariance + np.outer(expected, expected)
        for x in group:
            new_within += covariance + np.outer(x - mean - expected, x - mean - expected)
    return new_within / sum(map(len, groups)), new_between / len(groups)


def test_training_equals_one_speaker_at_a_time(plda: Plda) -> None:
    vectors, speaker = draw(plda, [1, 2, 2, 5, 9, 3], seed=9)
    trained = train_plda(class_stats(vectors, speaker), num_iters=3)
    groups = [vectors[speaker == number].astype(np.float64) for number in range(6)]
    within = between = np.eye(DIM)
    for _ in range(3):
        within, between = slow_em_step(groups, within, between)
    np.testing.assert_allclose(trained.within, within, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(trained.between, between, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(trained.mean, np.mean([group.mean(axis=0) for group in groups], axis=0), rtol=1e-8)


def test_parameters_are_recovered(plda: Plda) -> None:
    vectors, speaker = draw(plda, [3, 5, 8, 12] * 1000, seed=10)
    trained = train_plda(class_stats(vectors, speaker), num_iters=10)
    # A sample covariance of n vectors is off by about sqrt((1 + dim) / n) of itself: 24,000 offsets, 4,000 speakers.
    for found, true, share in ((trained.within, plda.within, 0.03), (trained.between, plda.between, 0.07)):
        assert np.linalg.norm(found - true) < share * np.linalg.norm(true)
    np.testing.assert_allclose(trained.mean, plda.mean, atol=0.1)


def test_one_speaker_is_refused() -> None:
    with pytest.raises(UserError, match="PLDA is trained on 1 speaker"):
        train_plda(class_stats(np.eye(4, dtype=np.float32), np.zeros(4, dtype=np.intp)))


def test_speakers_of_one_utterance_only_are_refused() -> None:
    with pytest.raises(UserError, match="each of the 4 speakers has one utterance"):
        train_plda(class_stats(np.eye(4, dtype=np.float32), np.arange(4)))


def test_singular_within_class_covariance_is_refused() -> None:
    rng = np.random.default_rng(0)
    few, speaker = rng.normal(size=(8, DIM)).astype(np.float32), np.repeat(np.arange(4), 2)
    with pytest.raises(UserError, match="singular: 8 utterances of 4 speakers vary in 4 of 5 directions"):
        train_plda(class_stats(few, speaker))
    many = rng.normal(size=(80, DIM)).astype(np.float32)
    many[:, 2] = many[:, 0]
    with pytest.raises(UserError, match="vary in 4 of 5 directions; give more utterances a speaker"):
        train_plda(class_stats(many, np.repeat(np.arange(20), 4)))


def test_utterances_of_a_speaker_all_alike_are_refused() -> None:
    alike = np.repeat(np.random.default_rng(0).normal(size=(6, DIM)), 3, axis=0).astype(np.float32)
    with pytest.raises(UserError, match="vary in 0 of 5 directions"):
        train_plda(class_stats(alike, np.repeat(np.arange(6), 3)))
