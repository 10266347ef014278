"""A number with its sampling error: how far it would move with other images of the same kind.

The items of a set are taken as drawn independently; networks, weights and a fixed FID reference set are taken as
given. What is estimated is the expectation of the metric at this number of images: a metric that depends on n, as FID
and the Inception Score do, is not corrected for it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError

QUANTILE = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """``value``, its standard error, and a 95 % interval [low, high] that holds it.

    Error and interval are None where one image leaves nothing to judge them by.
    """

    value: float
    standard_error: float | None
    low: float | None
    high: float | None


def of_mean(values: NDArray[np.float64], *, scale: float = 1.0) -> Estimate:
    """The mean of one number an item [n], times ``scale``; error from the sample variance over n - 1.

    Raises InputError for no items and numbers that are not finite.
    """
    if values.ndim != 1 or len(values) == 0:
        raise InputError("a mean needs one number an item", expected="[n], n >= 1", found=list(values.shape))
    if not np.isfinite(values).all():
        raise InputError("numbers of items are not finite", found="NaN or infinity")
    mean = float(values.mean())
    return from_influence(mean * scale, (values - mean) * scale)


def from_influence(
    value: float, influence: NDArray[np.float64], *, least: float = -math.inf, most: float = math.inf
) -> Estimate:
    """``value`` with the error of the infinitesimal jackknife.

    ``influence`` [n] is n times the derivative of the value by each item's weight, at equal weights: it sums to 0. The
    interval is the normal one, cut to the range [``least``, ``most``] that the metric can take.
    """
    count = len(influence)
    if count < 2:
        return Estimate(value, None, None, None)
    error = math.sqrt(float(np.square(influence).sum()) / (count * (count - 1.0)))
    return with_error(value, error, least=least, most=most)


def with_error(value: float, error: float, *, least: float = -math.inf, most: float = math.inf) -> Estimate:
    """``value`` with the normal interval of a known standard error, cut to [``least``, ``most``]."""
    low, high = max(value - QUANTILE * error, least), min(value + QUANTILE * error, most)
    return Estimate(value, error, min(low, value), max(high, value))


def of_share(count: int, total: int, *, scale: float = 1.0) -> Estimate:
    """``count`` of ``total`` items, times ``scale``; Wilson's interval, which stays inside 0 to 1.

    The standard error is sqrt(p (1 - p) / n). Raises InputError for no items.
    """
    if total < 1 or not 0 <= count <= total:
        raise InputError("a share needs items", expected="0 <= count <= total, total >= 1", found=f"{count} of {total}")
    share = count / total
    error = math.sqrt(share * (1.0 - share) / total)
    squared = QUANTILE**2 / total
    centre = (share + squared / 2) / (1 + squared)
    half = QUANTILE * math.sqrt(share * (1 - share) / total + squared / (4 * total)) / (1 + squared)
    low, high = max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)
    return Estimate(share * scale, error * scale, low * scale, high * scale)
