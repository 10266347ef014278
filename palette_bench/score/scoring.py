"""Scoring: the gate, one pass through the networks, all recipes, one record.

The work can be divided: `score_part` does a part and `merge` joins parts; under torchrun each rank does one and the
first joins them. However it was divided, the record is the same.
"""

import csv
import io
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalSet, open_set
from palette_bench.artifacts.predictions import PREDICTIONS_FILE, Described, described, locate
from palette_bench.artifacts.record import (
    GroupRecord,
    GroupValue,
    MetricValue,
    ResultRecord,
    ScoredReference,
    ScoredSet,
    signature,
)
from palette_bench.common import schema
from palette_bench.common.errors import UsageError, VerificationError
from palette_bench.common.home import features_folder, statistics_folder
from palette_bench.common.parts import Part
from palette_bench.common.progress import Progress
from palette_bench.images import canary
from palette_bench.prepare.sources.labels import WNID
from palette_bench.protocol.definition import Family, GeometryName, Status
from palette_bench.protocol.tasks import Task
from palette_bench.score import groups, ranks, shards, statistics
from palette_bench.score.backbones.base import Backend
from palette_bench.score.engine import Compute, Engine, NetworkRun, ScoredPixels, measure, pixel_columns
from palette_bench.score.features import FeatureStore, KeptRows
from palette_bench.score.gate import Admitted, admit, examine
from palette_bench.score.groups import Group, Grouping
from palette_bench.score.ranks import PART_CHUNK
from palette_bench.score.recipes.base import (
    Direction,
    Inputs,
    ItemNumbers,
    Needs,
    Number,
    Numbers,
    Recipe,
    ReferenceStatistics,
    Setting,
    compute,
    number_fingerprint,
)
from palette_bench.score.recipes.catalogue import for_scoring, named
from palette_bench.score.recipes.fid import FEWEST_IMAGES

RECONSTRUCTION_WARNING = "the set is a reconstruction: the paper's own list was never published"
EVAL_SET = "eval-set"
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to score.

    ``reference`` names FID's reference set (None: the set's own; ``eval-set``: another recipe). ``also`` are recipes
    besides the usual ones, ``all`` for every one. ``by`` and ``categories`` ask for the numbers of groups.
    """

    reference: str | None = None
    also: tuple[str, ...] = ()
    by: tuple[Grouping, ...] = ()
    categories: tuple[Path, ...] = ()
    compute: Compute = field(default_factory=Compute)


@dataclass(frozen=True, slots=True)
class Scored:
    """A record and the table of its items."""

    record: ResultRecord
    items_csv: str


@dataclass(slots=True)
class _Run:
    """Everything that is settled before a prediction is decoded."""

    eval_set: EvalSet
    task: Task
    task_fingerprint: str
    options: Options
    labels: NDArray[np.int64] | str
    groups: list[Group]
    recipes: list[Recipe]
    refused: dict[str, str]
    reference: str | None
    networks: dict[str, NetworkRun]
    engine: Engine
    described: Described | None
    warnings: list[str]

    def identity(self) -> dict[str, object]:
        """What two parts must agree in to be parts of one score."""
        return {
            "set": self.eval_set.set_id,
            "set_fingerprint": self.eval_set.fingerprint,
            "data_digest": self.eval_set.data_digest,
            "task": self.task.name,
            "task_fingerprint": self.task_fingerprint,
            "recipes": {r.name: r.fingerprint(self.networks[r.backbone].fingerprint) for r in self.recipes},
            "reference": self.reference,
            "described": None if self.described is None else schema.dump(self.described),
            "warnings": list(self.warnings),
        }


def recipes_of(eval_set: EvalSet) -> tuple[Recipe, ...]:
    """All recipes for a set, those on request included."""
    return for_scoring(Family.IMAGENET.value if eval_set.family is Family.FOLDER else eval_set.family.value)


def statistics_recipe(eval_set: EvalSet, name: str | None) -> Recipe:
    """The FID whose reference statistics are meant: the one called ``name``, or the headline FID of the set.

    Raises UsageError for a recipe of this set that needs none.
    """
    fitting = [recipe for recipe in recipes_of(eval_set) if recipe.needs_statistics]
    recipe = named(name) if name else fitting[0]
    if recipe not in fitting:
        raise UsageError(
            "this recipe needs no statistics", expected=", ".join(r.name for r in fitting), found=recipe.name
        )
    return recipe


def network_labels(eval_set: EvalSet) -> NDArray[np.int64] | str:
    """The true class of every item as the classifier numbers it, or why there is none."""
    if eval_set.family is Family.FOLDER:
        if not eval_set.classes:
            return "the set has no labels: its images are not in class folders"
        if not all(WNID.fullmatch(name) for name in eval_set.classes):
            return "the set's classes are not ImageNet's: its class folders are not named by wnid"
        from timm.data import ImageNetInfo

        index = {wnid: number for number, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names())}
        unknown = [name for name in eval_set.classes if name not in index]
        if unknown:
            return f"the set's class {unknown[0]} is not one of ImageNet's 1000"
        return np.array([index[eval_set.classes[item.label or 0]] for item in eval_set.items], dtype=np.int64)
    if not eval_set.labelled:
        return "the set has no labels"
    return np.array([item.label for item in eval_set.items], dtype=np.int64)


def score(
    eval_set: EvalSet, task: Task | str, where: Path, name: str, options: Options, *, progress: Progress
) -> Scored | None:
    """Score the predictions at ``where``; under torchrun every rank does its part, and all but the first return None.

    Raises InputError from the gate with every fault, and for weights or statistics that cannot be used.
    """
    group = ranks.of_this_process()
    task = eval_set.task(task)
    predictions, _ = locate(where, eval_set)
    store = FeatureStore(features_folder())
    of_folder = described(where, eval_set, task)
    run = _begin(eval_set, task, options, store, of_folder, samples=predictions.samples, progress=progress)
    pixels = ScoredPixels(eval_set, task, predictions)
    with group.joined():
        mine = examine(eval_set, task, where, jobs=options.compute.jobs, progress=progress, part=group.part)
        examined = group.gathered(mine)
        if not group.first and any(part.problems for part in examined):
            return None
        admitted = admit(eval_set, where, examined)
        if not group.part.whole:
            places = group.part.of(range(eval_set.count), together=PART_CHUNK)
            measure(run.engine, pixels, admitted, run.recipes, places)
            group.wait()
            if not group.first:
                return None
    return _finish(run, pixels, admitted, name)


def score_part(
    eval_set: EvalSet, task: Task | str, where: Path, part: Part, folder: Path, options: Options, *, progress: Progress
) -> None:
    """Do one part of a score, and leave in ``folder`` what `merge` needs of it; interrupted, it continues."""
    task = eval_set.task(task)
    predictions, _ = locate(where, eval_set)
    store = FeatureStore(folder / shards.FEATURES, [features_folder()], adopt=True)
    of_folder = described(where, eval_set, task)
    run = _begin(eval_set, task, options, store, of_folder, samples=predictions.samples, progress=progress)
    examined = examine(eval_set, task, where, jobs=options.compute.jobs, progress=progress, part=part)
    admitted = admit(eval_set, where, [examined])
    mine = part.of(range(eval_set.count), together=PART_CHUNK)
    measure(run.engine, ScoredPixels(eval_set, task, predictions), admitted, run.recipes, mine)
    shards.write(folder, part, run.identity(), examined)


def merge(folders: Sequence[Path], name: str, options: Options, *, progress: Progress) -> Scored:
    """The record of a score that was done in parts, equal to that of a score in one piece.

    Of ``options`` only what cannot move a number counts, and the groups. Raises InputError for parts that are missing,
    doubled, damaged or of different scores.
    """
    parts = shards.read(folders)
    eval_set = open_set(str(parts.identity["set"]))
    task = eval_set.task(str(parts.identity["task"]))
    recipes, reference = parts.identity["recipes"], parts.identity["reference"]
    options = replace(
        options,
        reference=EVAL_SET if reference is None else str(reference),
        also=tuple(recipes) if isinstance(recipes, dict) else (),
    )
    store = FeatureStore(features_folder(), [folder / shards.FEATURES for folder in folders], adopt=True)
    warnings = parts.identity.get("warnings")
    of_parts = (
        None if (said := parts.identity.get("described")) is None else schema.load(Described, said),
        list(warnings) if isinstance(warnings, list) else [],
    )
    run = _begin(eval_set, task, options, store, of_parts, samples=parts.examined[0].samples, progress=progress)
    shards.check(parts, run.identity())
    admitted = admit(eval_set, folders[0].parent, parts.examined)
    return _finish(run, ScoredPixels(eval_set, task, None), admitted, name)


def _begin(
    eval_set: EvalSet,
    task: Task,
    options: Options,
    store: FeatureStore,
    of_folder: tuple[Described | None, list[str]],
    *,
    samples: int,
    progress: Progress,
) -> _Run:
    canary.check(GeometryName(eval_set.geometry))
    task_fingerprint = eval_set.task_fingerprint(task)
    labels = network_labels(eval_set)
    wanted_groups = _wanted_groups(eval_set, task, options)
    recipes, refused = _wanted(eval_set, labels, options, samples)
    reference = None if options.reference == EVAL_SET else statistics.reference_name(eval_set, options.reference)
    engine = Engine(options.compute, store, progress)
    networks = engine.load(recipes)
    return _Run(
        eval_set,
        task,
        task_fingerprint,
        options,
        labels,
        wanted_groups,
        recipes,
        refused,
        reference,
        networks,
        engine,
        *of_folder,
    )


def _wanted_groups(eval_set: EvalSet, task: Task, options: Options) -> list[Group]:
    """The groups that were asked for, but for hole sizes. What cannot be grouped is refused before hours of work."""
    if Grouping.HOLE_SIZE in options.by and not task.masked:
        raise UsageError("this task hides nothing", where=task.name, expected="a task with holes for --by hole-size")
    found = groups.by_class(eval_set) if Grouping.CLASS in options.by else []
    return found + [groups.of_categories(eval_set, path) for path in options.categories]


def _wanted(
    eval_set: EvalSet, labels: NDArray[np.int64] | str, options: Options, samples: int
) -> tuple[list[Recipe], dict[str, str]]:
    """The recipes to compute, in the order of the table, and why others of the usual ones are not."""
    known = recipes_of(eval_set)
    asked = {name for name in options.also if name != ALL}
    for name in asked:
        if named(name) not in known:
            raise UsageError(
                f"recipe {name} does not fit this set", where=eval_set.set_id, expected=", ".join(r.name for r in known)
            )
    setting = Setting(
        images=eval_set.count,
        size=eval_set.size,
        samples=samples,
        labels=labels,
        reference_set=options.reference != EVAL_SET,
        grouped=bool(options.categories) or Grouping.CLASS in options.by,
    )
    requested: list[Recipe] = []
    refused: dict[str, str] = {}
    for recipe in known:
        if recipe.name not in asked and not recipe.is_usual(setting, all_of_them=ALL in options.also):
            continue
        if (reason := recipe.refusal(setting)) is not None:
            refused[recipe.name] = reason
        else:
            requested.append(recipe)
    return requested, refused


def _finish(run: _Run, pixels: ScoredPixels, admitted: Admitted, name: str) -> Scored:
    """From predictions that passed the gate to the record."""
    eval_set = run.eval_set
    kept = _statistics(run)
    for recipe in [r for r in run.recipes if r.needs_statistics and r.name not in kept]:
        run.recipes.remove(recipe)
        run.refused[recipe.name] = (
            f"the statistics of FID's reference set {run.reference} are not computed yet: run palette-bench "
            f"statistics {eval_set.set_id} --source DIR{_for_recipe(recipe)}, "
            "or ask for another recipe with --reference "
            "eval-set"
        )
    measured = measure(run.engine, pixels, admitted, run.recipes, range(eval_set.count))
    pixel_values = pixel_columns(admitted.rows)
    for recipe in [r for r in run.recipes if Needs.PIXELS in r.metric.needs and r.output not in pixel_values]:
        run.recipes.remove(recipe)
        run.refused[recipe.name] = "it was not known where the predictions were looked at: score them again"
    inputs = Inputs(
        predicted=measured.predicted,
        references=measured.references,
        labels=run.labels,
        statistics=kept,
        pixels=pixel_values,
        diversity=measured.diversity,
    )
    numbers = compute(run.recipes, inputs)
    ideal = _reference_values(run, inputs)
    scored_set = _scored_set(run)
    metrics = {
        recipe.name: _metric(run, recipe, numbers.values[recipe.name], ideal, scored_set, kept)
        for recipe in run.recipes
    }
    of_reference = next(iter(kept.values()), None)
    origin = None if run.described is None else run.described.origin
    if run.described is not None and run.described.tree_sha256 != admitted.tree_sha256:
        origin = None
        run.warnings.append(f"{PREDICTIONS_FILE} describes other images than these: the record names no model")
    return Scored(
        ResultRecord(
            name=name,
            scored=scored_set,
            reference=None if of_reference is None else _scored_reference(of_reference),
            predictions_digest=admitted.digest,
            tree_sha256=admitted.tree_sha256,
            samples=admitted.samples,
            lossy=sum(row.lossy for row in admitted.rows),
            known_change=admitted.known_change,
            metrics=metrics,
            refused=run.refused,
            warnings=(*admitted.warnings, *run.warnings, *_status_warnings(eval_set), *_clamped_warnings(numbers)),
            incomparable=tuple(reason for network in run.networks.values() for reason in network.incomparable),
            environment=_environment(run),
            groups=tuple(_groups(run, admitted, inputs)),
            histogram=numbers.histogram,
            origin=origin,
        ),
        _items_csv(eval_set, admitted, numbers),
    )


def _for_recipe(recipe: Recipe) -> str:
    return f" --recipe {recipe.name}" if recipe.on_request else ""


def _statistics(run: _Run) -> dict[str, ReferenceStatistics]:
    """The kept statistics by recipe. Raises VerificationError when those of two networks are of other images."""
    found: dict[str, ReferenceStatistics] = {}
    for recipe in run.recipes:
        if run.reference is not None and recipe.needs_statistics:
            kept = run.engine.statistics(run.eval_set, run.reference, recipe)
            if kept is not None:
                found[recipe.name] = kept
    if len({statistics.data_digest for statistics in found.values()}) > 1:
        raise VerificationError(
            "the statistics of FID's reference set are not all of the same images",
            where=statistics_folder(),
            expected="one digest of the data",
            found=", ".join(f"{name} {of.data_digest[:16]}" for name, of in found.items()),
            next_step="compute them again from one source: "
            f"palette-bench statistics {run.eval_set.set_id} --source DIR",
        )
    return found


def _reference_values(run: _Run, inputs: Inputs) -> dict[str, float | None]:
    """What the untouched references score, by recipe; kept, because it is the same for every score of a set."""
    store = KeptRows(statistics_folder() / f"references-{run.eval_set.data_digest}")
    kept = store.load(run.engine.progress)
    values: dict[str, float | None] = {}
    fresh: dict[str, dict[str, object]] = {}
    for recipe in run.recipes:
        key = _metric_fingerprint(run, recipe, inputs.statistics)
        if (row := kept.get(key)) is not None:
            value = row["value"]
            values[recipe.name] = float(value) if isinstance(value, int | float) else None
        else:
            values[recipe.name] = recipe.metric.ideal(recipe, inputs)
            fresh[key] = {"value": values[recipe.name]}
    store.add(fresh, run.engine.progress)
    return values


def _metric_fingerprint(run: _Run, recipe: Recipe, kept: Mapping[str, ReferenceStatistics]) -> str:
    of = kept.get(recipe.name)
    reference = None if of is None else (of.reference_fingerprint, of.data_digest)
    return number_fingerprint(recipe, run.networks[recipe.backbone].fingerprint, reference, run.eval_set.data_digest)


def _metric(
    run: _Run,
    recipe: Recipe,
    number: Number,
    ideal: Mapping[str, float | None],
    scored_set: ScoredSet,
    kept: Mapping[str, ReferenceStatistics],
) -> MetricValue:
    network = run.networks[recipe.backbone]
    reference: str | None = None
    if recipe.name in kept:
        reference = kept[recipe.name].reference
    elif recipe.reference is not None:
        reference = EVAL_SET
    return MetricValue(
        recipe=recipe.name,
        title=recipe.title,
        unit=recipe.unit,
        lower_is_better=recipe.direction is Direction.LOWER,
        headline=recipe.headline,
        value=number.estimate.value,
        standard_error=number.estimate.standard_error,
        low=number.estimate.low,
        high=number.estimate.high,
        reference_value=ideal[recipe.name],
        fingerprint=_metric_fingerprint(run, recipe, kept),
        backbone=network.name,
        weights_sha256=network.weights_sha256,
        canonical=network.canonical,
        signature=signature(
            recipe=recipe.name,
            scored=scored_set,
            reference=reference,
            backbone=network.name,
            weights_sha256=network.weights_sha256,
            canonical=network.canonical,
        ),
        details=dict(number.details),
        precision=network.precision,
    )


def _groups(run: _Run, admitted: Admitted, inputs: Inputs) -> list[GroupRecord]:
    """The numbers of the groups that were asked for, and of bands of hole size wherever they differ."""
    found = list(run.groups)
    by_hole = groups.by_hole_size(admitted.rows)
    if len(by_hole) > 1 or Grouping.HOLE_SIZE in run.options.by:
        found += by_hole
    fitting = [r for r in run.recipes if r.metric.per_item]
    # Of the numbers of whole sets, those with an error are worth having of a group.
    sets = [r for r in run.recipes if r.metric.items is ItemNumbers.INFLUENCE and not r.needs_statistics]
    records: list[GroupRecord] = []
    for group in found:
        recipes = fitting + (sets if len(group.rows) >= FEWEST_IMAGES else [])
        numbers = compute(recipes, inputs.only(group.rows))
        values = {
            name: GroupValue(
                value=number.estimate.value,
                standard_error=number.estimate.standard_error,
                low=number.estimate.low,
                high=number.estimate.high,
            )
            for name, number in numbers.values.items()
        }
        records.append(
            GroupRecord(grouping=group.grouping.value, name=group.name, count=len(group.rows), metrics=values)
        )
    return records


def _scored_set(run: _Run) -> ScoredSet:
    eval_set = run.eval_set
    return ScoredSet(
        set_id=eval_set.set_id,
        name=eval_set.name,
        version=eval_set.version,
        status=eval_set.status.value,
        variant=eval_set.variant,
        fingerprint=eval_set.fingerprint,
        data_digest=eval_set.data_digest,
        count=eval_set.count,
        size=eval_set.size,
        geometry=eval_set.geometry,
        task=run.task.name,
        task_fingerprint=run.task_fingerprint,
    )


def _scored_reference(kept: ReferenceStatistics) -> ScoredReference:
    return ScoredReference(
        name=kept.reference,
        fingerprint=kept.reference_fingerprint,
        data_digest=kept.data_digest,
        count=kept.moments.count,
    )


def _status_warnings(eval_set: EvalSet) -> list[str]:
    if eval_set.status is Status.RECONSTRUCTION:
        return [RECONSTRUCTION_WARNING]
    return []


def _clamped_warnings(numbers: Numbers) -> list[str]:
    return list(clamped_warnings({name: number.details for name, number in numbers.values.items()}).values())


def clamped_warnings(details: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """What is to be said of recipes whose pairs were clamped, by recipe; ``details`` are those of every number."""
    return {
        name: f"{share:.1%} of the pairs of {name} are clamped: dissimilar beyond what the metric can tell"
        for name, of_number in details.items()
        if (share := of_number.get("clamped_share", 0.0)) > 0
    }


def _environment(run: _Run) -> dict[str, str]:
    packages = ("torch", "torchvision", "torch-fidelity", "scipy")
    with_onnx = any(backbone.backend is Backend.ONNX for backbone in run.engine.backbones.values())
    return {
        **canary.software(),
        **{package: metadata.version(package) for package in packages},
        **{f"backend of {backbone.name}": backbone.backend.value for backbone in run.engine.backbones.values()},
        **({"onnxruntime": metadata.version("onnxruntime")} if with_onnx else {}),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": run.options.compute.device,
    }


def _items_csv(eval_set: EvalSet, admitted: Admitted, numbers: Numbers) -> str:
    """One line an item, in protocol order."""
    rows = admitted.rows
    table: dict[str, list[object]] = {
        "id": [item.id for item in eval_set.items],
        "label": [item.label for item in eval_set.items],
        "prediction_sha256": [row.own_digest for row in rows],
    }
    if admitted.known_change is not None:
        table["known_region_change"] = [row.known_change for row in rows]
        table["hole_share"] = [row.hole_share for row in rows]
    table |= {name: column.tolist() for name, column in numbers.columns.items()}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table)
    writer.writerows([_cell(value) for value in row] for row in zip(*table.values(), strict=True))
    return stream.getvalue()


def _cell(value: object) -> object:
    """Nine significant digits of a number that is not whole; nothing where there is none."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return "" if value is None else value
