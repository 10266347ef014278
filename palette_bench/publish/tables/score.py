"""A score as tables: beside the published rows of its task, the groups of the set, and numbers that have no column."""

from collections.abc import Sequence
from dataclasses import replace

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.publish.tables import comparable
from palette_bench.publish.tables.printed import PublishedRow, published_rows
from palette_bench.publish.tables.table import (
    Source,
    Table,
    TableCell,
    TableColumn,
    TableGroup,
    TableRow,
    footnoted,
    interval_text,
    metric_cell,
    number_text,
    recipe_column,
    words,
)
from palette_bench.score.recipes.base import Recipe, Shown
from palette_bench.score.recipes.catalogue import find, named

MOST_GROUPS = 24
"""A table of groups has no more rows than this; the record has them all."""


def score_table(records: Sequence[ResultRecord]) -> Table:
    """The table of records of one set and task, beside the published rows of the same set and task.

    A number that cannot be compared with the published ones carries a mark: other weights, another variant of the set,
    another recipe, a definition that the paper leaves open. A recipe that was refused keeps its column and says why.
    Equal results are one row.
    """
    first = records[0]
    if any(record.scored != first.scored for record in records):
        raise ValueError("records of different sets or tasks share no table")
    records = list({record.result_id: record for record in reversed(records)}.values())[::-1]
    shown = _shown(records)
    published = published_rows(first.scored.name, first.scored.task)
    groups = []
    if published:
        groups.append(TableGroup(rows=tuple(_published(row, first.scored.name, shown) for row in published)))
    runs = [_run(record, shown, "this run", has_published=bool(published)) for record in records]
    groups.append(TableGroup(rows=(*runs, _references(first, shown, "of this set, untouched"))))
    title = f"{first.scored.task} on {first.scored.set_id} version {first.scored.version}, {first.scored.count} images"
    return footnoted(Table(title=title, columns=_columns(shown, "from"), groups=tuple(groups), row_head="model"))


def tasks_table(records: Sequence[Sequence[ResultRecord]]) -> Table:
    """Several tasks of one set under each other, in the paper's columns: the models of each, then its references."""
    first = records[0][0]
    shown = [recipe for recipe in _shown([record for group in records for record in group]) if recipe.headline]
    groups = []
    for group in records:
        rows = [_run(record, shown, "", has_published=False) for record in group]
        groups.append(TableGroup(title=group[0].scored.task, rows=(*rows, _references(group[0], shown, ""))))
    title = f"{first.scored.set_id} version {first.scored.version}, {first.scored.count} images per task"
    return footnoted(Table(title=title, columns=_columns(shown, ""), groups=tuple(groups), row_head="model"))


def groups_table(record: ResultRecord) -> Table:
    """The numbers of groups of a set; of many groups only how many there are."""
    title = "parts of the set, with standard errors"
    if len(record.groups) > MOST_GROUPS:
        remarks = (f"{len(record.groups)} groups: their numbers are in the record",)
        return Table(title="", columns=(), groups=(), remarks=remarks)
    recipes = [named(name) for name in dict.fromkeys(name for group in record.groups for name in group.metrics)]
    columns = (TableColumn(head="images"), *(TableColumn(head=recipe.title) for recipe in recipes))
    rows = []
    for group in record.groups:
        numbers = [(recipe, group.metrics.get(recipe.name)) for recipe in recipes]
        texts = ["-" if n is None else number_text(n.value, n.standard_error, recipe.digits) for recipe, n in numbers]
        rows.append(TableRow(label=f"{group.grouping} {group.name}", cells=words(str(group.count), *texts)))
    return Table(title=title, columns=columns, groups=(TableGroup(rows=tuple(rows)),))


def other_numbers(record: ResultRecord) -> list[str]:
    """The recipes that the table has no column for, a line each: those asked for, diversity, other packages' ones."""
    lines = []
    for name, metric in record.metrics.items():
        recipe = named(name)
        if recipe.on_request or recipe.shown is Shown.LINE:
            interval = interval_text(metric.low, metric.high, recipe.digits)
            text = number_text(metric.value, metric.standard_error, recipe.digits)
            lines.append(f"{name}: {text}" + (f", 95 %: {interval}" if interval else ""))
    return lines


def _columns(shown: Sequence[Recipe], origin: str) -> tuple[TableColumn, ...]:
    """The columns of recipes, after one that says where rows come from, unless it has no name."""
    numbers = tuple(map(recipe_column, shown))
    return (TableColumn(head=origin, text=True), *numbers) if origin else numbers


def _shown(records: Sequence[ResultRecord]) -> list[Recipe]:
    """The columns: headline recipes, the evaluation-set FID if it was asked for, and every L2 distance; FID first."""
    names = dict.fromkeys(name for record in records for name in (*record.metrics, *record.refused))
    # A record may hold recipes that this version does not know.
    recipes = [recipe for name in names if (recipe := find(name)) is not None]
    return sorted((r for r in recipes if r.shown is Shown.TABLE), key=lambda recipe: recipe.metric.order)


def _published(row: PublishedRow, set_name: str, shown: Sequence[Recipe]) -> TableRow:
    printed = row.printed(set_name)
    cells = []
    for recipe in shown:
        cell = printed.get(recipe.column) if recipe.column is not None else None
        if cell is None:
            cells.append(TableCell())
            continue
        text = f"{cell.digits} {cell.column.unit}" if cell.column.unit else cell.digits
        cells.append(TableCell(text=text, value=cell.value, recipe=recipe.name, remarks=cell.disputed))
    differs = (f"another protocol: {'; '.join(row.differs)}",) if row.differs else ()
    return TableRow(
        label=row.model,
        source=Source.PRINTED,
        cells=(*words(row.source), *cells),
        reference=row.reference,
        remarks=(*differs, *row.disputed),
    )


def _run(record: ResultRecord, shown: Sequence[Recipe], origin: str, *, has_published: bool) -> TableRow:
    cells = []
    for recipe in shown:
        metric = record.metrics.get(recipe.name)
        if metric is not None:
            reasons = tuple(_differences(record, metric, has_published=has_published))
            cells.append(replace(metric_cell(record, metric, recipe), remarks=reasons))
        elif recipe.name in record.refused:
            refused = f"no {recipe.name}: {record.refused[recipe.name]}"
            cells.append(TableCell(text="refused", recipe=recipe.name, remarks=(refused,)))
        else:
            cells.append(TableCell())
    return TableRow(label=record.name, cells=(*(words(origin) if origin else ()), *cells))


def _differences(record: ResultRecord, metric: MetricValue, *, has_published: bool) -> list[str]:
    """Why a number stands beside the published ones and yet does not compare with them."""
    reasons = comparable.own_reasons(metric)
    if has_published:
        reasons += comparable.variant_reasons(record.scored)
        if comparable.is_of_evaluation_set(metric.recipe):
            reasons += comparable.recipe_reasons(metric.recipe)
        reasons += comparable.reconstruction_reasons(record.scored)
    return reasons + comparable.sample_notes(record)


def _references(record: ResultRecord, shown: Sequence[Recipe], origin: str) -> TableRow:
    cells = []
    for recipe in shown:
        metric = record.metrics.get(recipe.name)
        value = None if metric is None else metric.reference_value
        text = "-" if value is None else number_text(value, None, recipe.digits, recipe.unit)
        cells.append(TableCell(text=text, value=value, recipe=recipe.name))
    return TableRow(label="references", cells=(*(words(origin) if origin else ()), *cells), reference=True)
