"""Which of a record's numbers follow from its items, and whether they do.

Items are written with nine significant digits, so a number computed from them may differ from the record's by what
rounding them can do, and by no more. FID and the Inception Score are functions of all features together: of FID the
items hold what its standard error is made of, and of the Inception Score nothing.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.predictions import output_name, tree_digest
from palette_bench.artifacts.record import Items, MetricValue, ResultRecord
from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import Problem
from palette_bench.score.metrics.estimate import QUANTILE, Estimate, from_influence, of_mean, of_share
from palette_bench.score.recipes.base import ItemNumbers, Recipe
from palette_bench.score.recipes.catalogue import RECIPES

FloatArray = NDArray[np.float64]
DIGITS = 9
"""Significant digits of a cell of ``items.csv``."""
FLOAT64_SHARE = 1e-11
"""What summing in another order may move, as a share of a number."""


@dataclass(frozen=True, slots=True)
class Follows:
    """What was found of a record's numbers: by recipe, what follows from the items, and what cannot be recomputed."""

    recomputed: Mapping[str, str]
    taken_on_trust: Mapping[str, str]
    problems: tuple[Problem, ...]


def follows(record: ResultRecord, items: Items) -> Follows:
    """Recompute what can be recomputed. ``items`` are whole and the record's own."""
    problems = [*_digest_problems(record, items), *_change_problems(record, items)]
    recomputed: dict[str, str] = {}
    trusted: dict[str, str] = {}
    for name, metric in record.metrics.items():
        recipe = RECIPES.get(name)
        if recipe is None:
            trusted[name] = "the recipe is not known"
            continue
        try:
            found = _of_items(recipe, items, record.samples)
        except _UnfitError as error:
            problems.append(Problem("items", name, str(error)))
            continue
        if found is None:
            trusted[name] = "it is a function of all features together"
            continue
        recomputed[name] = "value and error" if found.value_known else "standard error"
        if not found.value_known:
            trusted[name] = "its value is a function of all features together"
        problems += _compared(name, metric, found)
    return Follows(recomputed, trusted, tuple(problems))


class _UnfitError(Exception):
    """Columns that cannot be what the recipe leaves behind."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A number from items and by how much rounding them can have moved it; of FID, its error alone."""

    estimate: Estimate
    value_margin: float
    error_margin: float
    value_known: bool = True


def rounding(values: FloatArray) -> FloatArray:
    """Half a unit of the last digit that is written of each number [n]."""
    size = np.abs(values)
    exponent = np.floor(np.log10(np.where(size > 0, size, 1.0)))
    half: FloatArray = np.where(size > 0, 0.5 * 10.0 ** (exponent - (DIGITS - 1)), 0.0)
    return half


def _of_items(recipe: Recipe, items: Items, samples: int) -> _Found | None:
    # A number of several samples has columns, however many samples the record claims.
    names = recipe.metric.item_columns(recipe, max(samples, 2) if recipe.metric.of_samples else samples)
    match recipe.metric.items:
        case ItemNumbers.NOTHING:
            return None
        case ItemNumbers.SHARE:
            return _share(recipe, items, *names)
        case ItemNumbers.MEAN:
            columns = np.stack([_column(items, name) for name in names], axis=1)
            return _mean(columns.mean(axis=1), rounding(columns).mean(axis=1))
        case ItemNumbers.INFLUENCE:
            (name,) = names
            if name not in items.columns:
                return None
            influence = _column(items, name)
            half = rounding(influence)
            if abs(float(influence.sum())) > float(half.sum()) + FLOAT64_SHARE * float(np.abs(influence).sum()):
                raise _UnfitError(f"the column {name} does not sum to 0")
            margin = _error_margin(half)
            return _Found(from_influence(0.0, influence), 0.0, margin, value_known=False)


def _column(items: Items, name: str) -> FloatArray:
    if name not in items.columns:
        raise _UnfitError(f"no column {name}")
    values = items.columns[name]
    if not np.isfinite(values).all():
        raise _UnfitError(f"{int((~np.isfinite(values)).sum())} empty cells in the column {name}")
    return values


def _mean(values: FloatArray, half: FloatArray) -> _Found:
    return _Found(of_mean(values), float(half.mean()), _error_margin(half))


def _error_margin(half: FloatArray) -> float:
    """How far a standard error can move: it is a norm, and moves by no more than the norm of the change."""
    count = len(half)
    return math.sqrt(float(np.square(half).sum()) / (count * (count - 1.0))) if count > 1 else 0.0


def _share(recipe: Recipe, items: Items, name: str) -> _Found:
    correct = _column(items, name)
    class_column = recipe.metric.class_column(recipe)
    if class_column is not None:
        right = _column(items, class_column) == _column(items, "label")
        if wrong := int((correct != right).sum()):
            raise _UnfitError(f"{wrong} items are called right or wrong against their label and class")
    return _Found(of_share(int(correct.sum()), len(correct), scale=recipe.metric.scale), 0.0, 0.0)


def _compared(name: str, metric: MetricValue, found: _Found) -> Iterator[Problem]:
    wanted = found.estimate
    interval_margin = found.value_margin + QUANTILE * found.error_margin
    cells = [
        ("standard_error", metric.standard_error, wanted.standard_error, found.error_margin),
    ]
    if found.value_known:
        cells = [
            ("value", metric.value, wanted.value, found.value_margin),
            *cells,
            ("interval[0]", metric.low, wanted.low, interval_margin),
            ("interval[1]", metric.high, wanted.high, interval_margin),
        ]
    elif wanted.standard_error is not None:
        half = QUANTILE * wanted.standard_error
        margin = QUANTILE * found.error_margin
        cells += [
            ("interval[0]", metric.low, max(metric.value - half, 0.0), margin),
            ("interval[1]", metric.high, metric.value + half, margin),
        ]
    for what, stated, computed, margin in cells:
        if stated is None and computed is None:
            continue
        if stated is None or computed is None or abs(stated - computed) > margin + FLOAT64_SHARE * abs(computed):
            text = f"the record says {_shown(stated)}, its items give {_shown(computed)}"
            yield Problem("contradiction", f"{name}: {what}", text)


def _shown(number: float | None) -> str:
    return "nothing" if number is None else f"{number:.10g}"


def _digest_problems(record: ResultRecord, items: Items) -> Iterator[Problem]:
    """Items that are doubled, and digests of all predictions that are not those of the items' predictions."""
    doubled = len(items.ids) - len(set(items.ids))
    if doubled:
        yield Problem("doubled", "items", f"{doubled} ids stand there twice")
    # Of several samples the items name the first alone.
    if record.samples != 1 or doubled:
        return
    digests = dict(zip(items.ids, items.prediction_digests, strict=True))
    tree = tree_digest({output_name(item, 0, 1): digest for item, digest in digests.items()})
    if tree != record.tree_sha256:
        yield Problem("contradiction", "predictions.tree_sha256", f"the items' predictions make {tree}")
    pairs = fingerprint([[item, digest] for item, digest in digests.items()])
    if pairs != record.predictions_digest:
        yield Problem("contradiction", "predictions.digest", f"the items' predictions make {pairs}")


def _change_problems(record: ResultRecord, items: Items) -> Iterator[Problem]:
    values = items.columns.get("known_region_change")
    if values is None and record.known_change is None:
        return
    if values is None or record.known_change is None or not np.isfinite(values).all():
        yield Problem("contradiction", "known_region_change", "record and items do not both have it")
        return
    mean, margin = float(values.mean()), float(rounding(values).mean())
    if abs(mean - record.known_change) > margin + FLOAT64_SHARE * mean:
        text = f"the record says {record.known_change:.10g}, its items give {mean:.10g}"
        yield Problem("contradiction", "known_region_change", text)
