"""The page of a report: what must be read first, the numbers, every item, groups, and where it all comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.publish import pages
from palette_bench.publish.report.facts import Facts, GroupTable, ItemColumn
from palette_bench.publish.report.material import Material
from palette_bench.publish.report.pictures import Layout
from palette_bench.publish.tables.score import score_table
from palette_bench.publish.tables.table import Source, Table, interval_text, number_text
from palette_bench.score.recipes.base import Recipe
from palette_bench.score.recipes.catalogue import named

PACKAGE = "palette_bench.publish.report"
SIGNIFICANT = 6
WIDE, HIGH, EDGE = 300, 34, 8


def report_page(material: Material, facts: Facts, layout: Layout, full: Sequence[int]) -> str:
    """The whole page; ``full`` are the items that have full images."""
    record = material.record
    table = score_table([record])
    metrics = [record.metrics[name] for name in sorted(record.metrics, key=lambda name: named(name).order)]
    return pages.render(
        "report.html.jinja",
        f"{record.name}: {record.scored.task} on {record.scored.set_id}",
        style=pages.asset(PACKAGE, "report.css"),
        script=pages.asset(PACKAGE, "report.js"),
        record=record,
        scored=record.scored,
        task=material.task,
        facts=facts,
        layout=layout,
        full=full,
        table=table,
        has_published=any(row.source is Source.PRINTED for row in table.rows),
        metrics=metrics,
        bars=[_bar(metric, table) for metric in metrics],
        warnings=_warnings(record),
        group_recipes=_group_recipes,
        number_text=number_text,
        histogram=None if record.histogram is None else _histogram(record.histogram),
        lines=_provenance(record),
        data=pages.data_block("report-data", _data(material, facts, layout, full)),
    )


def _warnings(record: ResultRecord) -> list[str]:
    """What keeps numbers from being read as they stand."""
    parts = [f"Comparable with nothing: {reason}" for reason in record.incomparable]
    return [*parts, *record.warnings, *(f"No {name}: {reason}" for name, reason in record.refused.items())]


def _group_recipes(table: GroupTable) -> list[Recipe]:
    names = {name for group in table.groups for name in group.metrics}
    return sorted((named(name) for name in names), key=lambda recipe: recipe.order)


@dataclass(frozen=True, slots=True)
class Tick:
    """A number on an axis: its place, what it is, and whether it carries a mark in the table."""

    x: str
    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A number with its interval on an axis of its own, the references' and the published numbers on the same."""

    title: str
    recipe: str
    text: str
    better: str
    interval: str
    low: str
    upper: str
    value: str
    ticks: tuple[Tick, ...]
    ideal: Tick | None
    wide: int = WIDE
    high: int = HIGH
    edge: int = EDGE


def _bar(metric: MetricValue, table: Table) -> Bar:
    recipe = named(metric.recipe)
    low, high = (metric.value, metric.value) if metric.low is None or metric.high is None else (metric.low, metric.high)
    ideal = [] if metric.reference_value is None else [metric.reference_value]
    published = _published(metric, table)
    values = [low, high, metric.value, *ideal, *(value for value, _, _ in published)]
    least, most = min(values), max(values)
    if len(values) == 3:
        # With nothing beside it, an interval would fill the axis whatever its size.
        least, most = least - (most - least), most + (most - least)
    span = most - least or abs(most) or 1.0

    def x(value: float) -> str:
        return f"{EDGE + (value - least) / span * (WIDE - 2 * EDGE):.1f}"

    interval = interval_text(metric.low, metric.high, recipe.digits)
    of_references = [Tick(x(v), f"untouched references: {number_text(v, None, recipe.digits)}") for v in ideal]
    return Bar(
        title=metric.title,
        recipe=metric.recipe,
        text=number_text(metric.value, metric.standard_error, recipe.digits, metric.unit),
        better="lower is better" if metric.lower_is_better else "higher is better",
        interval="no interval" if interval is None else f"95 %: {interval}",
        low=x(low),
        upper=x(high),
        value=x(metric.value),
        ticks=tuple(Tick(x(value), text, marked) for value, text, marked in published),
        ideal=of_references[0] if of_references else None,
    )


def _published(metric: MetricValue, table: Table) -> list[tuple[float, str, bool]]:
    """The printed numbers in the column of a headline metric: value, whose it is, and whether it carries a mark."""
    place = next((place for place, column in enumerate(table.columns) if column.recipe == metric.recipe), None)
    if place is None or not metric.headline:
        return []
    marked = any(row.cells[place].marks for row in table.rows if row.source is Source.YOURS and not row.reference)
    return [
        (cell.value, f"{row.label}: {cell.text}, {row.cells[0].text}", marked or bool(cell.marks or row.marks))
        for row in table.rows
        if row.source is Source.PRINTED and (cell := row.cells[place]).value is not None
    ]


def _histogram(counts: Sequence[int]) -> Mapping[str, object]:
    """The histogram of pairwise MS-SSIM, as Figure 8 of the paper, in coordinates."""
    most = max(counts) or 1
    left, base, top, wide = 44, 172, 12, 640
    step = (wide - left - 8) / len(counts)
    return {
        "total": sum(counts),
        "most": most,
        "left": left,
        "base": base,
        "top": top,
        "wide": wide,
        "bars": [
            (
                f"M{left + n * step + 0.5:.1f} {base}V{base - count / most * (base - top):.1f}h{step - 1:.1f}V{base}Z",
                f"{n / len(counts):.2f} to {(n + 1) / len(counts):.2f}: {count:,} pairs",
            )
            for n, count in enumerate(counts)
            if count
        ],
        "ticks": [(f"{left + t / 5 * (wide - left - 8):.1f}", f"{t / 5:.1f}") for t in range(6)],
    }


def _provenance(record: ResultRecord) -> dict[str, str]:
    scored = record.scored
    lines = {
        "result id": record.result_id,
        "set": f"{scored.set_id} version {scored.version}, {scored.status}",
        "set's definition": scored.fingerprint,
        "set's images": scored.data_digest,
        "task": f"{scored.task} {scored.task_fingerprint}",
        "predictions": record.predictions_digest,
        "predictions' tree": record.tree_sha256,
    }
    if record.reference is not None:
        reference = record.reference
        lines["FID's reference"] = f"{reference.name}, {reference.count} images, {reference.data_digest}"
    if record.origin is not None:
        origin = record.origin
        lines["made by"] = f"{origin.title} ({origin.model}), card {origin.fingerprint}"
        lines["weights"] = origin.weights_sha256 or "none"
        lines["seed"] = "none" if origin.seed is None else str(origin.seed)
        if origin.post_processing:
            lines["after the model"] = ", ".join(str(step.get("step", step)) for step in origin.post_processing)
    return lines


def _data(material: Material, facts: Facts, layout: Layout, full: Sequence[int]) -> dict[str, object]:
    """What the script knows of items: columns of equal length, in set order."""
    classes = facts.classes
    return {
        "layout": {
            "size": layout.size,
            "columns": layout.columns,
            "lines": layout.lines,
            "count": layout.count,
            "samples": layout.samples,
            "exact": layout.exact,
            "suffix": layout.suffix,
        },
        "full": list(full),
        "ids": list(material.items.ids),
        "classNames": list(classes.names),
        "labels": _whole(classes.labels),
        "words": {str(number): word for number, word in classes.words.items()},
        "predicted": _whole(classes.predicted),
        "right": _whole(classes.right),
        "reference": _whole(classes.reference),
        "flips": _whole(classes.flips),
        "columns": [_column(column) for column in facts.columns],
        "views": [
            {
                "key": view.key,
                "title": view.title,
                "note": view.note,
                "column": view.column,
                "descending": view.descending,
                "flips": view.flips,
            }
            for view in facts.views
        ],
    }


def _whole(values: NDArray[np.generic] | None) -> list[int] | None:
    return None if values is None else [int(value) for value in values.astype(np.int64)]


def _column(column: ItemColumn) -> Mapping[str, object]:
    values = [float(f"{value:.{SIGNIFICANT}g}") if np.isfinite(value) else None for value in column.values.tolist()]
    return {"key": column.key, "title": column.title, "digits": column.digits, "values": values}
