"""A small prepared set, predictions for it, and a sealed record of them whose numbers are made up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.record import MetricValue, ResultRecord, save
from palette_bench.common.home import HOME_VARIABLE, features_folder
from palette_bench.common.progress import Silent
from palette_bench.images.types import ImageU8
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.score.backbones.base import spec_named
from palette_bench.score.features import FeatureStore
from palette_bench.score.gate import admit, examine
from palette_bench.score.recipes.catalogue import named
from tests.conftest import make_photos
from tests.records import a_record

WNIDS = ("n01440764", "n02099601")
TASK = "inpaint-freeform-20-30"
WEIGHTS = "b" * 64
FID, CA, PD = "fid-inception2015-tf1", "ca-resnet50v1-crop224", "pd-inception2015-pool3-l2sq"
NAME = "mine"
Draw = Callable[[ImageU8, int, int], ImageU8]


@dataclass(frozen=True)
class World:
    """A home with the set, the folder of the predictions, and that of the record."""

    home: Path
    eval_set: EvalSet
    preds: Path
    result: Path
    record: ResultRecord


@dataclass(frozen=True)
class _Network:
    outputs: dict[str, int]
    fingerprint: str


def noisy(reference: ImageU8, item: int, sample: int) -> ImageU8:
    """A prediction that changes the known region too."""
    noise = np.random.default_rng([item, sample]).integers(-30, 31, reference.shape)
    return (reference.astype(np.int64) + noise).clip(0, 255).astype(np.uint8)


def make_world(
    folder: Path,
    *,
    count: int = 12,
    size: int = 32,
    samples: int = 1,
    task: str = TASK,
    classes: Sequence[str] = WNIDS,
    draw: Draw = noisy,
    change: Callable[[ResultRecord], ResultRecord] = lambda record: record,
) -> World:
    """Everything a report needs, with its own home below ``folder``.

    Predictions of items 1, 4, 7, ... are classified wrongly, and references of items 1, 7, 13, ...: where the classes
    are ImageNet's the outputs of the references are kept as after a score.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder / "home"))
        source = make_photos(folder / "photos", count, classes=tuple(classes))
        plan = make_plan("folder", Choices(source=source, name="small", size=size), progress=Silent())
        eval_set = EvalSet(build(plan, jobs=1, replace=False, progress=Silent()).folder)
        preds = folder / "preds"
        for item in eval_set.items:
            for sample in range(samples):
                path = preds / (f"{item.id}.png" if samples == 1 else f"{item.id}/{sample}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw(eval_set.reference(item), item.index, sample)).save(path)
        record = record_of(eval_set, task, preds, folder / "result", change)
        _keep_logits(eval_set)
    return World(folder / "home", eval_set, preds, folder / "result", record)


def record_of(
    eval_set: EvalSet,
    task: str,
    preds: Path,
    result: Path,
    change: Callable[[ResultRecord], ResultRecord] = lambda record: record,
) -> ResultRecord:
    """Write a record of these predictions, with made-up numbers, and its items."""
    record, items = _scored(eval_set, task, preds, change)
    save(record, items, result)
    return record


def wrong(count: int) -> list[int]:
    """Items whose predictions are classified wrongly."""
    return list(range(1, count, 3))


def distances(count: int) -> list[float]:
    """PD by item: no two equal, and not in set order."""
    return [float((7 * item + 3) % count) + item / 1000 for item in range(count)]


def influences(count: int) -> list[float]:
    """Influence on FID by item."""
    return [float((5 * item + 1) % count) - count / 2 + item / 1000 for item in range(count)]


def _scored(
    eval_set: EvalSet, task: str, preds: Path, change: Callable[[ResultRecord], ResultRecord]
) -> tuple[ResultRecord, str]:
    admitted = admit(eval_set, preds, [examine(eval_set, eval_set.task(task), preds, jobs=1, progress=Silent())])
    base, count = a_record(), eval_set.count
    scored = replace(
        base.scored,
        set_id=eval_set.set_id,
        name=eval_set.name,
        version=eval_set.version,
        status=eval_set.status.value,
        variant=eval_set.variant,
        fingerprint=eval_set.fingerprint,
        data_digest=eval_set.data_digest,
        count=count,
        size=eval_set.size,
        geometry=eval_set.geometry,
        task=task,
        task_fingerprint=eval_set.task_fingerprint(eval_set.task(task)),
    )
    metrics = {name: _metric(base.metrics["fid-scenes32"], name) for name in (FID, CA, PD, "psnr-rgb")}
    record = replace(
        base,
        name=NAME,
        scored=scored,
        predictions_digest=admitted.digest,
        tree_sha256=admitted.tree_sha256,
        samples=admitted.samples,
        known_change=admitted.known_change,
        metrics=metrics,
        refused={},
        groups=(),
        histogram=None if admitted.samples == 1 else (0, 3, 9, 0),
    )
    fixed = ("id", "label", "prediction_sha256", "known_region_change", "hole_share")
    lines = [",".join([*fixed, f"{FID}_influence", "top1", "correct", "confidence", PD, "psnr"])]
    for row, distance, influence in zip(admitted.rows, distances(count), influences(count), strict=True):
        item, correct = eval_set.items[row.index], row.index not in wrong(count)
        top1 = _number(eval_set, item.label or 0) if correct else 5
        numbers = [row.known_change, row.hole_share, influence, top1, int(correct), 0.5, distance, row.pixels["psnr"]]
        cells = ["" if number is None else f"{number:.9g}" for number in numbers]
        lines.append(",".join([item.id, "" if item.label is None else str(item.label), row.own_digest, *cells]))
    return change(record), "\n".join(lines) + "\n"


def _metric(base: MetricValue, name: str) -> MetricValue:
    recipe = named(name)
    fingerprint = "a" * 64
    if name == CA:
        fingerprint = recipe.fingerprint(spec_named(recipe.backbone).fingerprint(WEIGHTS))
    return replace(
        base,
        recipe=name,
        title=recipe.title,
        unit=recipe.unit,
        lower_is_better=recipe.direction.value == "lower",
        headline=recipe.headline,
        fingerprint=fingerprint,
        backbone=recipe.backbone,
        weights_sha256=WEIGHTS,
        signature=f"{name}|set:small@1|n:12",
    )


def _number(eval_set: EvalSet, label: int) -> int:
    """The class as the network numbers it."""
    return {WNIDS[0]: 0, WNIDS[1]: 207}.get(eval_set.classes[label], label) if eval_set.classes else label


def _keep_logits(eval_set: EvalSet) -> None:
    spec = spec_named(named(CA).backbone)
    logits = np.zeros((eval_set.count, spec.outputs["logits"]), np.float32)
    for item in eval_set.items:
        logits[item.index, 9 if item.index % 6 == 1 else _number(eval_set, item.label or 0)] = 5.0
    others = {name: np.zeros((eval_set.count, width), np.float32) for name, width in spec.outputs.items()}
    FeatureStore(features_folder()).write(
        _Network(dict(spec.outputs), spec.fingerprint(WEIGHTS)),
        [item.reference_digest for item in eval_set.items],
        {**others, "logits": logits},
        progress=Silent(),
    )
