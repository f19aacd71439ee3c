"""Two Gaussians on a line, fitted by expectation-maximization: right labels have low losses, wrong ones high losses.

    p(x) = w_1 N(x; m_1, s_1) + w_2 N(x; m_2, s_2),    m_1 <= m_2

Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", ICML 2019, and Li, Socher, Hoi, "DivideMix",
ICLR 2020, tell wrong labels by such a mixture; Han, Chen, Qian, "Self-Supervised Learning with Cluster-Aware-DINO for
High-Performance Robust Speaker Verification", 2023, arXiv 2304.05754, by one on the logarithm of the loss.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]

_ITERATIONS = 500
_ENOUGH = 1e-8  # gain of the mean log likelihood at which the fit ends
_APART = 2.0  # separation of two clear modes: the sum of two equal Gaussians has one peak up to 2
_NARROWEST = 1e-2  # of the deviation of all values: a component cannot shrink onto a single value


@dataclass(frozen=True)
class Mixture:
    """Two Gaussians, the low one first.

    Attributes:
        weights, means, deviations: (2,) each.
    """

    weights: Doubles
    means: Doubles
    deviations: Doubles

    @property
    def separation(self) -> float:
        """Return the distance of the means over the root mean square of the deviations; 0 if there is one value only.

        Ashman, Bird, Zepf, "Detecting bimodality in astronomical datasets", 1994, call it D.
        """
        return float((self.means[1] - self.means[0]) / np.sqrt((self.deviations**2).mean()))

    @property
    def has_two_modes(self) -> bool:
        """Tell whether the modes are clear: more than two deviations apart, at least half of the values in the low one.

        A mixture is also fitted to values of one mode. Its low component is then a tail, or a part of the whole.
        """
        return not self.unclear

    @property
    def unclear(self) -> str:
        """Return why the modes are not clear; "" if they are."""
        if not self.separation > _APART:
            return f"the two modes are {self.separation:.2f} deviations apart, not more than {_APART:g}"
        if not self.weights[0] >= 0.5:
            return f"the low mode holds {100 * self.weights[0]:.1f} % of the values, less than half"
        return ""

    def low_posterior(self, values: ArrayLike) -> Doubles:
        """Return the probability that each value is of the low component; it never rises with the value.

        Outside the two means, a wide component would win back values beyond a narrow one. There, the probability at
        the nearer mean counts.
        """
        low, high = self._log_densities(np.clip(np.asarray(values, np.float64), *self.means))
        return np.exp(low - np.logaddexp(low, high))

    def _log_densities(self, values: Doubles) -> Doubles:
        """Return log w_k N(x; m_k, s_k) up to a constant, (2, values)."""
        shape = (2,) + (1,) * values.ndim
        mean, deviation = self.means.reshape(shape), self.deviations.reshape(shape)
        return np.log(self.weights / self.deviations).reshape(shape) - ((values - mean) / deviation) ** 2 / 2


def fit_mixture(values: ArrayLike) -> Mixture:
    """Fit two Gaussians to values (n,), finite and at least one; the result depends on nothing else.

    The fit starts from the two groups with the least variance within (Otsu's threshold).
    """
    x = np.sort(np.asarray(values, np.float64))
    spread = x.std()
    if not spread > 0:
        return Mixture(np.full(2, 0.5), np.full(2, x[0]), np.ones(2))
    floor = _NARROWEST * spread
    resp = np.zeros((2, len(x)))  # the share of each value that each component takes
    split = _otsu(x)
    resp[0, :split] = resp[1, split:] = 1
    before = -np.inf
    for _ in range(_ITERATIONS):
        mass = resp.sum(axis=1).clip(1e-12)
        means = resp @ x / mass
        deviations = np.sqrt((resp * (x - means[:, None]) ** 2).sum(axis=1) / mass).clip(floor)
        fitted = Mixture(mass / mass.sum(), means, deviations)
        log_densities = fitted._log_densities(x)
        log_total = np.logaddexp(*log_densities)
        resp = np.exp(log_densities - log_total)
        likelihood = log_total.mean()
        if likelihood - before < _ENOUGH:
            break
        before = likelihood
    order = np.argsort(fitted.means, kind="stable")
    return Mixture(fitted.weights[order], fitted.means[order], fitted.deviations[order])


def _otsu(x: Doubles) -> int:
    """Return the size of the lower group of sorted values at the split with the least variance within both."""
    sizes = np.arange(1, len(x))
    sums = np.cumsum(x - x.mean())[:-1]  # of the lower group
    between = sums**2 / (sizes * (len(x) - sizes))
    return int(between.argmax()) + 1
