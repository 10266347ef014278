"""Fréchet distance of two Gaussians, exact for any number of images, and how much every image moves it.

d² = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁Σ₂)^½ with Σ over n - 1. The last term is the nuclear norm of G = F₁F₂ᵀ for
any factors FᵀF = Σ, so no matrix square root is taken and nothing can become complex. Peers take the square roots of
the eigenvalues of Σ₁Σ₂, which loses half the digits where a covariance is singular (docs/metrics.md).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import Estimate, from_influence

Features = NDArray[np.float32] | NDArray[np.float64]
"""[n, D], one row an image."""

Matrix = NDArray[np.float64]

BLOCK_ROWS = 4096
SINGULAR = 1e-12
"""A covariance counts as singular if the squared pivots of its Cholesky factor span more than this."""
LOSS = 1e-8
"""Eigenvalues of GᵀG serve where what squaring may have lost is at most this share of the distance.

The bound is a worst case; what is lost is some 10⁵ times less."""
SMALLEST = 1e-6
"""Share of the traces below which a distance is no longer asked to be exact relative to itself."""
LARGEST = 1e70
"""Features stay below this, and covariances below its square, for the sake of GᵀG."""


class SquareRoot(StrEnum):
    """What is taken for tr (Σ₁Σ₂)^½."""

    EXACT = "exact"
    """The nuclear norm: every digit, whatever the rank."""
    EIGENVALUES = "eigenvalues"
    """torch-fidelity's formula with its rounding: real parts of the roots of the eigenvalues of Σ₁Σ₂, float32 means."""


class Route(StrEnum):
    """How the cross term was computed."""

    CHOLESKY = "cholesky"
    """Both covariances are regular: eigenvalues of GᵀG, where squaring costs nothing that is seen."""
    FACTORS = "factors"
    """Singular values of G, where a side has fewer images than features or a covariance is (nearly) singular."""
    EIGENVALUES = "eigenvalues"
    """The peer's, on request."""


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


@dataclass(frozen=True, slots=True, eq=False)
class FrechetInfluence:
    """A distance and the ``influence`` [n] float64 of every item on it.

    ``influence`` is n times the derivative of the distance by each item's weight at equal weights; it sums to 0.
    """

    distance: FrechetDistance
    influence: NDArray[np.float64]

    @property
    def estimate(self) -> Estimate:
        """The distance with the error of the infinitesimal jackknife; its interval does not go below 0."""
        return from_influence(self.distance.value, self.influence, least=0.0)


def moments(features: Features) -> Moments:
    """Mean and covariance of features [n, D], n >= 2, in float64, by blocks of fixed size in row order."""
    _check_features(features)
    return _moments(features, _mean(features))


def _moments(features: Features, mean: NDArray[np.float64]) -> Moments:
    count, width = features.shape
    scatter = np.zeros((width, width))
    for centred in _centred_blocks(features, mean):
        scatter += centred.T @ centred
    # SCORE: n - 1, as in the original implementation and all but one of its descendants.
    return Moments(mean=mean, covariance=scatter / (count - 1), count=count)


def merge(first: Moments, second: Moments) -> Moments:
    """Moments of two sets together, by the pairwise formula of Chan, Golub and LeVeque (1983).

    The order of the two does not move a bit; merging in another grouping agrees to 1e-10 relative. Raises InputError
    for different widths and what is no moments.
    """
    for side in (first, second):
        _check_moments(side)
    _check_widths(len(first.mean), len(second.mean))
    count = first.count + second.count
    difference = first.mean - second.mean
    scatter = (first.count - 1.0) * first.covariance + (second.count - 1.0) * second.covariance
    scatter += np.outer(difference, difference) * (first.count * second.count / count)
    mean = (first.count * first.mean + second.count * second.mean) / count
    return Moments(mean=mean, covariance=scatter / (count - 1.0), count=count)


def frechet_distance(
    first: Features | Moments, second: Features | Moments, *, square_root: SquareRoot = SquareRoot.EXACT
) -> FrechetDistance:
    """Squared Fréchet distance of two sets of features [n, D], either of them possibly only as moments.

    Agrees with the singular values of the centred features, which squares nothing, to 1e-8 relative, and with
    torch-fidelity's function to 1e-9 relative under ``SquareRoot.EIGENVALUES`` if both sides are features
    (tests/score/test_frechet.py). Raises InputError for fewer than two images, different widths, and numbers that are
    not finite or whose squares are not.
    """
    _check_both(first, second)
    if square_root is SquareRoot.EIGENVALUES:
        return _by_eigenvalues(first, second)
    return _pair(_Side(first), _Side(second), vectors=False).distance()


def frechet_influence(predictions: Features, reference: Features | Moments, *, paired: bool) -> FrechetInfluence:
    """The exact distance and the influence of every item on it, from one decomposition.

    Item i with c = xᵢ - μ₁ has the influence 2 (μ₁ - μ₂)·c + n/(n-1) cᵀ(I - T)c - tr((I - T)Σ₁), T the optimal map of
    the first Gaussian onto the second (TΣ₁T = Σ₂ on the support of Σ₁), for I - T is the derivative of d² in Σ₁. With
    ``paired`` row i of both sides is one item, drawn or not drawn as a whole, and its influences on the two sides are
    added; otherwise the reference is held fixed (docs/uncertainty.md).

    Besides the features it takes memory for about ten D x D matrices and blocks of ``BLOCK_ROWS`` rows. Raises
    InputError as ``frechet_distance`` does, and where ``paired`` sets are not of one size or only moments.
    """
    _check_both(predictions, reference)
    if paired and (isinstance(reference, Moments) or len(reference) != len(predictions)):
        found = "moments" if isinstance(reference, Moments) else len(reference)
        raise InputError(
            "paired items need features of the same items on both sides", expected=len(predictions), found=found
        )
    pair = _pair(_Side(predictions), _Side(reference), vectors=True)
    means = pair.first.mean, pair.second.mean
    influence = _influence(predictions, *means, pair.map_of_first())
    if paired and not isinstance(reference, Moments):
        influence += _influence(reference, *means[::-1], pair.map_of_second())
    return FrechetInfluence(distance=pair.distance(), influence=influence)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Two sides and the singular values of G = F₁F₂ᵀ = U diag(s) Vᵀ; U and V are empty unless asked for."""

    first: "_Side"
    second: "_Side"
    route: Route
    factors: tuple[Matrix, Matrix]
    singular: NDArray[np.float64]
    left: Matrix
    right: Matrix

    def distance(self) -> FrechetDistance:
        """The distance, from the singular values."""
        difference = self.first.mean - self.second.mean
        mean_term = float(difference @ difference)
        traces = self.first.trace() + self.second.trace()
        return _distance(mean_term, traces - 2.0 * float(self.singular.sum()), self.route)

    def map_of_first(self) -> Matrix:
        """W [D, r] with W Wᵀ = T, the map of the first side onto the second: F₂ᵀV diag(s^-½)."""
        return self._scaled(self.factors[1], self.right)

    def map_of_second(self) -> Matrix:
        """W [D, r] with W Wᵀ the map of the second side onto the first: F₁ᵀU diag(s^-½)."""
        return self._scaled(self.factors[0], self.left)

    def _scaled(self, factor: Matrix, vectors: Matrix) -> Matrix:
        # Directions that one side lacks belong to no map; their part in any influence is their singular value.
        least = max(factor.shape) * np.finfo(np.float64).eps * self.singular.max(initial=0.0)
        kept = self.singular > least
        scaled: Matrix = factor.T @ (vectors[:, kept] / np.sqrt(self.singular[kept]))
        return scaled


def _influence(
    features: Features, mean: NDArray[np.float64], other: NDArray[np.float64], root: Matrix
) -> NDArray[np.float64]:
    """Influence [n] of one side's rows; ``mean`` theirs, ``other`` the other side's, ``root`` their map's W."""
    parts = []
    for centred in _centred_blocks(features, mean):
        mapped = centred @ root
        squares = np.einsum("nd,nd->n", centred, centred) - np.einsum("nd,nd->n", mapped, mapped)
        parts.append(2.0 * (centred @ (mean - other)) + squares * (len(features) / (len(features) - 1.0)))
    influence = np.concatenate(parts)
    # The mean is tr((I - T)Σ) up to rounding.
    influence -= influence.mean()
    return influence


def _pair(first: "_Side", second: "_Side", *, vectors: bool) -> _Pair:
    lower = (first.cholesky(), second.cholesky())
    factors = (
        first.factor() if lower[0] is None else lower[0].T,
        second.factor() if lower[1] is None else lower[1].T,
    )
    product: Matrix = factors[0] @ factors[1].T
    if lower[0] is not None and lower[1] is not None:
        pair = _by_gram(first, second, factors, product, vectors=vectors)
        if pair is not None:
            return pair
    empty = np.empty((0, 0))
    if not vectors:
        singular: NDArray[np.float64] = np.linalg.svd(product, compute_uv=False).astype(np.float64, copy=False)
        return _Pair(first, second, Route.FACTORS, factors, singular, empty, empty)
    left, values, right = np.linalg.svd(product, full_matrices=False)
    return _Pair(first, second, Route.FACTORS, factors, values.astype(np.float64, copy=False), left, right.T)


def _by_gram(
    first: "_Side", second: "_Side", factors: tuple[Matrix, Matrix], product: Matrix, *, vectors: bool
) -> _Pair | None:
    """By the eigenvalues of GᵀG, several times faster than by singular values; None where squaring could be seen."""
    gram = product.T @ product
    left = right = np.empty((0, 0))
    if vectors:
        eigenvalues, right = np.linalg.eigh(gram)
    else:
        eigenvalues = np.linalg.eigvalsh(gram)
    # An eigenvalue moves by a rounding of the largest, its root by that over twice the root.
    rounding = np.finfo(np.float64).eps * float(eigenvalues[-1])
    if rounding <= 0.0:
        return None
    singular = np.sqrt(np.clip(eigenvalues, 0.0, None))
    loss = float((rounding / (2.0 * np.maximum(singular, math.sqrt(rounding)))).sum())
    if vectors:
        left = (product @ right) / np.maximum(singular, math.sqrt(rounding))
    pair = _Pair(first, second, Route.CHOLESKY, factors, singular, left, right)
    traces = first.trace() + second.trace()
    return pair if loss <= LOSS * max(pair.distance().value, SMALLEST * traces) else None


def _by_eigenvalues(first: Features | Moments, second: Features | Moments) -> FrechetDistance:
    """torch-fidelity 0.4.0, ``fid_statistics_to_metric``, operation by operation: its noise is part of its number."""
    means, covariances = [], []
    for side in (first, second):
        if isinstance(side, Moments):
            means.append(side.mean.astype(np.float32))
            covariances.append(side.covariance)
        else:
            # SCORE: the mean keeps the dtype of the features; the covariance is float64.
            means.append(side.mean(axis=0))
            covariances.append(np.atleast_2d(np.cov(side, rowvar=False)))
    difference = means[0] - means[1]
    roots = np.sqrt(np.linalg.eigvals(covariances[0].dot(covariances[1])).astype(np.complex128)).real
    traces = float(np.trace(covariances[0])) + float(np.trace(covariances[1]))
    return _distance(float(difference.dot(difference)), traces - 2.0 * float(np.sum(roots)), Route.EIGENVALUES)


def _distance(mean_term: float, covariance_term: float, route: Route) -> FrechetDistance:
    total = mean_term + covariance_term
    if not math.isfinite(total):
        raise InputError("features are too large for their squares", expected="a finite distance", found="infinity")
    return FrechetDistance(
        value=max(total, 0.0),
        mean_term=mean_term,
        covariance_term=covariance_term,
        residual=min(total, 0.0),
        route=route,
    )


class _Side:
    """One of the two sets, checked, with what is computed of it on demand."""

    def __init__(self, given: Features | Moments) -> None:
        self._moments: Moments | None = None
        self._features: Features | None = None
        if isinstance(given, Moments):
            self._moments = given
            self.mean, self.width = given.mean, len(given.mean)
        else:
            self._features = given
            self.width = given.shape[1]
            self.mean = _mean(given)

    def moments(self) -> Moments:
        """Mean and covariance."""
        if self._moments is None:
            if self._features is None:
                raise ValueError("a side has neither moments nor features")
            self._moments = _moments(self._features, self.mean)
        return self._moments

    def trace(self) -> float:
        """The trace of the covariance."""
        if self._moments is None and self._features is not None:
            squares = sum(float(np.square(block).sum()) for block in _centred_blocks(self._features, self.mean))
            return squares / (len(self._features) - 1.0)
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
            return _triangle(self._features, self.mean)
        values, vectors = np.linalg.eigh(self.moments().covariance)
        # Eigenvalues past the rank that n images can give are rounding.
        rank = min(self.count() - 1, self.width)
        factor: Matrix = (vectors[:, -rank:] * np.sqrt(np.clip(values[-rank:], 0.0, None))).T
        return factor

    def count(self) -> int:
        """How many images."""
        if self._features is not None:
            return len(self._features)
        return self.moments().count


def _triangle(features: Features, mean: NDArray[np.float64]) -> Matrix:
    """F [min(n, D), D] with Fᵀ F = Σ: the centred rows, or the triangle of their QR decomposition, block by block."""
    triangle = np.empty((0, features.shape[1]))
    for centred in _centred_blocks(features, mean):
        triangle = np.concatenate([triangle, centred])
        if len(triangle) > features.shape[1]:
            triangle = np.asarray(np.linalg.qr(triangle, mode="r"), dtype=np.float64)
    triangle /= math.sqrt(len(features) - 1.0)
    return triangle


def _mean(features: Features) -> NDArray[np.float64]:
    mean = np.zeros(features.shape[1])
    for start in range(0, len(features), BLOCK_ROWS):
        mean += features[start : start + BLOCK_ROWS].sum(axis=0, dtype=np.float64)
    mean /= len(features)
    return mean


def _centred_blocks(features: Features, mean: NDArray[np.float64]) -> Iterator[Matrix]:
    for start in range(0, len(features), BLOCK_ROWS):
        centred: Matrix = features[start : start + BLOCK_ROWS].astype(np.float64)
        centred -= mean
        yield centred


def _check_both(first: Features | Moments, second: Features | Moments) -> None:
    widths = []
    for given in (first, second):
        if isinstance(given, Moments):
            _check_moments(given)
            widths.append(len(given.mean))
        else:
            _check_features(given)
            widths.append(given.shape[1])
    _check_widths(*widths)


def _check_widths(first: int, second: int) -> None:
    if first != second:
        raise InputError("features of different networks cannot be compared", expected=first, found=second)


def _check_features(features: Features) -> None:
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError("these are no features", expected="[n, D]", found=list(features.shape))
    if len(features) < 2:
        raise InputError(
            "a Fréchet distance needs at least two images on either side", expected=">= 2", found=len(features)
        )
    blocks = (features[start : start + BLOCK_ROWS] for start in range(0, len(features), BLOCK_ROWS))
    largest = float(np.max([np.abs(block).max() for block in blocks]))
    if not math.isfinite(largest):
        raise InputError("features are not finite", found="NaN or infinity")
    if largest > LARGEST:
        raise InputError("features are too large for their squares", expected=f"<= {LARGEST:g}", found=largest)


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
    largest = max(float(np.abs(given.mean).max()), math.sqrt(float(np.abs(given.covariance).max())))
    if largest > LARGEST:
        raise InputError("features are too large for their squares", expected=f"<= {LARGEST:g}", found=largest)
