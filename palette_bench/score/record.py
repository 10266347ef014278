"""The result record: one score with everything needed to know what it is comparable with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from palette_bench import __version__
from palette_bench.common.canonical import bytes_digest, fingerprint
from palette_bench.common.files import write_bytes, write_json

SCHEMA = 1
RECORD_FILE = "result.json"
ITEMS_FILE = "items.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One recipe's number, and the same recipe on the untouched references.

    ``fingerprint`` covers recipe, network, weights and, for FID, the reference set. ``canonical`` is False when the
    weights are not the published ones.
    """

    recipe: str
    title: str
    unit: str
    lower_is_better: bool
    headline: bool
    value: float
    reference_value: float
    fingerprint: str
    backbone: str
    weights_sha256: str
    canonical: bool
    signature: str

    def as_json(self) -> dict[str, object]:
        """Plain data for the record file."""
        return {
            "title": self.title,
            "unit": self.unit,
            "direction": "lower" if self.lower_is_better else "higher",
            "headline": self.headline,
            "value": self.value,
            "reference_value": self.reference_value,
            "fingerprint": self.fingerprint,
            "backbone": self.backbone,
            "weights_sha256": self.weights_sha256,
            "canonical_weights": self.canonical,
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
class ResultRecord:
    """One score. ``refused`` says why a recipe has no number; ``incomparable`` why the record compares with nothing."""

    name: str
    scored: ScoredSet
    reference: ScoredReference | None
    predictions_digest: str
    samples: int
    lossy: int
    known_change: float | None
    metrics: Mapping[str, MetricValue]
    refused: Mapping[str, str]
    warnings: tuple[str, ...]
    incomparable: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def result_id(self) -> str:
        """sha256 over everything that was scored and how: equal inputs have an equal id, on every machine."""
        return fingerprint(
            {
                "schema": SCHEMA,
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
            "predictions": {"digest": self.predictions_digest, "samples": self.samples, "lossy": self.lossy},
            "known_region_change": self.known_change,
            "metrics": {name: metric.as_json() for name, metric in self.metrics.items()},
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
    write_json(folder / RECORD_FILE, {**record.as_json(), "items_sha256": bytes_digest(data)})
