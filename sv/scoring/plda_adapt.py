"""Adaptation of PLDA to another domain, from embeddings without speaker labels.

All methods take W, B and the total covariance C of the new domain's embeddings, and return new W and B.

    kaldi   where C exceeds W + B, fixed shares of the excess are added to W and to B (Kaldi's ivector-adapt-plda)
    coral   W and B of embeddings whitened by W + B and coloured by C
            Sun, Feng, Saenko, "Return of Frustratingly Easy Domain Adaptation", AAAI 2016, arXiv 1511.05547
    coral+  what coral's W and B exceed the old ones by is added to these, times a factor
            Lee, Wang, Koshinaka, "The CORAL+ Algorithm for Unsupervised Domain Adaptation of PLDA", ICASSP 2019,
            arXiv 1812.10260
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.linalg

from sv.errors import UserError, WrongCall
from sv.registry import Registry
from sv.scoring.plda import Plda, from_covariances
from sv.scoring.speakers import Doubles, Floats

Covariances = tuple[Doubles, Doubles]  # W, B

adaptations: Registry[Covariances] = Registry("PLDA adaptation")

_FLOOR = 1e-10  # of the largest eigenvalue: a covariance that is 0 in some direction


def find_options(method: str, given: Mapping[str, Any]) -> dict[str, float]:
    """Return the options of a method: those given, the others at their defaults.

    Raises:
        WrongCall: an unknown method or option, or a scale below 0.
    """
    try:
        found = adaptations.resolve(method, given)
    except UserError as error:  # here names and values are arguments, not keys of a configuration
        raise WrongCall(str(error)) from error
    for name, scale in found.items():
        if not (np.isfinite(scale) and scale >= 0):
            raise WrongCall(f"{name} {scale}: expected a number that is not below 0")
    return found


def adapt_plda(plda: Plda, projected: Floats, method: str, options: Mapping[str, Any]) -> Plda:
    """Return the model for another domain; its mean becomes that domain's.

    Args:
        plda: trained elsewhere.
        projected: (utterances, dim) of the new domain, of `Projection.apply`.
        method: name in `adaptations`.
        options: options of the method.

    Raises:
        WrongCall: see `find_options`.
        UserError: fewer than two utterances; too few for coral.
    """
    chosen = find_options(method, options)
    if len(projected) < 2:
        raise UserError(f"{len(projected)} embedding to adapt the PLDA to; give many")
    mean = projected.mean(axis=0, dtype=np.float64)
    covariance = np.cov(projected, rowvar=False, bias=True, dtype=np.float64).reshape(plda.dim, plda.dim)
    return from_covariances(mean, *adaptations.build(method, plda, mean, covariance, **chosen))


@adaptations.register("kaldi")
def kaldi(
    plda: Plda,
    mean: Doubles,
    covariance: Doubles,
    *,
    within_scale: float = 0.3,
    between_scale: float = 0.7,
    mean_diff_scale: float = 1.0,
) -> Covariances:
    """Adapt as Kaldi's PldaUnsupervisedAdaptor does.

    Args:
        plda: the model of the old domain.
        mean, covariance: (dim,) and (dim, dim) of the new one.
        within_scale, between_scale: shares of the excess that go to W and B.
        mean_diff_scale: weight of the shift between the two means in the covariance.
    """
    shift = mean - plda.mean
    within, between = plda.within, plda.between
    excess = _excess(within + between, covariance + mean_diff_scale * np.outer(shift, shift))
    return within + within_scale * excess, between + between_scale * excess


@adaptations.register("coral")
def coral(plda: Plda, mean: Doubles, covariance: Doubles) -> Covariances:
    """Align the correlations of the model; arguments as `kaldi`."""
    values = scipy.linalg.eigvalsh(covariance)
    if values[0] <= _FLOOR * values[-1]:
        varying = int((values > _FLOOR * values[-1]).sum())
        raise UserError(
            f"the embeddings to adapt to vary in {varying} of {plda.dim} directions only; coral needs more of them "
            "(kaldi and coral+ do not)"
        )
    return _align(plda, covariance)


@adaptations.register("coral+")
def coral_plus(
    plda: Plda, mean: Doubles, covariance: Doubles, *, within_scale: float = 0.8, between_scale: float = 0.8
) -> Covariances:
    """Adapt by CORAL+; arguments as `kaldi`, the scales are the paper's beta and gamma."""
    within, between = _align(plda, covariance)
    return (
        plda.within + within_scale * _excess(plda.within, within),
        plda.between + between_scale * _excess(plda.between, between),
    )


def _align(plda: Plda, covariance: Doubles) -> Covariances:
    """Return A W A^T and A B A^T, A = C^1/2 (W + B)^-1/2."""
    alignment = _power(covariance, 0.5) @ _power(plda.within + plda.between, -0.5)
    return alignment @ plda.within @ alignment.T, alignment @ plda.between @ alignment.T


def _excess(old: Doubles, new: Doubles) -> Doubles:
    """Return what `new` exceeds `old` by, in the directions that diagonalize both; positive semidefinite."""
    floor = _FLOOR * np.linalg.eigvalsh(old)[-1]
    old = old + floor * np.eye(len(old))
    ratio, directions = scipy.linalg.eigh(new, old)  # V^T old V = 1, V^T new V = diag(ratio)
    back = old @ directions  # inverse of V^T
    return (back * np.maximum(ratio - 1, 0)) @ back.T


def _power(matrix: Doubles, exponent: float) -> Doubles:
    """Return a power of a symmetric matrix."""
    values, vectors = scipy.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0) ** exponent) @ vectors.T
