"""Perceptual distance: how far prediction and reference lie apart in a network's features, image by image."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import Estimate, of_mean


class Power(IntEnum):
    """The power of the Euclidean norm; the ``power`` parameter of perceptual recipes."""

    L2 = 1
    L2_SQUARED = 2


@dataclass(frozen=True, slots=True, eq=False)
class PerceptualDistance:
    """Distances [n] float64, one an item."""

    items: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The mean over items."""
        return float(self.items.mean())

    @property
    def estimate(self) -> Estimate:
        """``mean`` with its error over items."""
        return of_mean(self.items)


def perceptual_distance(
    predictions: NDArray[np.float32], references: NDArray[np.float32], *, power: Power
) -> PerceptualDistance:
    """Euclidean distances of features [n, D], row by row, in float64.

    Raises InputError for no items, different shapes, and features that are not finite.
    """
    if predictions.ndim != 2 or predictions.size == 0 or predictions.shape != references.shape:
        raise InputError(
            "predictions and references must have the same number of features",
            expected="[n, D] twice",
            found=f"{list(predictions.shape)} and {list(references.shape)}",
        )
    if not (np.isfinite(predictions).all() and np.isfinite(references).all()):
        raise InputError("features are not finite", found="NaN or infinity")
    difference = predictions.astype(np.float64) - references.astype(np.float64)
    squared = np.einsum("nd,nd->n", difference, difference)
    return PerceptualDistance(items=squared if power is Power.L2_SQUARED else np.sqrt(squared))
