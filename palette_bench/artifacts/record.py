"""The result record: one score with everything needed to know what it is comparable with."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from palette_bench.common import schema
from palette_bench.common.canonical import bytes_digest, fingerprint
from palette_bench.common.errors import InputError, Problem, VerificationError
from palette_bench.common.files import write_bytes, write_json
from palette_bench.common.schema import Digest, Key
from palette_bench.common.version import __version__
from palette_bench.protocol.definition import TaskName

SCHEMA = 3
IDENTITY = 2
"""The version of what ``result_id`` covers."""
FLOAT32 = "float32"
RECORD_FILE = "result.json"
ITEMS_FILE = "items.csv"
AGAIN = "score the predictions again: palette-bench score writes the record anew"


def _interval_faults(low: float | None, high: float | None) -> Iterator[Problem]:
    if (low is None) is not (high is None) or (low is not None and high is not None and low > high):
        yield Problem("wrong value", "interval", f"expected [low, high], found [{low}, {high}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One recipe's number with its error, and the same recipe on the untouched references.

    ``low`` to ``high`` is the 95 % interval, of the expectation at this number of images; it and ``standard_error`` are
    None where there is none. ``details`` is what else is known of the number. ``reference_value`` is None where the
    references' own number says nothing. ``fingerprint`` covers recipe, network, weights and, for FID, the reference
    set. ``canonical`` is False when the weights are not the published ones. ``precision`` is what the network ran in.
    """

    recipe: Annotated[str, schema.NAME]
    title: str
    unit: str
    lower_is_better: Annotated[bool, Key("direction"), schema.Words("higher", "lower")]
    headline: bool
    value: float
    standard_error: Annotated[float | None, Ge(0)]
    low: Annotated[float | None, Key("interval.0")]
    high: Annotated[float | None, Key("interval.1")]
    reference_value: float | None
    fingerprint: Digest
    backbone: str
    weights_sha256: str
    canonical: Annotated[bool, Key("canonical_weights")]
    signature: str
    details: Mapping[str, float] = field(default_factory=dict)
    precision: str = FLOAT32

    def faults(self) -> Iterator[Problem]:
        """An interval that is none."""
        return _interval_faults(self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSet:
    """Which set and task were scored."""

    set_id: Annotated[str, Key("set.id")]
    name: Annotated[str, Key("set.name")]
    version: Annotated[int, Key("set.version"), Ge(0)]
    status: Annotated[str, Key("set.status")]
    variant: Annotated[tuple[str, ...], Key("set.variant")]
    fingerprint: Annotated[Digest, Key("set.fingerprint")]
    data_digest: Annotated[Digest, Key("set.data_digest")]
    count: Annotated[int, Key("set.count"), Ge(1)]
    size: Annotated[int, Key("set.size"), Ge(1)]
    geometry: Annotated[str, Key("set.geometry")]
    task: Annotated[TaskName, Key("task.name")]
    task_fingerprint: Annotated[Digest, Key("task.fingerprint")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredReference:
    """What FID compared with."""

    name: str
    fingerprint: Digest
    data_digest: Digest
    count: Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupValue:
    """A recipe's number on some items of the set."""

    value: float
    standard_error: float | None
    low: Annotated[float | None, Key("interval.0")]
    high: Annotated[float | None, Key("interval.1")]

    def faults(self) -> Iterator[Problem]:
        """An interval that is none."""
        return _interval_faults(self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    """What some items of the set score: a class, a list of categories, a band of hole size."""

    grouping: str
    name: str
    count: Annotated[int, Ge(0)]
    metrics: Mapping[str, GroupValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What made the predictions, as their folder's ``predictions.json`` says.

    ``fingerprint`` is that of the model's card. ``weights_sha256`` is None for models without weights, ``seed`` for
    outputs of another program, ``stochastic`` where nobody knows.
    """

    model: str
    title: str
    kind: str
    fingerprint: Digest
    weights_sha256: Digest | None
    seed: int | None
    stochastic: bool | None
    post_processing: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecord:
    """One score. ``refused`` says why a recipe has no number; ``incomparable`` why the record compares with nothing.

    ``tree_sha256`` is the digest of a folder of the predictions, ``origin`` what made them, None where nothing says.
    ``histogram`` is that of pairwise MS-SSIM where there are several samples an item: counts in equal bins of 0 to 1.
    """

    FILE: ClassVar = schema.File(
        "record",
        version=("schema", SCHEMA),
        next_step=AGAIN,
        computed=("result_id", "comparable"),
        every_key=True,
    )

    name: str
    scored: Annotated[ScoredSet, Key("")]
    reference: ScoredReference | None
    predictions_digest: Annotated[Digest, Key("predictions.digest")]
    tree_sha256: Annotated[Digest, Key("predictions.tree_sha256")]
    samples: Annotated[int, Key("predictions.samples"), Ge(1)]
    lossy: Annotated[int, Key("predictions.lossy"), Ge(0)]
    known_change: Annotated[float | None, Key("known_region_change")]
    metrics: Mapping[str, MetricValue]
    refused: Mapping[str, str]
    warnings: tuple[str, ...]
    incomparable: Annotated[tuple[str, ...], Key("incomparable_because")]
    environment: Mapping[str, str]
    groups: tuple[GroupRecord, ...] = ()
    histogram: Annotated[tuple[int, ...] | None, Key("ms_ssim_histogram")] = None
    origin: Annotated[Origin | None, Key("predictions.origin")] = None

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

    @property
    def comparable(self) -> bool:
        """Whether nothing keeps the record from being compared."""
        return not self.incomparable


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRecord(ResultRecord):
    """A record as its file holds it: with the digest of its items."""

    items_sha256: Digest


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


def save(record: ResultRecord, items_csv: str, folder: Path, *, replace: bool = False) -> None:
    """Write ``items.csv`` and then ``result.json``, which holds its digest, into ``folder``.

    A record of the same set, task and predictions is replaced; one of others only if ``replace``, else InputError.
    """
    if not replace:
        _refuse_another(record, folder / RECORD_FILE)
    data = items_csv.encode()
    write_bytes(folder / ITEMS_FILE, data)
    write_json(folder / RECORD_FILE, sealed(record, bytes_digest(data)))


def _refuse_another(record: ResultRecord, path: Path) -> None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    tables = [content.get(key) for key in ("set", "task", "predictions")] if isinstance(content, dict) else []
    objects = [table for table in tables if isinstance(table, dict)]
    if len(objects) != 3:
        return
    of_set, task, predictions = objects
    own = (record.scored.data_digest, record.scored.task, record.predictions_digest)
    other = (of_set.get("data_digest"), task.get("name"), predictions.get("digest"))
    if other != own:
        raise InputError(
            "there is a record of other predictions here",
            where=path,
            expected=f"a record of the predictions {record.predictions_digest[:16]}, task {record.scored.task}",
            found=f"a record of {content.get('name')}: predictions {str(other[2])[:16]}, task {other[1]}",
            next_step="choose another --out or --name; --replace writes over it",
        )


def sealed(record: ResultRecord, items_sha256: str) -> dict[str, object]:
    """A record as its file holds it: with the digest of its items, and last its seal."""
    return schema.sealed({**schema.dump(record), "items_sha256": items_sha256})


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
    content = schema.parsed(ResultRecord, schema.read_bytes(ResultRecord, path), where=path)
    body, intact = schema.unsealed(content) if isinstance(content, dict) else (content, True)
    if isinstance(content, dict) and not intact and content.get("schema") == SCHEMA:
        raise VerificationError(
            "a record was changed after it was written",
            where=path,
            expected=f"the seal {schema.shown(content.get(schema.SEAL))}",
            found=f"content with the seal {fingerprint(body)}",
            next_step=f"restore the file, or {AGAIN}",
        )
    saved = schema.load(SavedRecord, body, where=path)
    record = ResultRecord(**{field.name: getattr(saved, field.name) for field in fields(ResultRecord)})
    return RecordFile(path, record, saved.items_sha256)


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
