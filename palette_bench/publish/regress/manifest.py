"""The regression of published tables: are the numbers that were printed still the numbers that come out?

A manifest names tables, their rows, the record behind each and the digits that were printed. A cell is judged twice:
its record must say what was printed, and a new score of the same predictions, or of the same model run again, must
say what the record says, on the same images and by the same recipe.
"""

import fnmatch
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.tables import Table
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

    within: float
    standard_errors: float
    reason: str

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


def read_manifest(path: Path) -> Manifest:
    """The manifest in a TOML file; its paths are relative to it. Raises InputError with everything wrong with it."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError("a manifest cannot be read", where=path, found=error, next_step=NEXT) from error
    problems: list[Problem] = []
    top = Table(values, "", problems)
    if (found := top.take("format", int, 0, required=True)) not in (0, FORMAT):
        raise InputError("a manifest of another format", where=path, expected=FORMAT, found=found, next_step=NEXT)
    name = top.text("name")
    rules = [_rule(table) for table in top.tables("band")]
    titles: dict[str, str] = {}
    rows: list[Row] = []
    for table in top.tables("table", required=True):
        number = table.text("number")
        if number in titles:
            table.wrong("doubled", "number", number)
        titles[number] = table.text("title")
        rows += [_row(row, number, path.parent, rules) for row in table.tables("row", required=True)]
        table.finish()
    top.finish()
    if problems:
        raise InputError(f"{len(problems)} faults in a manifest", where=path, problems=problems, next_step=NEXT)
    return Manifest(name, path, titles, tuple(rows))


@dataclass(frozen=True, slots=True)
class _Rule:
    """A band for all cells whose model and recipe fit the patterns."""

    models: str
    recipes: str
    band: Band

    def fits(self, model: str, recipe: str) -> bool:
        return fnmatch.fnmatchcase(model, self.models) and fnmatch.fnmatchcase(recipe, self.recipes)


def _rule(table: Table) -> _Rule:
    models, recipes = table.take("models", str, "*"), table.take("recipes", str, "*")
    return _Rule(models, recipes, _band(table))


def _band(table: Table) -> Band:
    band = Band(
        within=table.number("within", fits=lambda width: width >= 0, default=0.0),
        standard_errors=table.number("standard_errors", fits=lambda width: width >= 0, default=0.0),
        reason=table.take("reason", str, "", required=True, fits=lambda reason: bool(reason.strip())),
    )
    table.finish()
    return band


def _row(table: Table, number: str, folder: Path, rules: Sequence[_Rule]) -> Row:
    label, record = table.text("label"), table.take("record", str, "", required=True, fits=bool)
    model, preds = table.take("model", str, ""), table.take("preds", str, "")
    printed, bands = table.table("printed", required=True), table.table("band")
    own = {} if bands is None else {recipe: _band(inner) for recipe, inner in bands.named_tables()}
    cells: list[Cell] = []
    for recipe, digits in ({} if printed is None else printed.texts()).items():
        if recipe not in RECIPES:
            table.wrong("unknown recipe", f"printed.{recipe}", "palette-bench recipes lists them")
        elif not _is_number(digits):
            table.wrong("no number", f"printed.{recipe}", f"expected digits as printed, found {digits!r}")
        else:
            by_rule = next((rule.band for rule in rules if rule.fits(model, recipe)), None)
            cells.append(Cell(recipe, digits, own.pop(recipe, by_rule)))
    for recipe in own:
        table.wrong("unknown recipe", f"band.{recipe}", "nothing is printed for it in this row")
    table.finish()
    return Row(
        table=number,
        label=label,
        record=folder / record,
        # A path is the manifest's own, a name is a baseline's or a class.
        model=(str(folder / model) if "/" in model else model) or None,
        preds=folder / preds if preds else None,
        cells=tuple(cells),
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
