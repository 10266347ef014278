"""Results and entries that hold together, made without a network: numbers of items are drawn, the rest follows."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.predictions import output_name, tree_digest
from palette_bench.artifacts.record import (
    RECORD_FILE,
    MetricValue,
    ResultRecord,
    ScoredReference,
    ScoredSet,
    save,
    signature,
)
from palette_bench.common.canonical import bytes_digest, fingerprint, pixel_digest
from palette_bench.common.progress import Silent
from palette_bench.images.decode import encode_png
from palette_bench.protocol.definition import load_protocol
from palette_bench.publish.leaderboard.entry import (
    ENTRY_FILE,
    PACKED_ITEMS_FILE,
    AuditImage,
    Entry,
    audit_file,
    audited,
    packed,
    parse_entry,
    unpacked,
)
from palette_bench.publish.leaderboard.submit import Declared, submit
from palette_bench.score.backbones.scenes32_weights import WEIGHTS_SHA256
from palette_bench.score.metrics.estimate import QUANTILE, Estimate, from_influence, of_mean, of_share
from palette_bench.score.recipes.base import PIXELS, Direction
from palette_bench.score.recipes.catalogue import RECIPES

SET, TASK = "scenes32", "uncrop"
COUNT = 2000
DATA, REFERENCE_DATA = "d" * 64, "e" * 64


def predictions(seed: int) -> list[NDArray[np.uint8]]:
    """The images of a model: tiny, and all different."""
    return list(np.random.default_rng(seed).integers(0, 256, (COUNT, 3, 4, 3), dtype=np.uint8))


def a_result(
    folder: Path,
    seed: int = 0,
    *,
    task: str = TASK,
    data: str = DATA,
    reference_data: str = REFERENCE_DATA,
    fid: float | None = None,
) -> ResultRecord:
    """Write ``result.json`` and ``items.csv`` of a made-up model on scenes32 into ``folder``."""
    protocol = load_protocol(SET)
    rng = np.random.default_rng([seed, 1])
    labels, named = rng.integers(0, 20, COUNT), rng.integers(0, 20, COUNT)
    named = np.where(rng.random(COUNT) < 0.5, labels, named)
    columns: dict[str, NDArray[np.float64]] = {
        "pd-scenes32": rng.gamma(3.0, 2.0, COUNT),
        "psnr": rng.normal(20.0, 2.0, COUNT),
        "ssim": rng.uniform(0.2, 0.9, COUNT),
    }
    influence = rng.normal(0.0, 12.0, COUNT)
    influence -= influence.mean()
    digests = [pixel_digest(image) for image in predictions(seed)]
    ids = [f"scene-{number:05d}" for number in range(COUNT)]
    change = np.abs(rng.normal(0.0, 0.1, COUNT))
    lines = [
        "id,label,prediction_sha256,known_region_change,hole_share,fid-scenes32_influence,top1,correct,confidence,"
        + ",".join(columns)
    ]
    for row in range(COUNT):
        numbers = [change[row], 0.5, influence[row]]
        cells = [ids[row], str(labels[row]), digests[row], *(f"{number:.9g}" for number in numbers)]
        cells += [str(named[row]), str(int(named[row] == labels[row])), "0.5"]
        lines.append(",".join([*cells, *(f"{column[row]:.9g}" for column in columns.values())]))
    value = 10.0 + seed if fid is None else fid
    estimates = {
        "fid-scenes32": from_influence(value, influence, least=0.0),
        "is-scenes32": Estimate(5.0 + seed, 0.05, 5.0 + seed - QUANTILE * 0.05, 5.0 + seed + QUANTILE * 0.05),
        "ca-scenes32": of_share(int((named == labels).sum()), COUNT, scale=100.0),
        "pd-scenes32": of_mean(columns["pd-scenes32"]),
        "psnr-rgb": of_mean(columns["psnr"]),
        "ssim-gauss11-rgb": of_mean(columns["ssim"]),
    }
    references = dict(zip(estimates, (0.21, 9.5, 96.0, 0.0, 100.0, 1.0), strict=True))
    scored = ScoredSet(
        set_id=SET,
        name=SET,
        version=protocol.version,
        status=protocol.status.value,
        variant=(),
        fingerprint=protocol.fingerprint(),
        data_digest=data,
        count=COUNT,
        size=protocol.size,
        geometry=protocol.geometry.value,
        task=task,
        task_fingerprint=protocol.task_fingerprint(task),
    )
    reference = ScoredReference(
        name="reference",
        fingerprint=protocol.reference_fingerprint("reference"),
        data_digest=reference_data,
        count=10000,
    )
    pairs = [[item, digest] for item, digest in zip(ids, digests, strict=True)]
    record = ResultRecord(
        name="mine",
        scored=scored,
        reference=reference,
        predictions_digest=fingerprint(pairs),
        tree_sha256=tree_digest({output_name(item, 0, 1): digest for item, digest in zip(ids, digests, strict=True)}),
        samples=1,
        lossy=0,
        known_change=float(change.mean()),
        metrics={
            name: _metric(name, estimate, references[name], reference, scored) for name, estimate in estimates.items()
        },
        refused={},
        warnings=(),
        incomparable=(),
        environment={"python": "3.11"},
    )
    save(record, "\n".join(lines) + "\n", folder)
    return record


def _metric(name: str, estimate: Estimate, ideal: float, reference: ScoredReference, scored: ScoredSet) -> MetricValue:
    recipe = RECIPES[name]
    own = recipe.published_fingerprint
    weights = "" if recipe.backbone == PIXELS else WEIGHTS_SHA256
    if "reference" in recipe.parameters:
        own = fingerprint([own, reference.fingerprint, reference.data_digest])
    return MetricValue(
        recipe=name,
        title=recipe.title,
        unit=recipe.unit,
        lower_is_better=recipe.direction is Direction.LOWER,
        headline=recipe.headline,
        value=estimate.value,
        standard_error=estimate.standard_error,
        low=estimate.low,
        high=estimate.high,
        reference_value=ideal,
        fingerprint=own,
        backbone=recipe.backbone,
        weights_sha256=weights,
        canonical=True,
        signature=signature(
            recipe=name,
            scored=scored,
            reference="reference" if "reference" in recipe.parameters else None,
            backbone=recipe.backbone,
            weights_sha256=weights,
            canonical=True,
        ),
    )


def an_entry(out: Path, name: str = "My model", seed: int = 0, **result: Any) -> Path:  # noqa: ANN401
    """An entry with audit images below ``out``; the prepared set is not needed, for its images are made up."""
    where = out.parent / f"result-{seed}"
    record = a_result(where, seed, **result)
    declared = Declared(name=name, training_data="scenes32, train", url="https://example.org/a")
    folder = submit(where, declared, None, out, jobs=1, progress=Silent()).folder
    add_audit(folder, record, predictions(seed))
    return folder


def add_audit(folder: Path, record: ResultRecord, images: list[NDArray[np.uint8]]) -> None:
    """Put the audit images into an entry that was made without."""
    chosen = audited(record.tree_sha256, [f"scene-{number:05d}" for number in range(COUNT)])
    for item in chosen:
        path = folder / audit_file(item)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_png(images[item]))
    shown = tuple(
        AuditImage(item=item, file=audit_file(item), pixels_sha256=pixel_digest(images[item])) for item in chosen
    )
    rewrite(folder, lambda entry: replace(entry, audit=shown))


def rewrite(folder: Path, change: Callable[[Entry], Entry] = lambda entry: entry) -> None:
    """Change an entry and give it digests and a seal that fit, as a forger would."""
    entry, _ = parse_entry((folder / ENTRY_FILE).read_bytes())
    assert entry is not None
    entry = change(entry)
    names = [RECORD_FILE, PACKED_ITEMS_FILE, *(image.file for image in entry.audit)]
    files = {name: bytes_digest((folder / name).read_bytes()) for name in names}
    (folder / ENTRY_FILE).write_text(json.dumps(replace(entry, files=files).sealed()))


def reseal_record(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record and give it a seal that fits, and the entry the digest of that."""
    path = folder / RECORD_FILE
    content = json.loads(path.read_text())
    del content["seal"]
    change(content)
    path.write_text(json.dumps({**content, "seal": fingerprint(content)}))
    rewrite(folder)


def reseal_items(folder: Path, change: Callable[[str], str]) -> None:
    """Change the items and give record and entry the digests that fit."""
    path = folder / PACKED_ITEMS_FILE
    data = change(unpacked(path.read_bytes()).decode()).encode()
    path.write_bytes(packed(data))
    reseal_record(folder, lambda content: content.update(items_sha256=bytes_digest(data)))


def metric_of(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A metric of a record's file."""
    found: dict[str, Any] = content["metrics"][name]
    return found
