"""The result record: one score with everything needed to know what it is comparable with."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench import __version__
from palette_bench.common.canonical import bytes_digest, fingerprint
from palette_bench.common.errors import InputError, Problem, VerificationError
from palette_bench.common.files import write_bytes, write_json
from palette_bench.common.tables import Table
from palette_bench.protocol.tasks import TASKS

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


AGAIN = "score the predictions again: palette-bench score writes the record anew"


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A record, where it was read, and the digest that its ``items.csv`` must have."""

    path: Path
    record: ResultRecord
    items_sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """``items.csv``: ids in protocol order, digests of the predictions, and the numbers [N] of each other column.

    A cell without a number is NaN.
    """

    ids: tuple[str, ...]
    prediction_digests: tuple[str, ...]
    columns: Mapping[str, NDArray[np.float64]]


def read_record(where: Path) -> RecordFile:
    """The record in ``where``, a ``result.json`` under any name, or a folder with one.

    Raises InputError when it is none, is of a newer or older schema or holds anything that a record cannot, and
    VerificationError when it was changed after it was written.
    """
    path = where / RECORD_FILE if where.is_dir() else where
    content = _content(path)
    if (schema := content.get("schema")) != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        raise InputError(
            "a record of another schema",
            where=path,
            expected=f"schema {SCHEMA}",
            found=f"schema {schema}",
            next_step="read it with the version of palette-bench that wrote it, or a later one" if newer else AGAIN,
        )
    body = {name: value for name, value in content.items() if name != "seal"}
    if content.get("seal") != fingerprint(body):
        raise VerificationError(
            "a record was changed after it was written",
            where=path,
            expected=f"seal {content.get('seal')}",
            found=f"content with the seal {fingerprint(body)}",
            next_step=f"restore the file, or {AGAIN}",
        )
    problems: list[Problem] = []
    record, items_sha256 = _record(body, problems)
    if record is None or problems:
        raise InputError(f"{len(problems)} faults in a record", where=path, problems=problems, next_step=AGAIN)
    if record.result_id != content["result_id"]:
        raise VerificationError(
            "a record's result_id is not that of its content",
            where=path,
            expected=record.result_id,
            found=content["result_id"],
            next_step=AGAIN,
        )
    return RecordFile(path, record, items_sha256)


def read_items(of: RecordFile) -> Items:
    """The items beside a record. Raises InputError or VerificationError when they are not the record's own, whole."""
    path = of.path.with_name(ITEMS_FILE)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            "the items of a record cannot be read",
            where=path,
            expected=f"{ITEMS_FILE} beside {of.path.name}",
            found=error.strerror or error,
            next_step=f"keep both files together, or {AGAIN}",
        ) from error
    if (found := bytes_digest(data)) != of.items_sha256:
        lines = max(data.count(b"\n") - 1, 0)
        raise VerificationError(
            "the items beside a record are not its own",
            where=path,
            expected=f"sha256 {of.items_sha256}",
            found=f"sha256 {found}, {lines} of {of.record.scored.count} lines",
            next_step=f"restore the file, or {AGAIN}",
        )
    return parse_items(data, path, of.record.scored.count)


def parse_items(data: bytes, path: Path, count: int) -> Items:
    """The content of an ``items.csv`` with so many items. Raises InputError with every fault."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"))))
    head, lines = (rows[0], rows[1:]) if rows else ([], [])
    problems = [Problem("missing", name, "a column") for name in ("id", "prediction_sha256") if name not in head]
    problems += [Problem("doubled", name, "a column") for name in sorted({n for n in head if head.count(n) > 1})]
    problems += [
        Problem("cut short", f"line {number}", f"{len(line)} of {len(head)} cells")
        for number, line in enumerate(lines, 2)
        if len(line) != len(head)
    ]
    if len(lines) != count:
        problems.append(Problem("incomplete", ITEMS_FILE, f"{len(lines)} of {count} items"))
    columns: dict[str, NDArray[np.float64]] = {}
    if not problems:
        for place, name in enumerate(head):
            if name not in ("id", "prediction_sha256"):
                columns[name] = _numbers([line[place] for line in lines], name, problems)
    if problems:
        raise InputError(f"{len(problems)} faults in a table of items", where=path, problems=problems, next_step=AGAIN)
    by_name = {name: [line[place] for line in lines] for place, name in enumerate(head)}
    return Items(tuple(by_name["id"]), tuple(by_name["prediction_sha256"]), columns)


def _numbers(cells: list[str], name: str, problems: list[Problem]) -> NDArray[np.float64]:
    values = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        if not cell:
            continue
        try:
            values[place] = float(cell)
        except ValueError:
            values[place] = math.inf
        if not math.isfinite(values[place]):
            problems.append(Problem("no number", f"line {place + 2}, column {name}", repr(cell)))
    return values


def _content(path: Path) -> dict[str, object]:
    def refuse(word: str) -> float:
        raise ValueError(f"{word} is no number that a record can hold")

    def finite(digits: str) -> float:
        return number if math.isfinite(number := float(digits)) else refuse(digits)

    try:
        content = json.loads(path.read_bytes(), parse_constant=refuse, parse_float=finite)
    except FileNotFoundError as error:
        raise InputError(
            "no record here",
            where=path,
            expected=f"a {RECORD_FILE}, or a folder with one",
            found="nothing",
            next_step="give what palette-bench score wrote, by default in results/",
        ) from error
    except (ValueError, OSError, RecursionError) as error:
        raise InputError("a record cannot be read", where=path, found=error, next_step=AGAIN) from error
    if not isinstance(content, dict) or not {"schema", "metrics"} <= set(content):
        raise InputError("this is no record", where=path, expected=f"a {RECORD_FILE}", next_step=AGAIN)
    return content


def _record(body: Mapping[str, object], problems: list[Problem]) -> tuple[ResultRecord | None, str]:
    top = Table(body, "", problems)
    parts = {name: top.table(name, required=True) for name in ("set", "task", "predictions", "metrics", "refused")}
    scored = _scored(parts["set"], parts["task"])
    predictions, metrics, refused = parts["predictions"], parts["metrics"], parts["refused"]
    environment = top.table("environment", required=True)
    reference = None if top.none("reference") else _reference(top.table("reference", required=True))
    if scored is None or predictions is None or metrics is None or refused is None or environment is None:
        return None, ""
    record = ResultRecord(
        name=top.text("name"),
        scored=scored,
        reference=reference,
        predictions_digest=predictions.digest("digest"),
        tree_sha256=predictions.digest("tree_sha256"),
        samples=predictions.whole("samples", least=1),
        lossy=predictions.whole("lossy"),
        known_change=top.number_or_none("known_region_change"),
        metrics={name: _metric(name, table) for name, table in metrics.named_tables()},
        refused=refused.texts(),
        warnings=top.items("warnings", str, required=True),
        incomparable=top.items("incomparable_because", str, required=True),
        environment=environment.texts(),
        groups=tuple(_group(table) for table in top.tables("groups", required=True)),
        histogram=None if top.none("ms_ssim_histogram") else top.items("ms_ssim_histogram", int, required=True),
        origin=None if predictions.none("origin") else read_origin(predictions.table("origin", required=True)),
    )
    predictions.finish()
    if top.take("comparable", bool, True, required=True) == bool(record.incomparable):
        top.wrong("wrong value", "comparable", "it contradicts incomparable_because")
    items_sha256 = top.digest("items_sha256")
    for name in ("schema", "result_id"):
        top.take(name, object, None, required=True)
    top.finish()
    return record, items_sha256


def _scored(table: Table | None, task: Table | None) -> ScoredSet | None:
    if table is None or task is None:
        return None
    scored = ScoredSet(
        set_id=table.text("id"),
        name=table.text("name"),
        version=table.whole("version"),
        status=table.text("status"),
        variant=table.items("variant", str, required=True),
        fingerprint=table.digest("fingerprint"),
        data_digest=table.digest("data_digest"),
        count=table.whole("count", least=1),
        size=table.whole("size", least=1),
        geometry=table.text("geometry"),
        task=task.take("name", str, "", required=True, fits=lambda name: name in TASKS),
        task_fingerprint=task.digest("fingerprint"),
    )
    table.finish()
    task.finish()
    return scored


def _reference(table: Table | None) -> ScoredReference | None:
    if table is None:
        return None
    reference = ScoredReference(
        name=table.text("name"),
        fingerprint=table.digest("fingerprint"),
        data_digest=table.digest("data_digest"),
        count=table.whole("count", least=1),
    )
    table.finish()
    return reference


def _metric(name: str, table: Table) -> MetricValue:
    direction = table.take("direction", str, "", required=True, fits=lambda word: word in ("lower", "higher"))
    low, high = _interval(table)
    details = table.table("details", required=True)
    metric = MetricValue(
        recipe=name,
        title=table.text("title"),
        unit=table.text("unit"),
        lower_is_better=direction == "lower",
        headline=table.take("headline", bool, False, required=True),
        value=table.number("value"),
        standard_error=table.number_or_none("standard_error"),
        low=low,
        high=high,
        reference_value=table.number_or_none("reference_value"),
        fingerprint=table.digest("fingerprint"),
        backbone=table.text("backbone"),
        weights_sha256=table.text("weights_sha256"),
        canonical=table.take("canonical_weights", bool, False, required=True),
        signature=table.text("signature"),
        details={} if details is None else details.numbers(),
        precision=table.text("precision"),
    )
    if metric.standard_error is not None and metric.standard_error < 0:
        table.wrong("wrong value", "standard_error", f"{metric.standard_error} is below 0")
    table.finish()
    return metric


def _interval(table: Table) -> tuple[float | None, float | None]:
    if table.none("interval"):
        return None, None
    ends = table.take("interval", list, [], required=True)
    numbers = [float(end) for end in ends if isinstance(end, int | float) and math.isfinite(end)]
    if len(ends) != 2 or len(numbers) != 2 or numbers[0] > numbers[1]:
        table.wrong("wrong value", "interval", f"expected [low, high], found {ends!r}")
        return None, None
    return numbers[0], numbers[1]


def _group(table: Table) -> GroupRecord:
    metrics = table.table("metrics", required=True)
    group = GroupRecord(
        grouping=table.text("grouping"),
        name=table.text("name"),
        count=table.whole("count"),
        metrics={} if metrics is None else {name: _group_value(inner) for name, inner in metrics.named_tables()},
    )
    table.finish()
    return group


def _group_value(table: Table) -> GroupValue:
    low, high = _interval(table)
    value = GroupValue(
        value=table.number("value"), standard_error=table.number_or_none("standard_error"), low=low, high=high
    )
    table.finish()
    return value
