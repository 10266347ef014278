"""Results on disk whose numbers the scorer itself made, of features instead of images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas
from numpy.typing import NDArray

from palette_bench.artifacts.record import GroupRecord, GroupValue, MetricValue, ResultRecord, save
from palette_bench.score.metrics.frechet import moments
from palette_bench.score.recipes.base import Direction, Inputs, PairNumbers, Recipe, ReferenceStatistics, compute
from palette_bench.score.recipes.catalogue import for_protocol
from tests.records import a_record

COUNT, WIDTH, CLASSES = 120, 6, 4
IDS = tuple(f"scene-{number:05d}" for number in range(COUNT))
LABELS = np.arange(COUNT) % CLASSES
HOLES = np.where(np.arange(COUNT) < 50, 0.22, 0.27)
FloatArray = NDArray[np.float64]


def _shared() -> tuple[NDArray[np.float32], FloatArray, ReferenceStatistics]:
    """References, what is hard about each item for every model, and FID's reference."""
    rng = np.random.default_rng(5)
    references = rng.normal(size=(COUNT, WIDTH)).astype(np.float32)
    full = moments(rng.normal(size=(500, WIDTH)))
    statistics = ReferenceStatistics(
        reference="reference",
        reference_fingerprint="1",
        data_digest="2",
        backbone_fingerprint="3",
        output="features",
        moments=full,
    )
    return references, rng.normal(size=(COUNT, WIDTH)), statistics


def inputs(badness: float, *, own: int, samples: int = 1, count: int = COUNT) -> Inputs:
    """What a model of so much ``badness`` made, with noise of its ``own`` beside what is hard for all."""
    references, hard, statistics = _shared()
    rng = np.random.default_rng([6, own])
    wrong = badness * (hard + 0.3 * rng.normal(size=hard.shape))
    logits = np.eye(CLASSES)[LABELS] * 2.0 + rng.normal(size=(COUNT, CLASSES)) + wrong[:, :CLASSES]
    pairs = 0.5 + 0.1 * np.tanh(hard[:, :1] + rng.normal(size=(COUNT, 7)))
    found = Inputs(
        predicted={"scenes32": {"features": (references + wrong).astype(np.float32), "logits": logits.astype("f4")}},
        references={"scenes32": {"features": references, "logits": logits.astype("f4")}},
        labels=LABELS,
        statistics={"fid-scenes32": statistics},
        pixels={"psnr": 30.0 - np.abs(wrong[:, 0]), "ssim": np.exp(-np.abs(wrong[:, 1]))},
        diversity={"ms_ssim": PairNumbers(pairs[:, : samples - 1], np.zeros((COUNT, samples - 1), np.bool_))},
    )
    return found.only(range(count))


def recipes(samples: int) -> list[Recipe]:
    """All of the family that can be computed here."""
    return [r for r in for_protocol("scenes32") if samples > 1 or r.output != "ms_ssim"]


def write_result(
    folder: Path,
    badness: float = 0.5,
    *,
    own: int = 0,
    samples: int = 1,
    count: int = COUNT,
    groups: bool = True,
    ids: Sequence[str] | None = None,
    items: Callable[[pandas.DataFrame], object] = lambda _: None,
    change: Callable[[ResultRecord], ResultRecord] = lambda record: record,
) -> Path:
    """The result of such a model in ``folder``; ``items`` and ``change`` spoil what would be written."""
    of_all, used = inputs(badness, own=own, samples=samples, count=count), recipes(samples)
    numbers = compute(used, of_all)
    metrics = {}
    for recipe in used:
        estimate = numbers.values[recipe.name].estimate
        metrics[recipe.name] = MetricValue(
            recipe=recipe.name,
            title=recipe.title,
            unit=recipe.unit,
            lower_is_better=recipe.direction is Direction.LOWER,
            headline=recipe.headline,
            value=estimate.value,
            standard_error=estimate.standard_error,
            low=estimate.low,
            high=estimate.high,
            reference_value=None,
            fingerprint=sha256(recipe.name.encode()).hexdigest(),
            backbone=recipe.backbone,
            weights_sha256="b" * 64,
            canonical=True,
            signature=recipe.name,
        )
    names = list((IDS if ids is None else tuple(ids))[:count])
    table = pandas.DataFrame(
        {
            "id": names,
            "label": LABELS[:count],
            "prediction_sha256": [sha256(f"{badness} {own} {name}".encode()).hexdigest() for name in names],
            "hole_share": HOLES[:count],
            **numbers.columns,
        }
    )
    items(table)
    record = a_record()
    record = replace(
        record,
        name=folder.name,
        scored=replace(record.scored, count=count),
        samples=samples,
        metrics=metrics,
        refused={},
        groups=_groups(of_all, used, count) if groups else (),
        predictions_digest=sha256(f"{badness} {own} {samples}".encode()).hexdigest(),
    )
    folder.mkdir(parents=True)
    save(change(record), table.to_csv(index=False, lineterminator="\n", float_format="%.9g"), folder)
    return folder


def _groups(of_all: Inputs, used: Sequence[Recipe], count: int) -> tuple[GroupRecord, ...]:
    """Classes, two of them of one name, and bands of hole size, as the scorer has them."""
    rows = {("class", f"class {label // 2}", label): LABELS[:count] == label for label in range(CLASSES)}
    rows |= {("hole-size", "20-25 %", 0): HOLES[:count] < 0.25, ("hole-size", "25-30 %", 0): HOLES[:count] > 0.25}
    rows["categories", "some", 0] = LABELS[:count] != 1
    found = []
    for (grouping, name, _), members in rows.items():
        if not members.any():
            continue
        values = compute([r for r in used if r.metric.per_item], of_all.only(np.flatnonzero(members).tolist()))
        metrics = {
            key: GroupValue(
                value=number.estimate.value,
                standard_error=number.estimate.standard_error,
                low=number.estimate.low,
                high=number.estimate.high,
            )
            for key, number in values.values.items()
        }
        found.append(GroupRecord(grouping=grouping, name=name, count=int(members.sum()), metrics=metrics))
    return tuple(found)
