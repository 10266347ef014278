"""Rates of trials that share raters and items, with errors that know it.

A rater who is easily fooled, and an item that fools everybody, move many trials together: the binomial interval takes
them as independent and is far too narrow. Here the variance of a mean is that of sums over raters plus that of sums
over items minus that of single cells, counted twice otherwise (Cameron, Gelbach and Miller 2011, Robust inference with
multiway clustering, equation 2.8 for two ways), with small-sample factors G / (G - 1). benchmarks/coverage.py measures
how often the intervals hold the truth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEVEL = 0.975
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of trials, 0 to 1, with its two-way standard error and 95 % interval.

    ``naive_low`` to ``naive_high`` is Wilson's interval of independent trials: a warning, not a result. ``p_half`` is
    two-sided, of the hypothesis that the rate is one half; None where there are no two raters and items.
    ``rater_mean`` and ``item_mean`` are means of the rates of each.
    """

    value: float
    standard_error: float | None
    low: float | None
    high: float | None
    naive_low: float
    naive_high: float
    p_half: float | None
    trials: int
    raters: int
    items: int
    rater_mean: float
    item_mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The rate of one model minus that of another, on common items; ``p`` is two-sided, ``holm`` corrected."""

    value: float
    standard_error: float | None
    low: float | None
    high: float | None
    p: float | None
    items: int
    holm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What signal detection says of a choice between two: sensitivity d' and preference for a side.

    ``left`` is the share of answers ``left``; ``bias`` is positive for a preference for the right (log-linear
    correction of Hautus 1995; d' = (z(H) - z(F)) / sqrt 2, Macmillan and Creelman 2005, chapter 7).
    """

    d_prime: float
    bias: float
    left: Rate


def two_way_variance(parts: Floats, raters: Ints, items: Ints) -> tuple[float, float]:
    """Variance and degrees of freedom of a sum of ``parts`` [n] that share ``raters`` [n] and ``items`` [n].

    The parts are deviations and add up to 0. The variance is not less than that by raters or by items alone; degrees of
    freedom are Satterthwaite's of the two. (nan, nan) with fewer than two of either.
    """
    by_rater, rater_count = _grouped(parts, raters)
    by_item, item_count = _grouped(parts, items)
    by_cell, _ = _grouped(parts, raters * (int(items.max(initial=0)) + 1) + items)
    if rater_count < 2 or item_count < 2:
        return math.nan, math.nan
    variance = max(by_rater + by_item - by_cell, by_rater, by_item)
    if variance == 0.0:
        return 0.0, float(min(rater_count, item_count) - 1)
    df = variance**2 / (by_rater**2 / (rater_count - 1) + by_item**2 / (item_count - 1))
    return variance, max(1.0, df)


def _grouped(parts: Floats, groups: Ints) -> tuple[float, int]:
    """Sum of squared group sums times G / (G - 1), and G."""
    _, index = np.unique(groups, return_inverse=True)
    sums = np.bincount(index, parts)
    count = len(sums)
    return float((sums**2).sum()) * count / max(count - 1, 1), count


def wilson(value: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of independent trials."""
    centre = (value + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    half = _Z / (1 + _Z**2 / trials) * math.sqrt(value * (1 - value) / trials + _Z**2 / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def rate(fooled: Floats, raters: Ints, items: Ints) -> Rate:
    """The mean of ``fooled`` [n], 0 or 1 each, with its two-way error.

    The interval is symmetric in log-odds, so that it stays within 0 to 1, by Student's t. Where all trials agree it is
    that of as many independent trials as there are raters or items, whichever are fewer.
    """
    trials, value = len(fooled), float(fooled.mean())
    variance, df = two_way_variance((fooled - value) / trials, raters, items)
    rater_count, item_count = len(np.unique(raters)), len(np.unique(items))
    low: float | None = None
    high: float | None = None
    error = p_half = None
    if not math.isnan(variance):
        error = math.sqrt(variance)
        if variance > 0.0:
            t = float(stdtrit(df, LEVEL))
            logit, spread = math.log(value / (1 - value)), t * error / (value * (1 - value))
            low, high = _expit(logit - spread), _expit(logit + spread)
            p_half = float(2 * stdtr(df, -abs(value - 0.5) / error))
        else:
            edge = (1 - LEVEL) ** (1 / min(rater_count, item_count))
            low, high = (0.0, 1 - edge) if value == 0.0 else (edge, 1.0)
            p_half = min(1.0, 2 * 0.5 ** min(rater_count, item_count))
    naive = wilson(value, trials)
    return Rate(
        value=value,
        standard_error=error,
        low=low,
        high=high,
        naive_low=naive[0],
        naive_high=naive[1],
        p_half=p_half,
        trials=trials,
        raters=rater_count,
        items=item_count,
        rater_mean=_mean_of_means(fooled, raters),
        item_mean=_mean_of_means(fooled, items),
    )


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _mean_of_means(values: Floats, groups: Ints) -> float:
    _, index = np.unique(groups, return_inverse=True)
    return float((np.bincount(index, values) / np.bincount(index)).mean())


def difference(
    first: tuple[Floats, Ints, Ints],
    second: tuple[Floats, Ints, Ints],
) -> Difference | None:
    """The rate of a first model minus a second's, each (fooled, raters, items), on items that both have trials of.

    Trials of one rater or one item count together whichever model they are of, so that what models share cancels.
    None without common items.
    """
    common = np.intersect1d(first[2], second[2])
    if len(common) == 0:
        return None
    values, parts, raters, items = 0.0, [], [], []
    for sign, (fooled, who, what) in ((1.0, first), (-1.0, second)):
        chosen = np.isin(what, common)
        mean = float(fooled[chosen].mean())
        values += sign * mean
        parts.append(sign * (fooled[chosen] - mean) / int(chosen.sum()))
        raters.append(who[chosen])
        items.append(what[chosen])
    variance, df = two_way_variance(np.concatenate(parts), np.concatenate(raters), np.concatenate(items))
    if math.isnan(variance) or variance == 0.0:
        return Difference(value=values, standard_error=None, low=None, high=None, p=None, items=len(common))
    error, t = math.sqrt(variance), float(stdtrit(df, LEVEL))
    return Difference(
        value=values,
        standard_error=error,
        low=max(-1.0, values - t * error),
        high=min(1.0, values + t * error),
        p=float(2 * stdtr(df, -abs(values) / error)),
        items=len(common),
    )


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction of p-values, None where there is none."""
    known = sorted((p, place) for place, p in enumerate(values) if p is not None)
    found: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        found[place] = least
    return found


def detection(real_left: NDArray[np.bool_], chose_left: NDArray[np.bool_], raters: Ints, items: Ints) -> Detection:
    """Sensitivity and side preference from where the real image was and which side was called real, [n] each."""
    hits = (float((real_left & chose_left).sum()) + 0.5) / (float(real_left.sum()) + 1.0)
    alarms = (float((~real_left & chose_left).sum()) + 0.5) / (float((~real_left).sum()) + 1.0)
    z_hit, z_alarm = float(ndtri(hits)), float(ndtri(alarms))
    return Detection(
        d_prime=(z_hit - z_alarm) / math.sqrt(2),
        bias=-(z_hit + z_alarm) / 2,
        left=rate(chose_left.astype(np.float64), raters, items),
    )


RATER_SD, ITEM_SD = 0.10, 0.18
"""Between raters and between items, of rates: assumptions of the planner; `study plan` takes others."""


def planned_half_width(items: int, raters: int, trials: int, *, rater_sd: float, item_sd: float) -> float:
    """Half the width of a 95 % interval near a rate of 0.4, from so many items, raters and trials of a model."""
    single = max(0.0, 0.24 - rater_sd**2 - item_sd**2)
    return _Z * math.sqrt(item_sd**2 / items + rater_sd**2 / raters + single / trials)
