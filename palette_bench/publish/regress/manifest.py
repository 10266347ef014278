"""The regression of published tables: are the numbers that were printed still the numbers that come out?

A manifest names tables, their rows, the record behind each and the digits that were printed. A cell is judged twice:
its record must say what was printed, and a new score of the same predictions, or of the same model run again, must
say what the record says, on the same images and by the same recipe.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.common import schema
from palette_bench.common.errors import Problem
from palette_bench.common.schema import Key
from palette_bench.score.recipes.catalogue import RECIPES

FORMAT = 1
NEXT = "docs/regression.md describes every key of a manifest"


class Status(StrEnum):
    """What became of a cell. The last two are failures."""

    REPRODUCING = "reproducing"
    WITHIN_BAND = "within-band"
    UNTESTED = "untested"
    NOT_COMPARABLE = "not-comparable"
    NOT_REPRODUCING = "not-reproducing"

    @property
    def fails(self) -> bool:
        """Whether a guarded table must not carry such a cell."""
        return self in (Status.NOT_COMPARABLE, Status.NOT_REPRODUCING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """How far from the printed digits a number may come out, and why more than half a unit of the last digit.

    ``within`` is in the unit of the number, ``standard_errors`` in those of the published record; the larger counts.
    """

    within: Annotated[float, Ge(0)] = 0.0
    standard_errors: Annotated[float, Ge(0)] = 0.0
    reason: schema.Text

    def width(self, standard_error: float | None) -> float:
        """The band as a distance from the printed number."""
        return max(self.within, self.standard_errors * (standard_error or 0.0))


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed number: its recipe, its digits, and the band if it has one."""

    recipe: str
    printed: str
    band: Band | None

    @property
    def value(self) -> float:
        """The printed number."""
        return float(self.printed)

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit."""
        exponent = Decimal(self.printed).as_tuple().exponent
        return 0.5 * 10.0 ** int(exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table: the record behind it, the model that makes its predictions, where these may lie."""

    table: str
    label: str
    record: Path
    model: str | None
    preds: Path | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is guarded."""

    name: str
    path: Path
    titles: Mapping[str, str]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A cell after judgement. ``found`` is the new number; ``allowed`` the distance from the printed one."""

    table: str
    label: str
    task: str
    recipe: str
    printed: str
    found: float | None
    allowed: float
    status: Status
    detail: str

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "table": self.table,
            "row": self.label,
            "task": self.task,
            "recipe": self.recipe,
            "printed": self.printed,
            "found": self.found,
            "allowed": self.allowed,
            "status": self.status.value,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``[[band]]``: a band for all cells whose model and recipe fit the patterns."""

    models: str = "*"
    recipes: str = "*"
    band: Annotated[Band, Key("")]

    def fits(self, model: str, recipe: str) -> bool:
        """Whether a cell is one of them."""
        return fnmatch.fnmatchcase(model, self.models) and fnmatch.fnmatchcase(recipe, self.recipes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOfFile:
    """``[[table.row]]``: paths as written, the printed digits by recipe, and bands of its own."""

    label: str
    record: schema.Text
    model: str = ""
    preds: str = ""
    printed: Mapping[str, str]
    band: Mapping[str, Band] = field(default_factory=dict)

    def faults(self) -> Iterator[Problem]:
        """Recipes that are none, digits that are none, and bands for nothing."""
        for recipe, digits in self.printed.items():
            if recipe not in RECIPES:
                yield Problem("unknown recipe", f"printed.{recipe}", "palette-bench recipes lists them")
            elif not _is_number(digits):
                yield Problem("no number", f"printed.{recipe}", f"expected digits as printed, found {digits!r}")
        for recipe in self.band:
            if recipe not in self.printed:
                yield Problem("unknown recipe", f"band.{recipe}", "nothing is printed for it in this row")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOfFile:
    """``[[table]]``: its number, its title and its rows."""

    number: str
    title: str
    row: tuple[RowOfFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A manifest as it is written."""

    FILE: ClassVar = schema.File("manifest", version=("format", FORMAT), next_step=NEXT, most_bytes=1 << 22)

    name: str
    band: tuple[Rule, ...] = ()
    table: tuple[TableOfFile, ...]

    def faults(self) -> Iterator[Problem]:
        """Two tables of one number."""
        numbers = [table.number for table in self.table]
        for place, number in enumerate(numbers):
            if number in numbers[:place]:
                yield Problem("doubled", f"table[{place}].number", number)


def read_manifest(path: Path) -> Manifest:
    """The manifest in a TOML file; its paths are relative to it. Raises InputError with everything wrong with it."""
    said = schema.parse(ManifestFile, schema.read_bytes(ManifestFile, path), where=path, toml=True)
    rows = tuple(_row(row, table.number, path.parent, said.band) for table in said.table for row in table.row)
    return Manifest(said.name, path, {table.number: table.title for table in said.table}, rows)


def _row(said: RowOfFile, number: str, folder: Path, rules: Sequence[Rule]) -> Row:
    by_rule = {
        recipe: next((rule.band for rule in rules if rule.fits(said.model, recipe)), None) for recipe in said.printed
    }
    return Row(
        table=number,
        label=said.label,
        record=folder / said.record,
        # A path is the manifest's own, a name is a baseline's or a class.
        model=(str(folder / said.model) if "/" in said.model else said.model) or None,
        preds=folder / said.preds if said.preds else None,
        cells=tuple(
            Cell(recipe, digits, said.band.get(recipe, by_rule[recipe])) for recipe, digits in said.printed.items()
        ),
    )


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and text.strip() == text and "e" not in text.lower()
    except InvalidOperation:
        return False


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no new score: nobody asked for one or could make it, or what is here is not what was published."""

    status: Status
    reason: str


def judged(row: Row, published: ResultRecord, again: ResultRecord | Missing) -> Iterator[Outcome]:
    """Every cell of a row, against the new score ``again``."""
    for cell in row.cells:
        status, detail, found, allowed = _judged(cell, published, again)
        yield Outcome(
            table=row.table,
            label=row.label,
            task=published.scored.task,
            recipe=cell.recipe,
            printed=cell.printed,
            found=found,
            allowed=allowed,
            status=status,
            detail=detail,
        )


def _judged(
    cell: Cell, published: ResultRecord, again: ResultRecord | Missing
) -> tuple[Status, str, float | None, float]:
    of_record = published.metrics.get(cell.recipe)
    if of_record is None:
        return Status.NOT_COMPARABLE, "the published record has no such number", None, cell.half_unit
    if not _near(of_record.value, cell.value, cell.half_unit):
        return (
            Status.NOT_REPRODUCING,
            f"the published record itself says {of_record.value:.6g}",
            of_record.value,
            cell.half_unit,
        )
    allowed = cell.half_unit if cell.band is None else max(cell.band.width(of_record.standard_error), cell.half_unit)
    if isinstance(again, Missing):
        return again.status, again.reason, None, allowed
    metric = again.metrics.get(cell.recipe)
    if metric is None:
        return Status.NOT_COMPARABLE, again.refused.get(cell.recipe, "the new score has no such number"), None, allowed
    if reasons := differences(published, of_record, again, metric):
        return Status.NOT_COMPARABLE, "; ".join(reasons), metric.value, allowed
    if again.result_id == published.result_id and metric.value == of_record.value:
        return Status.REPRODUCING, "the same predictions, bit for bit the same number", metric.value, allowed
    same = "the same predictions" if again.tree_sha256 == published.tree_sha256 else "other predictions"
    if _near(metric.value, cell.value, cell.half_unit):
        return Status.REPRODUCING, f"{same}, the printed digits", metric.value, allowed
    distance = abs(metric.value - cell.value)
    if cell.band is not None and _near(metric.value, cell.value, allowed):
        return Status.WITHIN_BAND, f"{same}, off by {distance:.2g}: {cell.band.reason}", metric.value, allowed
    return (
        Status.NOT_REPRODUCING,
        f"{same}, off by {distance:.3g} where {allowed:.2g} is allowed",
        metric.value,
        allowed,
    )


def _near(value: float, other: float, distance: float) -> bool:
    # Half a unit itself is near, whatever binary fractions make of it.
    return abs(value - other) <= distance * (1 + 1e-9) + 1e-12


def differences(one: ResultRecord, of_one: MetricValue, other: ResultRecord, of_other: MetricValue) -> list[str]:
    """Why two records' numbers by one recipe do not compare: other images, task, samples, network or precision."""
    pairs = {
        "set": (one.scored.fingerprint, other.scored.fingerprint),
        "images": (one.scored.data_digest, other.scored.data_digest),
        "task": (one.scored.task_fingerprint, other.scored.task_fingerprint),
        "number of images": (one.scored.count, other.scored.count),
        "samples an item": (one.samples, other.samples),
        "recipe, network or FID reference": (of_one.fingerprint, of_other.fingerprint),
        "precision": (of_one.precision, of_other.precision),
    }
    return [f"another {name}: {_short(a)}, now {_short(b)}" for name, (a, b) in pairs.items() if a != b]


def _short(value: object) -> str:
    return str(value)[:12]


def counts(outcomes: Sequence[Outcome]) -> dict[Status, int]:
    """How many cells have each status, in the order of ``Status``."""
    return {status: sum(outcome.status is status for outcome in outcomes) for status in Status}
