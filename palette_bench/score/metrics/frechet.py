"""Fréchet distance of two Gaussians, exact for any number of images.

d² = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁Σ₂)^½ with Σ over n - 1. The last term is the nuclear norm of F₁F₂ᵀ for any
factors FᵀF = Σ, so no matrix square root is taken and nothing can become complex. Peers take the square roots of the
eigenvalues of Σ₁Σ₂, which loses half the digits where a covariance is
singular (docs/metrics.md).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError

Features = NDArray[np.float32] | NDArray[np.float64]
"""[n, D], one row an image."""

Matrix = NDArray[np.float64]

BLOCK_ROWS = 4096
SINGULAR = 1e-12
"""A covariance counts as singular if the squared pivots of its Cholesky factor span more than this."""


class Route(StrEnum):
    """How the cross term was computed."""

    CHOLESKY = "cholesky"
    """Both covariances are regular: eigenvalues of L₁ᵀΣ₂L₁."""
    FACTORS = "factors"
    """Singular values of F₁F₂ᵀ, where a side has fewer images than features or a singular covariance."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Mean [D] and covariance [D, D] (over ``count`` - 1) of features, float64."""

    mean: NDArray[np.float64]
    covariance: Matrix
    count: int


@dataclass(frozen=True, slots=True)
class FrechetDistance:
    """The squared distance, ``value`` >= 0, and its two parts.

    ``residual`` is what rounding had put below zero before ``value`` was clamped, 0 nearly always.
    """

    value: float
    mean_term: float
    covariance_term: float
    residual: float
    route: Route


def moments(features: Features) -> Moments:
    """Mean and covariance of features [n, D], n >= 2, in float64, by blocks of fixed size in row order."""
    _check_features(features)
    count, width = features.shape
    mean = np.zeros(width)
    for start in range(0, count, BLOCK_ROWS):
        mean += features[start : start + BLOCK_ROWS].sum(axis=0, dtype=np.float64)
    mean /= count
    scatter = np.zeros((width, width))
    for start in range(0, count, BLOCK_ROWS):
        centred = features[start : start + BLOCK_ROWS].astype(np.float64) - mean
        scatter += centred.T @ centred
    # SCORE: n - 1, as in the original implementation and all but one of its descendants.
    return Moments(mean=mean, covariance=scatter / (count - 1), count=count)


def frechet_distance(first: Features | Moments, second: Features | Moments) -> FrechetDistance:
    """Squared Fréchet distance of two sets of features [n, D], either of them possibly only as moments.

    Agrees with the singular values of the centred features, which squares nothing, to 1e-8 relative
    (tests/score/test_frechet.py). Raises InputError for fewer than two images, different widths, and numbers that are
    not finite.
    """
    sides = (_Side(first), _Side(second))
    if sides[0].width != sides[1].width:
        raise InputError(
            "features of different networks cannot be compared", expected=sides[0].width, found=sides[1].width
        )
    difference = sides[0].mean - sides[1].mean
    mean_term = float(difference @ difference)
    traces = sides[0].trace() + sides[1].trace()
    cholesky = [side.cholesky() for side in sides]
    if cholesky[0] is not None and cholesky[1] is not None:
        route = Route.CHOLESKY
        lower = cholesky[0]
        eigenvalues = np.linalg.eigvalsh(lower.T @ sides[1].moments().covariance @ lower)
        cross = float(np.sqrt(np.clip(eigenvalues, 0.0, None)).sum())
    else:
        route = Route.FACTORS
        factors = [side.factor() if lower is None else lower.T for side, lower in zip(sides, cholesky, strict=True)]
        cross = float(np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum())
    covariance_term = traces - 2.0 * cross
    total = mean_term + covariance_term
    return FrechetDistance(
        value=max(total, 0.0),
        mean_term=mean_term,
        covariance_term=covariance_term,
        residual=min(total, 0.0),
        route=route,
    )


class _Side:
    """One of the two sets, with what is computed of it on demand."""

    def __init__(self, given: Features | Moments) -> None:
        self._moments: Moments | None = None
        self._features: Features | None = None
        if isinstance(given, Moments):
            _check_moments(given)
            self._moments = given
            self.mean, self.width = given.mean, len(given.mean)
        else:
            _check_features(given)
            self._features = given
            self.width = given.shape[1]
            self.mean = given.mean(axis=0, dtype=np.float64)

    def moments(self) -> Moments:
        """Mean and covariance."""
        if self._moments is None:
            if self._features is None:
                raise ValueError("a side has neither moments nor features")
            self._moments = moments(self._features)
        return self._moments

    def trace(self) -> float:
        """The trace of the covariance."""
        if self._features is not None and len(self._features) <= self.width:
            return float(np.square(self._centred()).sum())
        return float(np.trace(self.moments().covariance))

    def cholesky(self) -> Matrix | None:
        """L with L Lᵀ = Σ, or None if Σ is singular or is known to be from the number of images."""
        if self.count() <= self.width:
            return None
        try:
            lower = np.linalg.cholesky(self.moments().covariance).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            return None
        pivots = np.square(np.diagonal(lower))
        return None if pivots.min() < SINGULAR * pivots.max() else lower

    def factor(self) -> Matrix:
        """F with Fᵀ F = Σ: from the features themselves where they are at hand, else from the eigenvectors of Σ."""
        if self._features is not None:
            centred = self._centred()
            if len(centred) <= self.width:
                return centred
            return np.asarray(np.linalg.qr(centred, mode="r"), dtype=np.float64)
        values, vectors = np.linalg.eigh(self.moments().covariance)
        factor: Matrix = (vectors * np.sqrt(np.clip(values, 0.0, None))).T
        return factor

    def count(self) -> int:
        """How many images."""
        if self._features is not None:
            return len(self._features)
        return self.moments().count

    def _centred(self) -> Matrix:
        if self._features is None:
            raise ValueError("a side has no features")
        centred: Matrix = self._features.astype(np.float64) - self.mean
        centred /= np.sqrt(len(self._features) - 1.0)
        return centred


def _check_features(features: Features) -> None:
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError("these are no features", expected="[n, D]", found=list(features.shape))
    if len(features) < 2:
        raise InputError(
            "a Fréchet distance needs at least two images on either side", expected=">= 2", found=len(features)
        )
    if not np.isfinite(features).all():
        raise InputError("features are not finite", found="NaN or infinity")


def _check_moments(given: Moments) -> None:
    width = len(given.mean)
    if given.mean.shape != (width,) or given.covariance.shape != (width, width) or width == 0:
        raise InputError(
            "these are no moments",
            expected="mean [D], covariance [D, D]",
            found=f"{list(given.mean.shape)}, {list(given.covariance.shape)}",
        )
    if given.count < 2:
        raise InputError(
            "a Fréchet distance needs at least two images on either side", expected=">= 2", found=given.count
        )
    if not (np.isfinite(given.mean).all() and np.isfinite(given.covariance).all()):
        raise InputError("moments are not finite", found="NaN or infinity")
