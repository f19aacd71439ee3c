"""Log-likelihood ratios from one score, several scores (fusion) and quality measures, by linear logistic regression.

    llr = weights . features + offset

minimizes, at the prior p of targets that matters, the cross-entropy

    p mean_targets softplus(-(llr + logit p)) + (1 - p) mean_nontargets softplus(llr + logit p)

so the share of target trials in training does not matter; llr is a log-likelihood ratio, not a posterior.
Brummer and de Villiers, "The BOSARIS Toolkit", 2011, arXiv 1304.2865.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.embeddings.onnx_encoder import is_bundle
from sv.errors import UserError, WrongCall
from sv.io import atomic_write, read_json, sha256_of
from sv.metrics.cllr import bayes_threshold
from sv.metrics.error_rates import sort_scores
from sv.metrics.provenance import MADE_BY
from sv.scoring.cosine import Floats, read_mean

Doubles = NDArray[np.float64]

_RIDGE = 1e-5  # on the weights of features of deviation 1: keeps them finite where scores separate all trials


@dataclass(frozen=True)
class Calibration:
    """A map from features to log-likelihood ratios.

    Attributes:
        features: names of the features, in order: "score", "duration_min", ...
        weights: one for each feature.
        offset: added to the weighted sum.
        p_target: prior that it was trained for.
        trained_on: files, counts and checksums.
    """

    features: list[str]
    weights: list[float]
    offset: float
    p_target: float
    trained_on: dict[str, Any] = field(default_factory=dict)

    def llrs(self, features: Doubles) -> Doubles:
        """Return log-likelihood ratios, (trials,), of (trials, features)."""
        return features @ np.array(self.weights) + self.offset

    def check_made_by(self, model_sha256: str, fingerprint: str, path: Path) -> None:
        """Check that the scores were of this model and front-end, as far as is known.

        Args:
            model_sha256: checksum of the model's file.
            fingerprint: fingerprint of model and front-end.
            path: path of the calibration, for the message.

        Raises:
            UserError: they were of others.
        """
        for (name, what), here in zip(MADE_BY.items(), (model_sha256, fingerprint), strict=True):
            if self.trained_on.get(name, here) != here:
                raise UserError(f"{path} is of another {what}; {how_to_calibrate(path.parent.parent)}")

    def read_mean(self, folder: Path, dim: int) -> Floats | None:
        """Read the mean (dim,) that was subtracted before the cosine; None: none was.

        Args:
            folder: of the system.
            dim: of its embeddings.

        Raises:
            UserError: it is missing, damaged, another one, or of another dimension; the message names the file.
        """
        known = self.trained_on
        if not known.get("mean"):
            return None
        path = folder / known["mean"]
        mean = read_mean(path)
        if mean.shape != (dim,) or not np.isfinite(mean).all():
            raise UserError(
                f"{path}: expected {dim} finite numbers; make it again with steps/compute_mean.py (stage 4)"
            )
        if known.get("mean_sha256", sha := sha256_of(path)) != sha:
            raise UserError(f"{path} is not the mean that the calibration was made with; {how_to_calibrate(folder)}")
        return mean

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        with atomic_write(path) as f:
            json.dump(asdict(self), f, indent=1)
            f.write("\n")


def how_to_calibrate(folder: Path) -> str:
    """Return what messages advise where an experiment folder or a bundle has no calibration, or another's."""
    if is_bundle(folder):
        return "calibrate the system that the bundle is of, and export it again"
    return f"calibrate it: stages 4 to 7, or on recordings of your own steps/calibrate.py --on DATA_DIR {folder}"


def load_calibration(path: str | Path) -> Calibration:
    """Read what `Calibration.save` wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; {how_to_calibrate(path.parent.parent)}")
    try:
        found = Calibration(**read_json(path))
        numbers = np.array([*found.weights, found.offset], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged; {how_to_calibrate(path.parent.parent)}") from error
    known = isinstance(found.trained_on, dict) and all(isinstance(name, str) for name in found.features)
    if not known or len(found.features) != len(found.weights) or not np.isfinite(numbers).all():
        raise UserError(f"{path} is damaged; {how_to_calibrate(path.parent.parent)}")
    return found


def fit(
    features: Doubles,
    is_target: NDArray[np.bool_],
    names: Sequence[str],
    *,
    p_target: float = 0.05,
    nonnegative: bool = False,
) -> Calibration:
    """Train a calibration.

    Args:
        features: (trials, features).
        is_target: (trials,) bool.
        names: names of the features.
        p_target: prior at which decisions matter.
        nonnegative: whether weights below 0 are forbidden.

    Raises:
        UserError: only targets or only non-targets, features that are not finite, a prior out of its range.
    """
    from scipy.optimize import minimize  # here and below: readers of a calibration do without scipy
    from scipy.special import expit

    bias = -bayes_threshold(p_target)  # logit p
    for column in features.T:
        sort_scores(column[is_target], column[~is_target])  # checks them
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    # Features that are constant, up to rounding, get weight 0 from the ridge.
    deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0
    x = np.column_stack([(features - mean) / deviation, np.ones(len(features))])  # (trials, features + 1)
    share = np.where(is_target, p_target / is_target.sum(), (1 - p_target) / (~is_target).sum())
    sign = np.where(is_target, 1.0, -1.0)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        margin = sign * (x @ weights + bias)
        slope = -share * sign * expit(-margin)
        penalty = _RIDGE * weights[:-1]
        value = share @ np.logaddexp(0, -margin) + 0.5 * penalty @ weights[:-1]
        return float(value), x.T @ slope + np.append(penalty, 0.0)

    start, bounds = np.zeros(x.shape[1]), [(0 if nonnegative else None, None)] * features.shape[1] + [(None, None)]
    options = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9}
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options)
    weights = found.x[:-1] / deviation
    counts = {"num_target": int(is_target.sum()), "num_nontarget": int((~is_target).sum())}
    return Calibration(list(names), weights.tolist(), float(found.x[-1] - weights @ mean), p_target, counts)


def posterior(llr: float, prior: float) -> float:
    """Return the probability of a target, given the log-likelihood ratio and the probability before hearing the trial.

    Raises:
        WrongCall: a prior that is not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise WrongCall(f"prior {prior}: expected a probability between 0 and 1, such as 0.5")
    from scipy.special import expit, logit

    return float(expit(llr + logit(prior)))
