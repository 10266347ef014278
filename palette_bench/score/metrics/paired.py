"""Differences of two models' numbers on the same items, with their errors.

The items are taken as drawn independently and each as a whole: both models share the luck of the draw, and only what
does not cancel is left in the error (docs/paired.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.bits import CounterBits
from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import QUANTILE, from_influence, of_mean

RESAMPLES = 10_000
"""Of the paired bootstrap: the 2.5 % quantile is then known to 0.16 %, and no p-value is below 2 / 10,001."""
FEWEST_ITEMS = 30
"""Below this neither the bootstrap nor a normal interval can be trusted, and there is none."""

_DRAWS_AT_ONCE = 1 << 20
_STEPS = 80
"""Halvings of an interval: more than a float64 has bits."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A first model's number minus a second's: ``value``, standard error, 95 % interval [low, high] that holds it.

    ``p`` is two-sided, of the hypothesis that the difference is 0. All but ``value`` are None where nothing is known
    of the error.
    """

    value: float
    standard_error: float | None
    low: float | None
    high: float | None
    p: float | None


def unknown(value: float) -> Difference:
    """A difference of whose error nothing is known."""
    return Difference(value, None, None, None, None)


def of_means(differences: NDArray[np.float64]) -> list[Difference]:
    """The mean of each column of ``differences`` [n, columns], first minus second an item, by the paired bootstrap.

    Items are resampled as wholes, ``RESAMPLES`` times, by counter-based bits that depend on n alone: equal inputs have
    equal answers on every machine and beside any other columns, and exchanging the models changes signs and nothing
    else. The interval goes from the 2.5 % to the 97.5 % quantile of the resampled means (Efron and Tibshirani 1993, An
    introduction to the bootstrap, chapter 13); p is twice the share of them on the other side of 0, or at it, the
    sample itself counted as one. It is below 0.05 where the interval leaves 0 out, up to one resample. The standard
    error is that of the mean, sample deviation over the root of n. Raises InputError for no items and numbers that are
    not finite.
    """
    if differences.ndim != 2:
        raise InputError("paired differences need a row an item", expected="[n, columns]", found=differences.shape)
    estimates = [of_mean(np.ascontiguousarray(column)) for column in differences.T]
    if len(differences) < FEWEST_ITEMS:
        return [unknown(estimate.value) for estimate in estimates]
    resampled = _resampled_means(differences)
    ends = np.quantile(resampled, (0.025, 0.975), axis=0)
    beyond = np.minimum((resampled <= 0.0).sum(axis=0), (resampled >= 0.0).sum(axis=0))
    return [
        Difference(
            value=estimate.value,
            standard_error=estimate.standard_error,
            low=min(float(low), estimate.value),
            high=max(float(high), estimate.value),
            p=min(1.0, 2.0 * (1 + int(count)) / (RESAMPLES + 1)),
        )
        for estimate, low, high, count in zip(estimates, *ends, beyond, strict=True)
    ]


def _resampled_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means [RESAMPLES, columns] of the columns of ``values`` [n, columns] over n items drawn with replacement.

    Numbers of a column are added in the order they are drawn in, by numpy's own sums: no column depends on those
    beside it or on the processor, as it would as part of a matrix product, and sums of whole numbers are exact.
    """
    count = len(values)
    # SCORE: which resamples there are.
    bits = CounterBits(["paired bootstrap", 1, count])
    rows_at_once = max(1, _DRAWS_AT_ONCE // count)
    columns = np.ascontiguousarray(values.T)
    means = np.empty((RESAMPLES, len(columns)))
    for start in range(0, RESAMPLES, rows_at_once):
        rows = min(rows_at_once, RESAMPLES - start)
        drawn = bits.integers(0, count, rows * count).reshape(rows, count)
        for place, column in enumerate(columns):
            means[start : start + rows, place] = column.take(drawn).mean(axis=1)
    return means


def of_shares(first: NDArray[np.bool_], second: NDArray[np.bool_], *, scale: float = 1.0) -> Difference:
    """The difference of two shares of the same items, ``first`` and ``second`` [n], times ``scale``.

    Only items on which the two disagree count: b where only the first is right, c where only the second. p is exact
    (McNemar's test by the binomial distribution, b of b + c at 1/2, twice the smaller tail). The interval is Tango's
    score interval (Tango 1998, Statistics in Medicine 17, 891), which is to this what Wilson's is to a single share:
    it stays inside -1 to 1 and does not shrink to a point where nobody disagrees. Raises InputError for no items and
    different numbers of them.
    """
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise InputError("paired shares need the same items", expected=list(first.shape), found=list(second.shape))
    count = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    value = (only_first - only_second) / count
    error = None
    if count > 1:
        error = math.sqrt(max((only_first + only_second) / count - value**2, 0.0) / (count - 1.0)) * scale
    high = _tango_limit(only_first, only_second, count)
    low = -_tango_limit(only_second, only_first, count)
    return Difference(
        value * scale, error, min(low, value) * scale, max(high, value) * scale, mcnemar_p(only_first, only_second)
    )


def _tango_limit(b: int, c: int, n: int) -> float:
    """The upper limit of Tango's interval of (b - c) / n: where his score has fallen to minus ``QUANTILE``."""

    def score(at: float) -> float:
        # His equations 6 to 8: q is the likeliest probability of the second kind of disagreement at this difference.
        linear = (2 * n - b + c) * at - b - c
        q = (math.sqrt(max(linear**2 + 8 * n * c * at * (1 - at), 0.0)) - linear) / (4 * n)
        variance = n * (2 * q + at * (1 - at))
        distance = b - c - n * at
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    low, high = (b - c) / n, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) > -QUANTILE else (low, middle)
    return high


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided p of so many disagreements of either kind if both are equally likely: exact, 1 for none."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    ways = among = 1
    for k in range(fewer):
        ways = ways * (total - k) // (k + 1)
        among += ways
    # Whole numbers of any size divide to the nearest float.
    return min(1.0, 2 * among / (1 << total))


def of_influences(value: float, first: NDArray[np.float64], second: NDArray[np.float64]) -> Difference:
    """A difference ``value`` of a metric of the whole set, from the influence [n] of every item on either number.

    The influence on a difference is the difference of the influences, so its standard error is that of the
    infinitesimal jackknife, as for a single number (docs/uncertainty.md): too large rather than too small where
    features are many for the number of images. Interval and p are normal. Raises InputError for different numbers of
    items.
    """
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError("paired influences need the same items", expected=list(first.shape), found=list(second.shape))
    if len(first) < FEWEST_ITEMS:
        return unknown(value)
    error = from_influence(value, first - second).standard_error
    return unknown(value) if error is None else _normal(value, error)


def unpaired(value: float, first_error: float | None, second_error: float | None) -> Difference:
    """A difference ``value`` of two numbers with standard errors of their own, as if of different items.

    Of the same items this overstates the error wherever the two models fare well and badly on the same ones.
    """
    if first_error is None or second_error is None:
        return unknown(value)
    return _normal(value, math.hypot(first_error, second_error))


def _normal(value: float, error: float) -> Difference:
    if error == 0.0:
        return Difference(value, 0.0, value, value, 1.0 if value == 0.0 else 0.0)
    p = math.erfc(abs(value) / (error * math.sqrt(2.0)))
    return Difference(value, error, value - QUANTILE * error, value + QUANTILE * error, p)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values (Holm 1979): the chance that any true hypothesis is rejected stays below the level.

    It holds however the tests depend on each other. None, a test that was not done, stays None and does not count.
    """
    done = sorted((p, place) for place, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, place) in enumerate(done):
        largest = max(largest, min(1.0, (len(done) - rank) * p))
        adjusted[place] = largest
    return adjusted
