"""What a report says of items and of groups of them: columns to sort by, named classes, flips, numbers of groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalItem, EvalSet
from palette_bench.artifacts.record import FLOAT32, GroupRecord, GroupValue, MetricValue
from palette_bench.common.errors import PaletteBenchError
from palette_bench.common.home import features_folder
from palette_bench.common.progress import Progress
from palette_bench.images.types import ImageU8
from palette_bench.publish.report.material import Material
from palette_bench.score import groups
from palette_bench.score.backbones.base import spec_named
from palette_bench.score.engine import Compute, Engine
from palette_bench.score.features import FeatureStore, PixelItem
from palette_bench.score.groups import Group, Grouping
from palette_bench.score.metrics import estimate
from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.metrics.estimate import Estimate
from palette_bench.score.recipes.base import Column, ItemNumbers, Recipe
from palette_bench.score.recipes.catalogue import find, named
from palette_bench.score.scoring import network_labels

if TYPE_CHECKING:
    from palette_bench.score.features import Features

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LISTED = 24
"""How many items of each list of extremes have their full images first."""
_NOT_KEPT = "what the scoring network makes of the references is not kept here"
_TITLES = {
    "known_region_change": ("change of the known region", 3),
    "hole_share": ("share of the image that is hidden", 3),
    "confidence": ("confidence in the class named", 3),
}


@dataclass(frozen=True, slots=True, eq=False)
class ItemColumn:
    """One number an item [N], NaN for none; ``digits`` after the decimal point are worth showing."""

    key: str
    title: str
    digits: int
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Classes of items. ``labels`` [N] are true classes, as places in ``names``; None where the set has none.

    ``predicted`` and ``reference`` [N] are the classes that the scoring network names, by its own numbers; ``words``
    says them. ``right`` and ``reference_right`` [N] say whether they are the true ones. ``unknown`` says why the
    references' are not known.
    """

    names: tuple[str, ...]
    labels: IntArray | None
    words: Mapping[int, str]
    predicted: IntArray | None
    right: NDArray[np.bool_] | None
    reference: IntArray | None
    reference_right: NDArray[np.bool_] | None
    unknown: str

    @property
    def flips(self) -> NDArray[np.bool_] | None:
        """Items [N] whose reference is classified rightly and whose prediction is not."""
        if self.right is None or self.reference_right is None:
            return None
        return self.reference_right & ~self.right


@dataclass(frozen=True, slots=True)
class View:
    """A way through the items: which come first, and whether flips are all that is shown."""

    key: str
    title: str
    note: str
    column: str
    descending: bool
    flips: bool


@dataclass(frozen=True, slots=True)
class GroupTable:
    """Numbers of groups of one kind; ``note`` says where they come from."""

    title: str
    note: str
    groups: tuple[GroupRecord, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Everything a page says of items."""

    columns: tuple[ItemColumn, ...]
    classes: Classes
    views: tuple[View, ...]
    tables: tuple[GroupTable, ...]

    def column(self, key: str) -> ItemColumn:
        """The column of that key."""
        return next(column for column in self.columns if column.key == key)


def find_facts(material: Material, *, jobs: int, progress: Progress) -> Facts:
    """The facts of a score. Classes of references come from kept features, or are computed where the weights are."""
    columns = tuple(_columns(material))
    classes = _classes(material, jobs=jobs, progress=progress)
    return Facts(columns, classes, tuple(_views(material, classes)), tuple(_tables(material)))


def first_shown(facts: Facts, count: int) -> list[int]:
    """All items, those first whose full images are wanted most: the heads of every list, in turn, then set order."""
    heads: list[Sequence[int]] = []
    for view in facts.views:
        rows = [int(row) for row in order(facts, view)]
        heads.append(rows[:LISTED])
    turns = [head[place] for place in range(LISTED) for head in heads if place < len(head)]
    return list(dict.fromkeys([*turns, *range(count)]))


def order(facts: Facts, view: View) -> IntArray:
    """The items of a view in its order; equal ones, and those without a number at the end, in set order."""
    if view.column:
        values = facts.column(view.column).values
        rows = np.argsort(-values if view.descending else values, kind="stable")
    else:
        rows = np.arange(len(facts.columns[0].values)) if facts.columns else np.arange(0)
    flips = facts.classes.flips
    chosen = rows[flips[rows]] if view.flips and flips is not None else rows
    return chosen.astype(np.int64)


def _columns(material: Material) -> list[ItemColumn]:
    found = []
    recipes = [recipe for name in material.record.metrics if (recipe := find(name)) is not None]
    left_out = {"label"}
    for recipe in recipes:
        if (named_class := recipe.metric.class_column(recipe)) is not None:
            left_out |= {named_class, *recipe.metric.item_columns(recipe, 1)}
    for key, values in material.items.columns.items():
        if key not in left_out:
            found.append(ItemColumn(key, *_title(key, material.record.metrics, material.record.samples), values))
    return found


def _title(key: str, metrics: Mapping[str, MetricValue], samples: int) -> tuple[str, int]:
    """What a column of items.csv is called, and its digits."""
    if key in _TITLES:
        return _TITLES[key]
    for name in metrics:
        recipe = find(name)
        if recipe is not None and key in recipe.metric.item_columns(recipe, samples):
            alone = key != name or [metric.title for metric in metrics.values()].count(recipe.title) == 1
            return recipe.metric.item_title(recipe, key) if alone else key, recipe.metric.item_digits(recipe)
    return key.replace("_", " "), 3


def headline(material: Material, column: Column) -> MetricValue | None:
    """The record's number that stands in a column of the paper."""
    found = [m for name, m in material.record.metrics.items() if m.headline and named(name).column is column]
    return found[0] if found else None


def _classes(material: Material, *, jobs: int, progress: Progress) -> Classes:
    eval_set = material.eval_set
    names = groups.class_names(eval_set)
    labels = np.array([item.label for item in eval_set.items], np.int64) if eval_set.labelled else None
    if labels is not None and int(labels.max()) >= len(names):
        names = (*names, *map(str, range(len(names), int(labels.max()) + 1)))
    metric = headline(material, Column.CA)
    columns = material.items.columns
    if metric is None or labels is None or not {"top1", "correct"} <= columns.keys():
        return Classes(names, labels, {}, None, None, None, None, "")
    truth = network_labels(eval_set)
    if isinstance(truth, str):
        return Classes(names, labels, {}, None, None, None, None, truth)
    words = {int(number): names[label] for number, label in zip(truth, labels, strict=True)}
    if np.array_equal(truth, labels):
        words |= dict(enumerate(names))
    predicted, right = columns["top1"].astype(np.int64), columns["correct"] == 1.0
    logits = _reference_logits(eval_set, metric, jobs=jobs, progress=progress)
    if isinstance(logits, str):
        return Classes(names, labels, words, predicted, right, None, None, logits)
    found = accuracy(logits, truth)
    return Classes(names, labels, words, predicted, right, found.named, found.correct, "")


@dataclass(frozen=True, slots=True)
class _KeptNetwork:
    """A network as the feature store knows it: its outputs are kept, itself it need not be here."""

    outputs: Mapping[str, int]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Reference:
    eval_set: EvalSet
    item: EvalItem

    def __call__(self) -> ImageU8:
        return self.eval_set.reference(self.item)


def _reference_logits(eval_set: EvalSet, metric: MetricValue, *, jobs: int, progress: Progress) -> "Features | str":
    """The outputs of the record's network for the references [N, classes], or why there are none."""
    recipe = named(metric.recipe)
    spec = spec_named(recipe.backbone)
    if metric.precision != FLOAT32:
        spec = spec.in_bfloat16()
    network = _KeptNetwork(spec.outputs, spec.fingerprint(metric.weights_sha256))
    if recipe.fingerprint(network.fingerprint) != metric.fingerprint:
        return f"the record's {recipe.name} is not defined as in this version of the program"
    store = FeatureStore(features_folder())
    values, found = store.load(network, [item.reference_digest for item in eval_set.items], progress=progress)
    if found.all():
        return values[recipe.output]
    if metric.precision != FLOAT32:
        return f"{_NOT_KEPT}, and it ran in {metric.precision}"
    engine = Engine(Compute(jobs=jobs, allow_other_weights=not metric.canonical), store, progress)
    try:
        engine.load([recipe])
    except PaletteBenchError as error:
        return f"{_NOT_KEPT}, and {error.what}"
    if engine.network(recipe.backbone).fingerprint != network.fingerprint:
        return f"{_NOT_KEPT}, and the weights here are other ones"
    loaders = [PixelItem(item.reference_digest, _Reference(eval_set, item)) for item in eval_set.items]
    return engine.extract(loaders)[recipe.backbone][recipe.output]


def _views(material: Material, classes: Classes) -> list[View]:
    views = [View("all", "All items", "in the order of the set", "", descending=False, flips=False)]
    perceptual = headline(material, Column.PD)
    frechet = headline(material, Column.FID)
    keys = material.items.columns
    distance = perceptual.recipe if perceptual is not None and perceptual.recipe in keys else ""
    if distance:
        views += [
            View("worst", "Worst by PD", "farthest from the reference first", distance, descending=True, flips=False),
            View("best", "Best by PD", "nearest to the reference first", distance, descending=False, flips=False),
        ]
    if classes.flips is not None:
        note = "the reference is classified rightly and the prediction is not"
        note += ", farthest from the reference first" if distance else ""
        views.append(View("flips", "Class flips", note, distance, descending=True, flips=True))
    influence = "" if frechet is None else f"{frechet.recipe}_influence"
    if influence not in keys:
        influence = next((key for key in keys if key.endswith("_influence")), "")
    if influence:
        note = "items that raise FID most first; the other way round, those that lower it most"
        views.append(View("influence", "Largest FID influence", note, influence, descending=True, flips=False))
    return views


def _tables(material: Material) -> list[GroupTable]:
    """Tables of the record's groups; by class and by hole size from the items where the record has none."""
    titles = {Grouping.CLASS: "By class", Grouping.HOLE_SIZE: "By hole size", Grouping.CATEGORIES: "Chosen categories"}
    found: list[GroupTable] = []
    for grouping, title in titles.items():
        of_record = tuple(group for group in material.record.groups if group.grouping == grouping.value)
        if of_record:
            found.append(GroupTable(title, "as recorded", of_record))
            continue
        computed = _grouped(material, grouping)
        if len(computed) > 1:
            note = "means over items; the record has no FID of these groups (palette-bench score --by)"
            found.append(GroupTable(title, note, tuple(_of_items(material, group) for group in computed)))
    return found


def _grouped(material: Material, grouping: Grouping) -> list[Group]:
    if grouping is Grouping.CLASS:
        return groups.by_class(material.eval_set) if material.eval_set.labelled else []
    return groups.by_hole_size(material.checked) if grouping is Grouping.HOLE_SIZE else []


def _of_items(material: Material, group: Group) -> GroupRecord:
    rows = np.asarray(group.rows)
    metrics: dict[str, GroupValue] = {}
    for name in material.record.metrics:
        found = _mean_of_items(named(name), material.items.columns, rows)
        if found is not None:
            metrics[name] = GroupValue(
                value=found.value, standard_error=found.standard_error, low=found.low, high=found.high
            )
    return GroupRecord(grouping=group.grouping.value, name=group.name, count=len(rows), metrics=metrics)


def _mean_of_items(recipe: Recipe, columns: Mapping[str, FloatArray], rows: IntArray) -> Estimate | None:
    """A recipe's number on some items as `score` computes it, None for recipes that are no mean over items."""
    if not recipe.metric.per_item or recipe.metric.of_samples:
        return None
    (key,) = recipe.metric.item_columns(recipe, 1)
    values = columns.get(key)
    if values is None or not np.isfinite(values[rows]).all():
        return None
    if recipe.metric.items is ItemNumbers.SHARE:
        return estimate.of_share(int(values[rows].sum()), len(rows), scale=recipe.metric.scale)
    return estimate.of_mean(values[rows])
