"""Scoring: the gate, one pass through the networks, all recipes, one record."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.canonical import fingerprint
from palette_bench.common.home import features_folder
from palette_bench.common.progress import Progress
from palette_bench.prepare import canary
from palette_bench.prepare.frozen import FrozenSet, Holes
from palette_bench.prepare.sources.labels import WNID
from palette_bench.protocol.definition import Family, GeometryName, Status
from palette_bench.protocol.tasks import Task
from palette_bench.score import statistics
from palette_bench.score.backbones import weights
from palette_bench.score.backbones.base import LoadedBackbone, load, spec_named
from palette_bench.score.features import FeatureStore, PixelItem, extract
from palette_bench.score.gate import Admitted, admit, scored_image
from palette_bench.score.metrics.accuracy import Accuracy, accuracy
from palette_bench.score.metrics.frechet import Moments, frechet_distance
from palette_bench.score.metrics.inception_score import PEER_SEED, inception_score
from palette_bench.score.metrics.perceptual import Power, perceptual_distance
from palette_bench.score.recipes import Direction, Metric, Recipe, Reference, for_protocol
from palette_bench.score.record import MetricValue, ResultRecord, ScoredReference, ScoredSet, signature
from palette_bench.score.statistics import ReferenceStatistics

EVAL_SET = "eval-set"
FEWEST_IMAGES = 2

Outputs = Mapping[str, Mapping[str, NDArray[np.float32]]]
"""Backbone -> output -> [N, width], rows in item order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to score. ``reference`` names FID's reference set (None: the set's own; ``eval-set``: another recipe)."""

    reference: str | None = None
    allow_other_weights: bool = False
    device: str = "cpu"
    batch_size: int | None = None
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Scored:
    """A record and the table of its items."""

    record: ResultRecord
    items_csv: str


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Values of recipes on one set of images, and what is known of each item."""

    values: dict[str, float]
    columns: dict[str, NDArray[np.float64]]
    named: Accuracy | None


def recipes_of(opened: FrozenSet) -> tuple[Recipe, ...]:
    """The recipes a set is scored with."""
    return for_protocol(Family.IMAGENET.value if opened.family is Family.FOLDER else opened.family.value)


def network_labels(opened: FrozenSet) -> NDArray[np.int64] | str:
    """The true class of every item as the classifier numbers it, or why there is none."""
    if opened.family is Family.FOLDER:
        if not opened.classes:
            return "the set has no labels: its images are not in class folders"
        if not all(WNID.fullmatch(name) for name in opened.classes):
            return "the set's classes are not ImageNet's: its class folders are not named by wnid"
        from timm.data import ImageNetInfo

        index = {wnid: number for number, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names())}
        unknown = [name for name in opened.classes if name not in index]
        if unknown:
            return f"the set's class {unknown[0]} is not one of ImageNet's 1000"
        return np.array([index[opened.classes[item.label or 0]] for item in opened.items], dtype=np.int64)
    if not opened.labelled:
        return "the set has no labels"
    return np.array([item.label for item in opened.items], dtype=np.int64)


def score(opened: FrozenSet, task: Task, where: Path, name: str, options: Options, *, progress: Progress) -> Scored:
    """Score the predictions at ``where``.

    Raises InputError from the gate with every fault, and for weights or statistics that cannot be used.
    """
    canary.check(GeometryName(opened.geometry))
    task_fingerprint = opened.task_fingerprint(task)
    labels = network_labels(opened)
    wanted, refused = _wanted(opened, labels, options)
    reference = None if options.reference == EVAL_SET else statistics.reference_name(opened, options.reference)
    networks = list(dict.fromkeys(recipe.backbone for recipe in wanted))
    files = [file for network in networks if (file := spec_named(network).weights) is not None]
    weights.require(files, allow_other=options.allow_other_weights)
    backbones = [
        load(backbone, device=options.device, allow_other_weights=options.allow_other_weights) for backbone in networks
    ]
    by_name = {backbone.name: backbone for backbone in backbones}
    store = FeatureStore(features_folder())

    admitted = admit(opened, task, where, jobs=options.jobs, progress=progress)
    kept = _statistics(opened, reference, wanted, by_name, store, options, progress=progress)
    if kept is None:
        for recipe in [r for r in wanted if _needs_statistics(r)]:
            refused[recipe.name] = (
                f"the statistics of FID's reference set {reference} are not computed yet: run palette-bench "
                f"statistics {opened.set_id} --source DIR, or ask for another recipe with --reference eval-set"
            )
        wanted = [r for r in wanted if not _needs_statistics(r)]

    predicted = extract(
        _prediction_items(opened, task, admitted), backbones, store, batch_size=options.batch_size, progress=progress
    )
    references = extract(_reference_items(opened), backbones, store, batch_size=options.batch_size, progress=progress)
    numbers = _compute(wanted, predicted, references, labels, kept)
    ideal = _compute(wanted, references, references, labels, kept)

    scored_set = _scored_set(opened, task, task_fingerprint)
    metrics = {
        recipe.name: _metric(recipe, by_name[recipe.backbone], numbers, ideal, scored_set, kept) for recipe in wanted
    }
    other = [backbone.name for backbone in backbones if not backbone.canonical]
    incomparable = [f"the weights of {backbone} are not the published ones" for backbone in other]
    record = ResultRecord(
        name=name,
        scored=scored_set,
        reference=None
        if kept is None
        else ScoredReference(
            name=kept.reference,
            fingerprint=kept.reference_fingerprint,
            data_digest=kept.data_digest,
            count=kept.moments.count,
        ),
        predictions_digest=admitted.digest,
        samples=admitted.predictions.samples,
        lossy=sum(row.lossy for row in admitted.rows),
        known_change=admitted.known_change,
        metrics=metrics,
        refused=refused,
        warnings=(*admitted.warnings, *_status_warnings(opened)),
        incomparable=tuple(incomparable),
        environment=_environment(options),
    )
    return Scored(record, _items_csv(opened, admitted, numbers))


def _needs_statistics(recipe: Recipe) -> bool:
    return recipe.metric is Metric.FRECHET and recipe.parameters["reference"] == Reference.REFERENCE_SET.value


def _wanted(
    opened: FrozenSet, labels: NDArray[np.int64] | str, options: Options
) -> tuple[list[Recipe], dict[str, str]]:
    wanted: list[Recipe] = []
    refused: dict[str, str] = {}
    for recipe in recipes_of(opened):
        least = FEWEST_IMAGES if recipe.metric is Metric.FRECHET else int(recipe.parameters.get("splits", 1))
        if recipe.metric is Metric.ACCURACY and isinstance(labels, str):
            refused[recipe.name] = labels
        elif recipe.metric is Metric.FRECHET and _needs_statistics(recipe) == (options.reference == EVAL_SET):
            continue
        elif opened.count < least:
            refused[recipe.name] = f"it needs at least {least} images, and the set has {opened.count}"
        else:
            wanted.append(recipe)
    return wanted, refused


def _statistics(
    opened: FrozenSet,
    reference: str | None,
    wanted: Sequence[Recipe],
    backbones: Mapping[str, LoadedBackbone],
    store: FeatureStore,
    options: Options,
    *,
    progress: Progress,
) -> ReferenceStatistics | None:
    needing = [recipe for recipe in wanted if _needs_statistics(recipe)]
    if reference is None or not needing:
        return None
    recipe = needing[0]
    backbone = backbones[recipe.backbone]
    kept = statistics.load(opened, reference, backbone.fingerprint, recipe.output)
    if kept is None and opened.family is Family.SCENES32:
        # Drawn images need no source, so nobody has to be asked.
        kept, _ = statistics.compute(
            opened,
            reference,
            backbone,
            recipe.output,
            source=None,
            labels=None,
            store=store,
            progress=progress,
            batch_size=options.batch_size,
        )
    return kept


@dataclass(frozen=True, slots=True)
class _PredictionLoader:
    opened: FrozenSet
    task: Task
    admitted: Admitted
    holes: Holes
    index: int

    def __call__(self) -> NDArray[np.uint8]:
        decoded = self.admitted.predictions.read(self.index, 0)
        item = self.opened.items[self.index]
        image, _ = scored_image(self.opened, self.holes, item, decoded.pixels)
        return image


@dataclass(frozen=True, slots=True)
class _ReferenceLoader:
    opened: FrozenSet
    index: int

    def __call__(self) -> NDArray[np.uint8]:
        return self.opened.reference(self.opened.items[self.index])


def _prediction_items(opened: FrozenSet, task: Task, admitted: Admitted) -> list[PixelItem]:
    holes = opened.holes(task)
    return [
        PixelItem(row.scored_digest, _PredictionLoader(opened, task, admitted, holes, row.index))
        for row in admitted.rows
    ]


def _reference_items(opened: FrozenSet) -> list[PixelItem]:
    return [PixelItem(item.reference_digest, _ReferenceLoader(opened, item.index)) for item in opened.items]


def _compute(
    recipes: Sequence[Recipe],
    images: Outputs,
    references: Outputs,
    labels: NDArray[np.int64] | str,
    kept: ReferenceStatistics | None,
) -> _Numbers:
    """Every recipe's value on ``images``; features are float32, everything from here on is float64."""
    values: dict[str, float] = {}
    columns: dict[str, NDArray[np.float64]] = {}
    named: Accuracy | None = None
    for recipe in recipes:
        features = images[recipe.backbone][recipe.output]
        of_references = references[recipe.backbone][recipe.output]
        match recipe.metric:
            case Metric.FRECHET:
                other: Moments | NDArray[np.float32] = of_references
                if _needs_statistics(recipe):
                    if kept is None:
                        raise ValueError(f"{recipe.name} needs statistics")
                    other = kept.moments
                values[recipe.name] = frechet_distance(features, other).value
            case Metric.INCEPTION_SCORE:
                splits = int(recipe.parameters["splits"])
                seed = PEER_SEED if splits > 1 else None
                values[recipe.name] = inception_score(features, splits=splits, permutation_seed=seed).value
            case Metric.ACCURACY:
                if isinstance(labels, str):
                    continue
                named = accuracy(features, labels)
                values[recipe.name] = named.percent
            case Metric.PERCEPTUAL:
                distance = perceptual_distance(features, of_references, power=Power(int(recipe.parameters["power"])))
                values[recipe.name] = distance.mean
                columns[recipe.name] = distance.items
    return _Numbers(values, columns, named)


def _metric(
    recipe: Recipe,
    backbone: LoadedBackbone,
    numbers: _Numbers,
    ideal: _Numbers,
    scored_set: ScoredSet,
    kept: ReferenceStatistics | None,
) -> MetricValue:
    of_recipe = recipe.fingerprint(backbone.fingerprint)
    reference: str | None = None
    if recipe.metric is Metric.FRECHET:
        reference = kept.reference if kept is not None and _needs_statistics(recipe) else EVAL_SET
        against = [kept.reference_fingerprint, kept.data_digest] if kept is not None else [scored_set.data_digest]
        of_recipe = fingerprint([of_recipe, *against])
    return MetricValue(
        recipe=recipe.name,
        title=recipe.title,
        unit=recipe.unit,
        lower_is_better=recipe.direction is Direction.LOWER,
        headline=recipe.headline,
        value=numbers.values[recipe.name],
        reference_value=ideal.values[recipe.name],
        fingerprint=of_recipe,
        backbone=backbone.name,
        weights_sha256=backbone.weights_sha256,
        canonical=backbone.canonical,
        signature=signature(
            recipe=recipe.name,
            scored=scored_set,
            reference=reference,
            backbone=backbone.name,
            weights_sha256=backbone.weights_sha256,
            canonical=backbone.canonical,
        ),
    )


def _scored_set(opened: FrozenSet, task: Task, task_fingerprint: str) -> ScoredSet:
    return ScoredSet(
        set_id=opened.set_id,
        name=opened.name,
        version=opened.version,
        status=opened.status.value,
        variant=opened.variant,
        fingerprint=opened.fingerprint,
        data_digest=opened.data_digest,
        count=opened.count,
        size=opened.size,
        geometry=opened.geometry,
        task=task.name,
        task_fingerprint=task_fingerprint,
    )


def _status_warnings(opened: FrozenSet) -> list[str]:
    if opened.status is Status.RECONSTRUCTION:
        return ["the set is a reconstruction: the paper's own list was never published"]
    return []


def _environment(options: Options) -> dict[str, str]:
    packages = ("torch", "torchvision", "torch-fidelity", "scipy")
    return {
        **canary.software(),
        **{package: metadata.version(package) for package in packages},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": options.device,
    }


def _items_csv(opened: FrozenSet, admitted: Admitted, numbers: _Numbers) -> str:
    """One line an item, in protocol order."""
    import pandas

    table: dict[str, object] = {
        "id": [item.id for item in opened.items],
        "label": [item.label for item in opened.items],
        "prediction_sha256": [row.own_digest for row in admitted.rows],
    }
    if admitted.known_change is not None:
        table["known_region_change"] = [row.known_change for row in admitted.rows]
    if numbers.named is not None:
        table["top1"] = numbers.named.named
        table["correct"] = numbers.named.correct.astype(int)
        table["confidence"] = numbers.named.confidence
    table |= numbers.columns
    text: str = pandas.DataFrame(table).to_csv(index=False, lineterminator="\n", float_format="%.9g")
    return text
