"""Two results on the same items: what differs, how sure that is, and where. Anything that is not the same is refused.

The numbers are differences of paired items, first minus second (docs/comparing.md).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.record import (
    GroupRecord,
    Items,
    MetricValue,
    RecordFile,
    ResultRecord,
    ScoredReference,
    read_items,
    read_record,
)
from palette_bench.common.errors import InputError, Problem, UsageError, VerificationError
from palette_bench.common.version import __version__
from palette_bench.publish.tables.table import (
    Table,
    TableCell,
    TableColumn,
    TableGroup,
    TableRow,
    footnoted,
    number_text,
    words,
)
from palette_bench.score.groups import BAND_PERCENT, Grouping
from palette_bench.score.metrics import paired
from palette_bench.score.metrics.estimate import from_influence, of_mean
from palette_bench.score.metrics.paired import Difference
from palette_bench.score.recipes.base import Direction, ItemNumbers, Recipe
from palette_bench.score.recipes.catalogue import find, named

FloatArray = NDArray[np.float64]

LEVEL = 0.05
"""An adjusted p below this decides who is ahead."""
_AGREEMENT = 1e-6
"""Items have nine digits: what they add up to agrees with the record to this, relatively."""


class Method(StrEnum):
    """How the error of a difference was found."""

    BOOTSTRAP = "paired-bootstrap"
    """Means over items: whole items are resampled."""
    EXACT = "exact-mcnemar"
    """Shares of right items: the ones on which the two disagree."""
    JACKKNIFE = "infinitesimal-jackknife"
    """FID: from every item's influence on either number."""
    UNPAIRED = "unpaired"
    """The table of items knows nothing of the metric: as if the two had been scored on different items."""
    NO_ERROR = "no-error"
    """Too few items, or a recipe without an error."""
    SAME = "same-predictions"
    """The predictions are the same images: what differs is rounding."""


class Ahead(StrEnum):
    """Who is better."""

    FIRST = "A"
    SECOND = "B"
    NOBODY = "not decided"


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A result that is compared: its record and its items."""

    file: RecordFile
    items: Items

    @property
    def record(self) -> ResultRecord:
        """The record."""
        return self.file.record


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDifference:
    """One recipe's two numbers and their difference, ``first`` minus ``second``.

    ``adjusted_p`` is Holm's over all metrics that are compared, and alone decides who is ``ahead``. ``details`` is
    what else is known by name.
    """

    recipe: Recipe
    first: float
    second: float
    first_error: float | None
    second_error: float | None
    difference: Difference
    method: Method
    adjusted_p: float | None
    ahead: Ahead
    details: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        found = self.difference
        return {
            "title": self.recipe.title,
            "unit": self.recipe.unit,
            "direction": self.recipe.direction.value,
            "a": self.first,
            "b": self.second,
            "difference": found.value,
            "standard_error": found.standard_error,
            "interval": None if found.low is None else [found.low, found.high],
            "p": found.p,
            "adjusted_p": self.adjusted_p,
            "ahead": None if self.ahead is Ahead.NOBODY else self.ahead.value,
            "method": self.method.value,
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class ItemDifference:
    """One item's number in either result."""

    id: str
    first: float
    second: float

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {"id": self.id, "a": self.first, "b": self.second, "difference": self.first - self.second}


@dataclass(frozen=True, slots=True)
class MostDifferent:
    """The items by whose number of ``recipe`` one result is furthest ahead of the other, the largest difference first.

    For FID the number is the item's influence on it.
    """

    recipe: Recipe
    first_ahead: tuple[ItemDifference, ...]
    second_ahead: tuple[ItemDifference, ...]

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "recipe": self.recipe.name,
            "of": "influence" if self.recipe.metric.items is ItemNumbers.INFLUENCE else "value",
            "a_ahead": [item.as_json() for item in self.first_ahead],
            "b_ahead": [item.as_json() for item in self.second_ahead],
        }


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """A recipe's two numbers on a group; ``paired`` says whether the standard error is that of paired items."""

    first: float
    second: float
    standard_error: float | None
    paired: bool

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "a": self.first,
            "b": self.second,
            "difference": self.first - self.second,
            "standard_error": self.standard_error,
            "paired": self.paired,
        }


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """A group that both records have."""

    grouping: str
    name: str
    count: int
    metrics: Mapping[str, GroupDifference]

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "grouping": self.grouping,
            "name": self.name,
            "count": self.count,
            "metrics": {name: found.as_json() for name, found in self.metrics.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two results compared. ``left_out`` says of every recipe that is in one of them alone, or unknown, why."""

    first: RecordFile
    second: RecordFile
    metrics: tuple[MetricDifference, ...]
    left_out: Mapping[str, str]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    most_different: MostDifferent | None
    groups: tuple[GroupComparison, ...]

    @property
    def signature(self) -> str:
        """The line a paper can print beside the differences."""
        scored = self.first.record.scored
        tests = sum(found.difference.p is not None for found in self.metrics)
        parts = (
            "compare",
            f"a:{self.first.record.result_id[:12]}",
            f"b:{self.second.record.result_id[:12]}",
            f"set:{scored.set_id}@{scored.version}",
            f"task:{scored.task}",
            f"n:{scored.count}",
            f"data:{scored.data_digest[:8]}",
            f"bootstrap:{paired.RESAMPLES}",
            f"holm:{tests}",
            f"v:{__version__}",
        )
        return "|".join(parts)

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        scored = self.first.record.scored
        return {
            "signature": self.signature,
            "a": _named_record(self.first),
            "b": _named_record(self.second),
            "set": {"id": scored.set_id, "version": scored.version, "data_digest": scored.data_digest},
            "task": scored.task,
            "count": scored.count,
            "resamples": paired.RESAMPLES,
            "level": LEVEL,
            "metrics": {found.recipe.name: found.as_json() for found in self.metrics},
            "not_compared": dict(self.left_out),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "most_different": None if self.most_different is None else self.most_different.as_json(),
            "groups": [group.as_json() for group in self.groups],
        }


def _named_record(of: RecordFile) -> dict[str, object]:
    origin = of.record.origin
    return {
        "name": of.record.name,
        "result_id": of.record.result_id,
        "samples": of.record.samples,
        "model": None if origin is None else origin.model,
    }


def open_side(where: Path) -> Side:
    """A result from its folder or ``result.json``, with the items beside it; errors as ``read_record`` has them."""
    file = read_record(where)
    return Side(file, read_items(file))


def compare(
    first: Side, second: Side, *, only: Sequence[str] = (), worst: int = 5, worst_by: str | None = None
) -> Comparison:
    """``first`` minus ``second`` in every recipe of both, or in those named ``only``.

    ``worst`` items on either side are listed by ``worst_by``, a recipe with a number an item: by default the headline
    distance. Raises InputError with every difference that makes the two incomparable (set, data, task; recipe, network,
    weights, precision or reference of a metric; the items and their order), VerificationError where items do not add up
    to the record's numbers, UsageError for recipes that cannot be meant.
    """
    names, left_out = _chosen(first.record, second.record, only)
    _refuse_unequal(first.record, second.record, names)
    _refuse_other_items(first, second)
    recipes = [named(name) for name in names]
    _refuse_wrong_items((first, second), recipes)
    metrics = _metric_differences(first, second, recipes)
    return Comparison(
        first=first.file,
        second=second.file,
        metrics=metrics,
        left_out=left_out,
        warnings=_warnings(first.record, second.record),
        notes=_notes(first, second, metrics),
        most_different=_most_different(first, second, recipes, worst, worst_by),
        groups=_groups(first, second, recipes),
    )


def _chosen(first: ResultRecord, second: ResultRecord, only: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Names of the recipes to compare, the paper's columns first, and why others are not."""
    both = [name for name in first.metrics if name in second.metrics]
    known = [name for name in both if find(name) is not None]
    if unknown := [name for name in only if name not in known]:
        raise UsageError(
            "recipes that are not in both results",
            expected=", ".join(known) or "any recipe in both",
            found=", ".join(unknown),
            next_step="score both with --also RECIPE, or leave it out of --only",
        )
    left_out = {name: "this version knows no recipe of this name" for name in both if name not in known}
    for label, other, mine, its in (("A", "B", first, second), ("B", "A", second, first)):
        for name in mine.metrics:
            if name not in its.metrics:
                why = its.refused.get(name)
                left_out[name] = f"in {label} only" + (f"; refused in {other}: {why}" if why else "")
    chosen = [name for name in known if not only or name in only]
    chosen.sort(key=lambda name: named(name).order)
    return chosen, {} if only else left_out


def _refuse_unequal(first: ResultRecord, second: ResultRecord, names: Sequence[str]) -> None:
    problems: list[Problem] = []

    def must_equal(kind: str, what: str, mine: object, its: object) -> None:
        if mine != its:
            problems.append(Problem(kind, what, f"A has {mine}, B has {its}"))

    for kind, what, of in _IDENTITY:
        must_equal(kind, what, of(first), of(second))
    of_metrics = [problem for name in names for problem in _unequal_metric(name, first, second)]
    if problems or of_metrics:
        raise InputError(
            "these results cannot be compared",
            expected="equal fingerprints of set, data, task and every metric",
            found=f"{len(problems) + len(of_metrics)} differences",
            problems=[*problems, *of_metrics],
            next_step="score both predictions on the same set and task with the same weights and FID reference"
            + ("" if problems else "; --only RECIPE compares what is equal"),
        )
    if not names:
        raise InputError(
            "these results cannot be compared",
            expected="a recipe in both",
            found=f"A: {', '.join(first.metrics) or 'none'}; B: {', '.join(second.metrics) or 'none'}",
            next_step="score both with the same recipes",
        )


_IDENTITY: tuple[tuple[str, str, Callable[[ResultRecord], object]], ...] = (
    ("other set", "set", lambda r: r.scored.set_id),
    ("other set", "version", lambda r: r.scored.version),
    ("other set", "fingerprint", lambda r: r.scored.fingerprint),
    ("other images", "data_digest", lambda r: r.scored.data_digest),
    ("other images", "count", lambda r: r.scored.count),
    ("other task", "task", lambda r: r.scored.task),
    ("other task", "fingerprint", lambda r: r.scored.task_fingerprint),
)


def _unequal_metric(name: str, first: ResultRecord, second: ResultRecord) -> list[Problem]:
    """What keeps one recipe's numbers apart, by its causes where the records tell them."""
    mine, its = first.metrics[name], second.metrics[name]
    causes: list[tuple[str, object, object]] = [
        ("network", mine.backbone, its.backbone),
        ("weights", mine.weights_sha256, its.weights_sha256),
        ("precision", mine.precision, its.precision),
    ]
    if named(name).needs_statistics:
        causes.append(("reference", _reference_text(first.reference), _reference_text(second.reference)))
    found = [Problem(f"other {what}", name, f"A has {a}, B has {b}") for what, a, b in causes if a != b]
    if not found and mine.fingerprint != its.fingerprint:
        found = [Problem("other recipe", name, f"A has fingerprint {mine.fingerprint}, B has {its.fingerprint}")]
    return found


def _reference_text(reference: ScoredReference | None) -> str:
    if reference is None:
        return "none"
    return f"{reference.name} ({reference.count} images, {reference.fingerprint[:12]}, {reference.data_digest[:12]})"


def _refuse_other_items(first: Side, second: Side) -> None:
    if first.items.ids == second.items.ids:
        return
    mine, its = set(first.items.ids), set(second.items.ids)
    problems = [Problem("only in A", name, "") for name in first.items.ids if name not in its]
    problems += [Problem("only in B", name, "") for name in second.items.ids if name not in mine]
    if not problems:
        pairs = enumerate(zip(first.items.ids, second.items.ids, strict=False), 1)
        problems = [Problem("another order", f"item {at}", f"A has {a}, B has {b}") for at, (a, b) in pairs if a != b]
    raise InputError(
        "these results cannot be compared",
        expected="the same items in the same order",
        found=f"{len(problems)} differences",
        problems=problems,
        next_step="score both predictions on the same set",
    )


def _of_items(side: Side, recipe: Recipe, samples: int) -> FloatArray:
    """The number [N] of each item; a mean over pairs of the first ``samples`` where there are several."""
    columns = [side.items.columns[name] for name in recipe.metric.item_columns(recipe, samples)]
    values: FloatArray = np.mean(columns, axis=0) * recipe.metric.scale
    return values


def _refuse_wrong_items(sides: tuple[Side, Side], recipes: Sequence[Recipe]) -> None:
    """Every column is there and whole, and makes the number in the record."""
    missing, wrong = [], []
    for label, side in zip(("A", "B"), sides, strict=True):
        for recipe in recipes:
            names = recipe.metric.item_columns(recipe, side.record.samples)
            faults = [
                Problem("missing", f"{label}: {name}", "a column of items.csv")
                for name in names
                if name not in side.items.columns or np.isnan(side.items.columns[name]).any()
            ]
            missing += faults
            if names and not faults and (fault := _disagreement(side, recipe)):
                wrong.append(Problem("does not add up", f"{label}: {recipe.name}", fault))
    if missing:
        raise InputError(
            "items lack numbers", problems=missing, next_step="score the predictions again: palette-bench score"
        )
    if wrong:
        raise VerificationError(
            "items do not make the numbers of their record",
            problems=wrong,
            next_step="score the predictions again: palette-bench score",
        )


def _disagreement(side: Side, recipe: Recipe) -> str | None:
    metric = side.record.metrics[recipe.name]
    values = _of_items(side, recipe, side.record.samples)
    if recipe.metric.items is not ItemNumbers.INFLUENCE:
        found = float(values.mean())
        if not math.isclose(found, metric.value, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT * float(np.abs(values).max())):
            return f"the items' mean is {found:.9g}, the record says {metric.value:.9g}"
        return None
    if abs(float(values.mean())) > _AGREEMENT * float(np.abs(values).max()):
        return f"influences sum to {float(values.sum()):.3g} and not to 0"
    error = from_influence(metric.value, values).standard_error
    if (error is None) != (metric.standard_error is None) or not math.isclose(
        error or 0.0, metric.standard_error or 0.0, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT**2
    ):
        return f"influences give the standard error {error}, the record says {metric.standard_error}"
    return None


def _metric_differences(first: Side, second: Side, recipes: Sequence[Recipe]) -> tuple[MetricDifference, ...]:
    """All metrics; means of items are resampled together."""
    samples = min(first.record.samples, second.record.samples)
    of_items = {
        recipe.name: (_of_items(first, recipe, samples), _of_items(second, recipe, samples))
        for recipe in recipes
        if recipe.metric.item_columns(recipe, samples)
    }
    means = [
        r.name
        for r in recipes
        if r.name in of_items and r.metric.items is ItemNumbers.MEAN and not _same(first, second, r)
    ]
    drawn: dict[str, Difference] = {}
    if means:
        differences = np.stack([of_items[name][0] - of_items[name][1] for name in means], axis=1)
        drawn = dict(zip(means, paired.of_means(differences), strict=True))
    found = [_difference(first, second, recipe, of_items.get(recipe.name), drawn) for recipe in recipes]
    adjusted = paired.holm([metric.difference.p for metric in found])
    return tuple(_decided(metric, p) for metric, p in zip(found, adjusted, strict=True))


def _same(first: Side, second: Side, recipe: Recipe) -> bool:
    """Whether a recipe sees the same predictions on both sides, so that what differs is the machines' rounding."""
    if recipe.metric.of_samples:
        return first.record.predictions_digest == second.record.predictions_digest
    return first.items.prediction_digests == second.items.prediction_digests


def _difference(
    first: Side,
    second: Side,
    recipe: Recipe,
    of_items: tuple[FloatArray, FloatArray] | None,
    drawn: Mapping[str, Difference],
) -> MetricDifference:
    mine, its = (_shown(side, other, recipe) for side, other in ((first, second), (second, first)))
    value = mine[0] - its[0]
    details: dict[str, int] = {}
    if recipe.metric.items is ItemNumbers.SHARE and of_items is not None:
        right = of_items[0] > 0, of_items[1] > 0
        details = {"only_a": int((right[0] & ~right[1]).sum()), "only_b": int((right[1] & ~right[0]).sum())}
    if _same(first, second, recipe):
        difference, method = Difference(value, 0.0, value, value, 1.0), Method.SAME
    elif of_items is None:
        difference, method = paired.unpaired(value, mine[1], its[1]), Method.UNPAIRED
        if first.record.scored.count < paired.FEWEST_ITEMS:
            difference = paired.unknown(value)
    elif recipe.metric.items is ItemNumbers.INFLUENCE:
        difference, method = paired.of_influences(value, *of_items), Method.JACKKNIFE
    elif recipe.metric.items is ItemNumbers.SHARE:
        difference = paired.of_shares(of_items[0] > 0, of_items[1] > 0, scale=recipe.metric.scale)
        method = Method.EXACT
    else:
        difference, method = drawn[recipe.name], Method.BOOTSTRAP
    return MetricDifference(
        recipe=recipe,
        first=mine[0],
        second=its[0],
        first_error=mine[1],
        second_error=its[1],
        difference=difference,
        method=Method.NO_ERROR if difference.p is None else method,
        adjusted_p=None,
        ahead=Ahead.NOBODY,
        details=details,
    )


def _shown(side: Side, other: Side, recipe: Recipe) -> tuple[float, float | None]:
    """The number that is compared, and its error: the record's, or of as many samples as the other side has."""
    metric: MetricValue = side.record.metrics[recipe.name]
    if recipe.metric.of_samples and other.record.samples < side.record.samples:
        estimate = of_mean(_of_items(side, recipe, other.record.samples))
        return estimate.value, estimate.standard_error
    return metric.value, metric.standard_error


def _decided(metric: MetricDifference, adjusted: float | None) -> MetricDifference:
    ahead = Ahead.NOBODY
    if adjusted is not None and adjusted < LEVEL:
        ahead = _ahead(metric.recipe, metric.difference.value)
    return replace(metric, adjusted_p=adjusted, ahead=ahead)


def _ahead(recipe: Recipe, difference: float) -> Ahead:
    if difference == 0:
        return Ahead.NOBODY
    lower = recipe.direction is Direction.LOWER
    return Ahead.FIRST if (difference < 0) == lower else Ahead.SECOND


def _warnings(first: ResultRecord, second: ResultRecord) -> tuple[str, ...]:
    reasons = dict.fromkeys((*first.incomparable, *second.incomparable))
    if not reasons:
        return ()
    return (f"these numbers compare with each other only, and with nothing else: {'; '.join(reasons)}",)


def _notes(first: Side, second: Side, metrics: Sequence[MetricDifference]) -> tuple[str, ...]:
    notes: list[str] = []
    mine, its, count = first.record.samples, second.record.samples, first.record.scored.count
    same = all(metric.method is Method.SAME for metric in metrics)
    if same:
        notes.append("A and B are the same predictions: nothing can be decided between them")
    if mine != its:
        notes.append(
            f"A has {mine} samples an item and B has {its}: only the first {min(mine, its)} of each are compared, "
            "and everything but the diversity of samples is of the first alone, as in any record"
        )
    if count < paired.FEWEST_ITEMS and not same:
        notes.append(
            f"{count} items are too few for an interval of anything but a share: at least {paired.FEWEST_ITEMS}"
        )
    tests = sum(metric.difference.p is not None for metric in metrics)
    if tests > 1 and not same:
        notes.append(
            f"{tests} tests: p (Holm) keeps the chance of any wrong verdict among them below {100 * LEVEL:.0f} %, and "
            "decides who is ahead; other pairs of results, or other tasks, are more tests"
        )
    return tuple(notes)


def _most_different(
    first: Side, second: Side, recipes: Sequence[Recipe], worst: int, worst_by: str | None
) -> MostDifferent | None:
    samples = min(first.record.samples, second.record.samples)
    able = [r for r in recipes if r.metric.items is not ItemNumbers.SHARE and r.metric.item_columns(r, samples)]
    if worst_by is not None and worst_by not in [r.name for r in able]:
        raise UsageError(
            "items cannot be ordered by this recipe",
            expected=", ".join(r.name for r in able) or "a recipe with a number for every item",
            found=worst_by,
        )
    if not able:
        return None
    # A mean over items before influences, and what is of the first samples before what is of all.
    usual = min(able, key=lambda r: (r.metric.of_samples, not r.metric.per_item, r.metric.order, not r.headline))
    recipe = usual if worst_by is None else named(worst_by)
    mine, its = _of_items(first, recipe, samples), _of_items(second, recipe, samples)
    # Positive where the first is better.
    lead = its - mine if recipe.direction is Direction.LOWER else mine - its

    def listed(lead: FloatArray) -> tuple[ItemDifference, ...]:
        places = [int(at) for at in np.argsort(-lead, kind="stable")[:worst] if lead[at] > 0]
        return tuple(ItemDifference(first.items.ids[at], float(mine[at]), float(its[at])) for at in places)

    return MostDifferent(recipe, listed(lead), listed(-lead))


_Key = tuple[str, str, int]
"""Grouping, name, and which of the groups of that name: two classes of ImageNet are cranes."""


def _keyed(groups: Sequence[GroupRecord]) -> dict[_Key, GroupRecord]:
    seen: Counter[tuple[str, str]] = Counter()
    found: dict[_Key, GroupRecord] = {}
    for group in groups:
        found[group.grouping, group.name, seen[group.grouping, group.name]] = group
        seen[group.grouping, group.name] += 1
    return found


def _groups(first: Side, second: Side, recipes: Sequence[Recipe]) -> tuple[GroupComparison, ...]:
    """The groups that both records have, with the recipes that both have of them."""
    theirs = _keyed(second.record.groups)
    members = _members(first)
    found: list[GroupComparison] = []
    for key, mine in _keyed(first.record.groups).items():
        its = theirs.get(key)
        if its is None or its.count != mine.count:
            continue
        metrics = {
            recipe.name: _group_difference(recipe, (first, second), (mine, its), members.get(key))
            for recipe in recipes
            if recipe.name in mine.metrics and recipe.name in its.metrics
        }
        if metrics:
            found.append(GroupComparison(mine.grouping, mine.name, mine.count, metrics))
    return tuple(found)


def _members(side: Side) -> dict[_Key, NDArray[np.bool_]]:
    """Which items make a group, where the table of items tells: classes in the order of labels, bands of hole size."""
    found: dict[_Key, NDArray[np.bool_]] = {}
    keyed = _keyed(side.record.groups)
    labels = side.items.columns.get("label")
    classes = [key for key in keyed if key[0] == Grouping.CLASS.value]
    if labels is not None and not np.isnan(labels).any() and len(classes) == len(np.unique(labels)):
        found |= {key: labels == label for key, label in zip(classes, np.unique(labels), strict=True)}
    shares = side.items.columns.get("hole_share")
    if shares is not None and not np.isnan(shares).any():
        bands = np.minimum(np.floor(shares * 100 / BAND_PERCENT), 99 // BAND_PERCENT)
        for band in np.unique(bands).astype(int).tolist():
            name = f"{BAND_PERCENT * band}-{BAND_PERCENT * (band + 1)} %"
            found[Grouping.HOLE_SIZE.value, name, 0] = bands == band
    return {key: rows for key, rows in found.items() if key in keyed and int(rows.sum()) == keyed[key].count}


def _group_difference(
    recipe: Recipe,
    sides: tuple[Side, Side],
    groups: tuple[GroupRecord, GroupRecord],
    rows: NDArray[np.bool_] | None,
) -> GroupDifference:
    """Paired where the members' numbers are known and make the numbers of the records, for a name proves no member."""
    mine, its = (group.metrics[recipe.name] for group in groups)
    if _same(*sides, recipe):
        return GroupDifference(mine.value, its.value, 0.0, paired=True)
    samples = {side.record.samples for side in sides}
    if rows is not None and recipe.metric.items is not ItemNumbers.INFLUENCE and len(samples) == 1:
        columns = [_of_items(side, recipe, max(samples))[rows] for side in sides]
        if all(
            math.isclose(float(column.mean()), value.value, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT)
            for column, value in zip(columns, (mine, its), strict=True)
        ):
            error = of_mean(columns[0] - columns[1]).standard_error
            return GroupDifference(mine.value, its.value, error, paired=True)
    errors = mine.standard_error, its.standard_error
    error = None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1])
    return GroupDifference(mine.value, its.value, error, paired=False)


MOST_GROUPS = 24
"""A table of groups has no more rows than this; ``--json`` has them all."""
LEAST_P = 0.001
NO_P_OF_GROUPS = "no p-values here: of twenty groups that do not differ, one is two standard errors off by chance"
UNPAIRED = "unpaired: items.csv does not say what an item does to this number: the error is that of different images"
UNPAIRED_GROUP = "unpaired: the error is that of different images and nearly always too large"


def comparison_tables(comparison: Comparison) -> list[Table]:
    """The comparison as it is printed: the differences, the images that differ most, and the groups."""
    tables = [_metrics_table(comparison)]
    if comparison.most_different is not None:
        tables += _items_table(comparison.most_different)
    if len(comparison.groups) > MOST_GROUPS:
        remarks = (f"{len(comparison.groups)} groups in both: --json has their differences",)
        tables.append(Table(title="", columns=(), groups=(), remarks=remarks))
    elif comparison.groups:
        tables.append(_groups_table(comparison.groups))
    return tables


def _metrics_table(comparison: Comparison) -> Table:
    scored = comparison.first.record.scored
    heads = (
        f"A: {comparison.first.record.name}",
        f"B: {comparison.second.record.name}",
        "A - B",
        "95 %",
        "p",
        "p (Holm)",
    )
    columns = (TableColumn(head="recipe", text=True), *(TableColumn(head=head) for head in heads))
    flips = tuple(
        f"{metric.recipe.name}: {metric.details['only_a']} images are right in A only, {metric.details['only_b']} in B "
        "only"
        for metric in comparison.metrics
        if metric.details
    )
    return footnoted(
        Table(
            title=f"{scored.task} on {scored.set_id} version {scored.version}: the same {scored.count} images",
            columns=(*columns, TableColumn(head="ahead", text=True)),
            groups=(TableGroup(rows=tuple(map(_metric_row, comparison.metrics))),),
            remarks=(*flips, *comparison.notes),
        )
    )


def _metric_row(metric: MetricDifference) -> TableRow:
    recipe, difference, error = metric.recipe, metric.difference, metric.difference.standard_error
    # So many digits that a standard error keeps two.
    digits = max(recipe.digits, math.ceil(-math.log10(error)) + 1) if error else recipe.digits
    interval = "-"
    if difference.low is not None and difference.high is not None and metric.method is not Method.SAME:
        interval = f"{difference.low:+z.{digits}f} to {difference.high:+z.{digits}f}"
    return TableRow(
        label=_label(recipe),
        cells=words(
            recipe.name,
            number_text(metric.first, metric.first_error, recipe.digits),
            number_text(metric.second, metric.second_error, recipe.digits),
            f"{difference.value:+z.{digits}f}" if difference.value else "0",
            interval,
            _p(difference.p),
            _p(metric.adjusted_p),
            metric.ahead.value,
        ),
        remarks=(UNPAIRED,) if metric.method is Method.UNPAIRED else (),
    )


def _label(recipe: Recipe) -> str:
    return f"{recipe.heading}, {recipe.unit}" if recipe.unit else recipe.heading


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:.3f}"


def _items_table(most: MostDifferent) -> Iterator[Table]:
    digits = most.recipe.digits + 1
    groups = [
        TableGroup(
            rows=tuple(
                TableRow(
                    label=item.id,
                    cells=words(
                        f"{item.first:.{digits}f}",
                        f"{item.second:.{digits}f}",
                        f"{item.first - item.second:+z.{digits}f}",
                        ahead,
                    ),
                )
                for item in items
            )
        )
        for ahead, items in (("A", most.first_ahead), ("B", most.second_ahead))
        if items
    ]
    if groups:
        what = "influence on " if most.recipe.metric.items is ItemNumbers.INFLUENCE else ""
        yield Table(
            title=f"the images that differ most, by {what}{most.recipe.name}",
            columns=(*(TableColumn(head=head) for head in ("A", "B", "A - B")), TableColumn(head="ahead", text=True)),
            groups=tuple(groups),
        )


def _groups_table(groups: Sequence[GroupComparison]) -> Table:
    recipes = [named(name) for name in dict.fromkeys(name for group in groups for name in group.metrics)]
    return footnoted(
        Table(
            title="parts of the set: A - B with standard errors",
            columns=(TableColumn(head="images"), *(TableColumn(head=_label(recipe)) for recipe in recipes)),
            groups=(
                TableGroup(
                    rows=tuple(
                        TableRow(
                            label=f"{group.grouping} {group.name}",
                            cells=(
                                *words(str(group.count)),
                                *(_group_cell(group.metrics.get(recipe.name), recipe.digits) for recipe in recipes),
                            ),
                        )
                        for group in groups
                    )
                ),
            ),
            remarks=(
                "no p-values here: of twenty groups that do not differ, one is two standard errors off by chance",
            ),
        )
    )


def _group_cell(difference: GroupDifference | None, digits: int) -> TableCell:
    if difference is None:
        return TableCell()
    error = "" if difference.standard_error is None else f" ± {difference.standard_error:.{digits}f}"
    text = f"{difference.first - difference.second:+z.{digits}f}{error}"
    return TableCell(text=text, remarks=() if difference.paired else (UNPAIRED_GROUP,))
