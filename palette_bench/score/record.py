"""The result record: one score with everything needed to know what it is comparable with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from palette_bench import __version__
from palette_bench.common.canonical import bytes_digest, fingerprint
from palette_bench.common.files import write_bytes, write_json
from palette_bench.common.tables import Table

SCHEMA = 3
IDENTITY = 2
"""The version of what ``result_id`` covers."""
FLOAT32 = "float32"
RECORD_FILE = "result.json"
ITEMS_FILE = "items.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One recipe's number with its error, and the same recipe on the untouched references.

    ``low`` to ``high`` is the 95 % interval, of the expectation at this number of images; it and ``standard_error`` are
    None where there is none. ``details`` is what else is known of the number. ``reference_value`` is None where the
    references' own number says nothing. ``fingerprint`` covers recipe, network, weights and, for FID, the reference
    set. ``canonical`` is False when the weights are not the published ones. ``precision`` is what the network ran in.
    """

    recipe: str
    title: str
    unit: str
    lower_is_better: bool
    headline: bool
    value: float
    standard_error: float | None
    low: float | None
    high: float | None
    reference_value: float | None
    fingerprint: str
    backbone: str
    weights_sha256: str
    canonical: bool
    signature: str
    details: Mapping[str, float] = field(default_factory=dict)
    precision: str = FLOAT32

    def as_json(self) -> dict[str, object]:
        """Plain data for the record file."""
        return {
            "title": self.title,
            "unit": self.unit,
            "direction": "lower" if self.lower_is_better else "higher",
            "headline": self.headline,
            "value": self.value,
            "standard_error": self.standard_error,
            "interval": None if self.low is None else [self.low, self.high],
            "details": dict(self.details),
            "reference_value": self.reference_value,
            "fingerprint": self.fingerprint,
            "backbone": self.backbone,
            "weights_sha256": self.weights_sha256,
            "canonical_weights": self.canonical,
            "precision": self.precision,
            "signature": self.signature,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSet:
    """Which set and task were scored."""

    set_id: str
    name: str
    version: int
    status: str
    variant: tuple[str, ...]
    fingerprint: str
    data_digest: str
    count: int
    size: int
    geometry: str
    task: str
    task_fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredReference:
    """What FID compared with."""

    name: str
    fingerprint: str
    data_digest: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupValue:
    """A recipe's number on some items of the set."""

    value: float
    standard_error: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, object]:
        """Plain data for the record file."""
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "interval": None if self.low is None else [self.low, self.high],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    """What some items of the set score: a class, a list of categories, a band of hole size."""

    grouping: str
    name: str
    count: int
    metrics: Mapping[str, GroupValue]

    def as_json(self) -> dict[str, object]:
        """Plain data for the record file."""
        return {
            "grouping": self.grouping,
            "name": self.name,
            "count": self.count,
            "metrics": {name: value.as_json() for name, value in self.metrics.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What made the predictions, as their folder's ``predictions.json`` says.

    ``fingerprint`` is that of the model's card. ``weights_sha256`` is None for models without weights, ``seed`` for
    outputs of another program, ``stochastic`` where nobody knows.
    """

    model: str
    title: str
    kind: str
    fingerprint: str
    weights_sha256: str | None
    seed: int | None
    stochastic: bool | None
    post_processing: tuple[Mapping[str, object], ...]

    def as_json(self) -> dict[str, object]:
        """Plain data for the record file."""
        return {
            "model": self.model,
            "title": self.title,
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "weights_sha256": self.weights_sha256,
            "seed": self.seed,
            "stochastic": self.stochastic,
            "post_processing": [dict(step) for step in self.post_processing],
        }


def read_origin(table: Table | None) -> Origin | None:
    """The inverse of ``Origin.as_json``; None for no table, and faults go to the table's list."""
    if table is None:
        return None
    origin = Origin(
        model=table.text("model"),
        title=table.text("title"),
        kind=table.text("kind"),
        fingerprint=table.digest("fingerprint"),
        weights_sha256=None if table.none("weights_sha256") else table.digest("weights_sha256"),
        seed=None if table.none("seed") else table.take("seed", int, 0, required=True),
        stochastic=None if table.none("stochastic") else table.take("stochastic", bool, False, required=True),
        post_processing=table.items("post_processing", dict),
    )
    table.finish()
    return origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecord:
    """One score. ``refused`` says why a recipe has no number; ``incomparable`` why the record compares with nothing.

    ``tree_sha256`` is the digest of a folder of the predictions, ``origin`` what made them, None where nothing says.
    ``histogram`` is that of pairwise MS-SSIM where there are several samples an item: counts in equal bins of 0 to 1.
    """

    name: str
    scored: ScoredSet
    reference: ScoredReference | None
    predictions_digest: str
    tree_sha256: str
    samples: int
    lossy: int
    known_change: float | None
    metrics: Mapping[str, MetricValue]
    refused: Mapping[str, str]
    warnings: tuple[str, ...]
    incomparable: tuple[str, ...]
    environment: Mapping[str, str]
    groups: tuple[GroupRecord, ...] = ()
    histogram: tuple[int, ...] | None = None
    origin: Origin | None = None

    @property
    def result_id(self) -> str:
        """sha256 over everything that was scored and how: equal inputs have an equal id, on every machine."""
        return fingerprint(
            {
                "schema": IDENTITY,
                "set": self.scored.fingerprint,
                "data": self.scored.data_digest,
                "task": self.scored.task_fingerprint,
                "reference": [self.reference.fingerprint, self.reference.data_digest] if self.reference else None,
                "predictions": self.predictions_digest,
                "metrics": {name: metric.fingerprint for name, metric in self.metrics.items()},
            }
        )

    def as_json(self) -> dict[str, object]:
        """Plain data for the record file."""
        scored = self.scored
        return {
            "schema": SCHEMA,
            "result_id": self.result_id,
            "name": self.name,
            "set": {
                "id": scored.set_id,
                "name": scored.name,
                "version": scored.version,
                "status": scored.status,
                "variant": list(scored.variant),
                "fingerprint": scored.fingerprint,
                "data_digest": scored.data_digest,
                "count": scored.count,
                "size": scored.size,
                "geometry": scored.geometry,
            },
            "task": {"name": scored.task, "fingerprint": scored.task_fingerprint},
            "reference": None
            if self.reference is None
            else {
                "name": self.reference.name,
                "fingerprint": self.reference.fingerprint,
                "data_digest": self.reference.data_digest,
                "count": self.reference.count,
            },
            "predictions": {
                "digest": self.predictions_digest,
                "tree_sha256": self.tree_sha256,
                "samples": self.samples,
                "lossy": self.lossy,
                "origin": None if self.origin is None else self.origin.as_json(),
            },
            "known_region_change": self.known_change,
            "metrics": {name: metric.as_json() for name, metric in self.metrics.items()},
            "groups": [group.as_json() for group in self.groups],
            "ms_ssim_histogram": None if self.histogram is None else list(self.histogram),
            "refused": dict(self.refused),
            "warnings": list(self.warnings),
            "comparable": not self.incomparable,
            "incomparable_because": list(self.incomparable),
            "environment": dict(self.environment),
        }


def signature(
    *, recipe: str, scored: ScoredSet, reference: str | None, backbone: str, weights_sha256: str, canonical: bool
) -> str:
    """The line a paper can print beside a number."""
    parts = [
        recipe,
        f"set:{scored.set_id}@{scored.version}",
        f"task:{scored.task}",
        f"n:{scored.count}",
        *([f"ref:{reference}"] if reference else []),
        f"net:{backbone}-{weights_sha256[:8]}" + ("" if canonical else "-not-canonical"),
        f"geometry:{scored.geometry}-{scored.size}",
        f"data:{scored.data_digest[:8]}",
        f"v:{__version__}",
    ]
    return "|".join(parts)


def save(record: ResultRecord, items_csv: str, folder: Path) -> None:
    """Write ``items.csv`` and then ``result.json``, which holds its digest, into ``folder``."""
    data = items_csv.encode()
    write_bytes(folder / ITEMS_FILE, data)
    write_json(folder / RECORD_FILE, sealed(record, bytes_digest(data)))


def sealed(record: ResultRecord, items_sha256: str) -> dict[str, object]:
    """A record as its file holds it: with the digest of its items, and last ``seal``, that of all the rest.

    The seal tells a record that was changed by accident or by hand; it proves nothing about who made it.
    """
    body = {**record.as_json(), "items_sha256": items_sha256}
    return {**body, "seal": fingerprint(body)}
