"""Two-covariance PLDA, trained by EM and scored as Kaldi does.

    x = y + e        y ~ N(mean, B) of the speaker        e ~ N(0, W) of each utterance

    LLR(enroll, test) = log N(u_t; n Psi / (n Psi + 1) u_e, 1 + Psi / (n Psi + 1)) - log N(u_t; 0, 1 + Psi)

u = A (x - mean) is the space in which W is 1 and B is diag(Psi); u_e is the mean of n enroll utterances.

Ioffe, "Probabilistic Linear Discriminant Analysis", ECCV 2006. There every speaker's posterior is diagonal, so that
EM works in that space too: one eigenvalue problem an iteration, whatever the numbers of utterances, and matrix products
over all speakers at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, log
from sv.io import Trials
from sv.scoring.cosine import pair_dots
from sv.scoring.projection import check_within
from sv.scoring.speakers import ClassStats, Doubles, Floats

_ROWS = 8192


@dataclass(frozen=True)
class Plda:
    """A trained model, in Kaldi's parametrization.

    Attributes:
        mean: (dim,) float64.
        transform: (dim, dim), A; A W A^T = 1 and A B A^T = diag(psi).
        psi: (dim,), 0 or more, falling.
    """

    mean: Doubles
    transform: Doubles
    psi: Doubles

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.mean)

    @property
    def within(self) -> Doubles:
        """Within-class covariance W, (dim, dim)."""
        inverse = np.linalg.inv(self.transform)
        return inverse @ inverse.T

    @property
    def between(self) -> Doubles:
        """Between-class covariance B, (dim, dim)."""
        inverse = np.linalg.inv(self.transform)
        return (inverse * self.psi) @ inverse.T

    def latent(self, projected: Floats, counts: NDArray[np.int64] | None = None, *, normalize: bool = True) -> Floats:
        """Map vectors into the space where W is 1 and B is diagonal; (rows, dim) float32.

        Args:
            projected: (rows, dim) of `Projection.apply`.
            counts: (rows,) utterances that each row is the mean of; None: one.
            normalize: Kaldi's length normalization: scale each row so that its squared length, weighed with the
                inverse of the variance of such a mean, 1 / (psi + 1/n), is dim.
        """
        latent = np.empty(projected.shape, dtype=np.float32)
        for start in range(0, len(latent), _ROWS):
            part = slice(start, start + _ROWS)
            rows = (projected[part] - self.mean) @ self.transform.T  # float64
            if normalize:
                spread = np.ones((1, 1)) if counts is None else 1.0 / counts[part, None]
                rows *= np.sqrt(self.dim / _weighted_squares(rows, 1 / (self.psi + spread)))[:, None]
            latent[part] = rows
        return latent


def from_covariances(mean: Doubles, within: Doubles, between: Doubles) -> Plda:
    """Make the model of a mean (dim,), W and B (dim, dim).

    Raises:
        UserError: W is not positive definite.
    """
    return _in_kaldis_order(mean, *_diagonalize(within, between))


def _in_kaldis_order(mean: Doubles, psi: Doubles, directions: Doubles) -> Plda:
    return Plda(mean, directions.T[::-1].copy(), psi[::-1].copy())


def _diagonalize(within: Doubles, between: Doubles) -> tuple[Doubles, Doubles]:
    """Return psi (rising, 0 or more) and V with V^T W V = 1, V^T B V = diag(psi)."""
    from scipy.linalg import eigh  # scoring does without scipy

    try:
        psi, directions = eigh(between, within)
    except np.linalg.LinAlgError as error:
        raise UserError("the within-class covariance is singular; train the PLDA on more data") from error
    return np.maximum(psi, 0), directions


def log_likelihood(stats: ClassStats, psi: Doubles, directions: Doubles) -> float:
    """Return the natural log-likelihood of the training data, centered on the mean of the speakers' means.

    An orthogonal matrix turns a speaker's n utterances into sqrt(n) times their mean, of covariance W + n B, and n - 1
    vectors of covariance W. `directions` (dim, dim), V, makes both diagonal: V^T W V = 1, V^T B V = diag(psi).
    """
    logdet_within = -2 * np.linalg.slogdet(directions)[1]
    means = (stats.means - stats.means.mean(axis=0)) @ directions  # (speakers, dim)
    variances = 1 + stats.counts[:, None] * psi
    quadratic = (directions * (stats.scatter @ directions)).sum() + (stats.counts[:, None] * means**2 / variances).sum()
    constant = stats.num_utts * (logdet_within + stats.dim * np.log(2 * np.pi))
    return float(-0.5 * (constant + np.log(variances).sum() + quadratic))


def train_plda(stats: ClassStats, *, num_iters: int = 10) -> Plda:
    """Fit W and B by EM, from W = B = 1 as Kaldi does; the mean is that of the speakers' means.

    Args:
        stats: statistics of the projected embeddings; speakers of one utterance count too.
        num_iters: iterations of EM.

    Raises:
        UserError: fewer than two speakers, only speakers of one utterance, a singular within-class covariance.
    """
    if len(stats.counts) < 2:
        raise UserError(f"PLDA is trained on {len(stats.counts)} speaker; give two and more")
    check_within(stats)
    within, directions = np.eye(stats.dim), np.eye(stats.dim)
    psi: Doubles = np.ones(stats.dim)
    for iteration in range(num_iters):
        within, between = _em_step(stats, within, psi, directions)
        psi, directions = _diagonalize(within, between)
        each = log_likelihood(stats, psi, directions) / stats.num_utts
        log.debug("PLDA iteration %d: log-likelihood %.4f an utterance", iteration + 1, each)
    log.info("PLDA: log-likelihood %.4f an utterance after %d iterations", each, num_iters)
    return _in_kaldis_order(stats.means.mean(axis=0), psi, directions)


def _em_step(stats: ClassStats, within: Doubles, psi: Doubles, directions: Doubles) -> tuple[Doubles, Doubles]:
    """Return the next W and B; in the diagonal space a speaker's posterior is N(share * mean, psi / (1 + n psi))."""
    counts = stats.counts[:, None]
    means = (stats.means - stats.means.mean(axis=0)) @ directions  # (speakers, dim)
    variance = psi / (1 + counts * psi)
    expected = counts * variance * means
    left = means - expected
    between_sum = np.diag(variance.sum(axis=0)) + expected.T @ expected
    within_sum = np.diag((counts * variance).sum(axis=0)) + (counts * left).T @ left
    back = within @ directions  # inverse of directions^T
    within_sum = stats.scatter + back @ within_sum @ back.T
    return within_sum / stats.num_utts, back @ between_sum @ back.T / len(stats.counts)


class PldaScorer:
    """Scorer of trials by natural log-likelihood ratios.

    The ratio is a bilinear form of enroll and test, with a term of each alone: a trial costs two rows and a dot
    product. The test's own term depends on n; where models differ in n, it goes into the rows as their second half.

    Args:
        plda: the model.
        test: (utterances, dim) of `Plda.latent`.
        enroll: (models, dim) of `Plda.latent`; None: enroll on the utterances.
        counts: (models,) utterances of each model; None: one.
    """

    def __init__(
        self, plda: Plda, test: Floats, enroll: Floats | None = None, counts: NDArray[np.int64] | None = None
    ) -> None:
        models = test if enroll is None else enroll
        n, kind = np.unique(np.ones(1) if counts is None else counts, return_inverse=True)
        n_psi = n.astype(np.float64)[:, None] * plda.psi  # (kinds, dim), a row for each distinct n
        share = n_psi / (n_psi + 1)
        variance, alone = 1 + plda.psi / (n_psi + 1), 1 + plda.psi
        constant = -0.5 * np.log(variance / alone).sum(axis=1)  # (kinds,)
        own = -0.5 * (1 / variance - 1 / alone)  # weights of the squared test vector
        of_model = kind if len(n) > 1 else np.zeros(1, dtype=np.intp)  # one row serves all models
        self.enroll = models * (share / variance)[of_model].astype(np.float32)
        self.enroll_term = constant[of_model] - 0.5 * _weighted_squares(models, (share**2 / variance)[of_model])
        self.test = test
        self.test_term: Doubles = np.zeros(len(test))
        if len(n) == 1:
            self.test_term = _weighted_squares(test, own)
        else:
            self.test = np.hstack([test, test**2])
            self.enroll = np.hstack([self.enroll, own.astype(np.float32)[of_model]])

    def __call__(self, trials: Trials) -> Floats:
        """Return the ratios of a block; (trials,) float32."""
        dots = pair_dots(self.enroll, self.test, trials.enroll, trials.test)
        return (dots + self.enroll_term[trials.enroll] + self.test_term[trials.test]).astype(np.float32)


def _weighted_squares(rows: Floats | Doubles, weights: Doubles) -> Doubles:
    """Return the weighted sum of squares of each row; (rows,) float64. Weights are (1, dim) or (rows, dim)."""
    sums = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        squares = np.square(rows[part], dtype=np.float64)
        if len(weights) == 1:
            np.matmul(squares, weights[0], out=sums[part])
        else:
            np.einsum("ij,ij->i", squares, weights[part], out=sums[part])
    return sums
