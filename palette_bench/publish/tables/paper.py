"""One of the paper's tables, filled: its rows as printed, and records in their place; what is ranked and why not.

Pure: tables and records in, a `Table` out; ``render`` writes it. Rows are ranked together when they are of
one task and column and nothing keeps them apart: the group's title never decides.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.protocol.definition import load_protocol
from palette_bench.publish.tables import comparable
from palette_bench.publish.tables.layout import REFERENCE, Layout, LayoutGroup
from palette_bench.publish.tables.printed import (
    PublishedCell,
    PublishedColumn,
    PublishedRow,
    PublishedTable,
)
from palette_bench.publish.tables.studies import check_places, with_study
from palette_bench.publish.tables.table import (
    Entry,
    Source,
    Table,
    TableCell,
    TableColumn,
    TableGroup,
    TableRow,
    footnoted,
    metric_cell,
    number_text,
    ranked,
    recipe_column,
)
from palette_bench.score.recipes.base import Recipe
from palette_bench.score.recipes.catalogue import RECIPES, named
from palette_bench.study.record import StudyRecord

ADDED = "Further rows"
"""The title of a group of added rows, where the table splits a task into several groups and none is theirs."""

REFERENCE_TOLERANCE = 0.02
"""How far, of its value, a number of untouched images may lie from the printed one, besides rounding, before a table
says so: a choice, not a measurement, and no number is kept out of a ranking by it."""


def fill(
    printed: PublishedTable,
    records: Sequence[ResultRecord] = (),
    *,
    others: Sequence[PublishedRow] = (),
    studies: Sequence[StudyRecord] = (),
    only_set: str | None = None,
) -> Table:
    """A printed table with ``records`` in their groups, and before them the rows ``others`` of other papers.

    Models of ``studies`` stand in the column of fool rates.

    ``only_set`` leaves the columns of one set. Raises UsageError when the table has none of that set, and InputError
    for records of a set or task that the table does not have.
    """
    columns = [column for column in printed.columns if only_set in (None, column.set_name)]
    if not columns:
        raise UsageError(
            f"{printed.name} has no column of this set",
            expected=f"one of {', '.join(printed.set_names) or 'none: ' + printed.unplaced}",
            found=only_set,
        )
    _check_places(
        printed.name,
        records,
        {column.set_name for column in columns if column.set_name},
        {task for group in printed.groups for task in group.tasks},
        printed.unplaced,
    )
    check_places(printed, studies)
    indices = [printed.columns.index(column) for column in columns]
    models = _models(records)
    tasks_of = [(group.tasks, any(not row.reference for row in group.rows)) for group in printed.groups]
    groups = []
    for group in printed.groups:
        rows = [_printed_row(row, [row.cells[index] for index in indices]) for row in group.rows]
        added = [
            *_other_rows(others, columns, group.tasks, printed),
            *(_model_row(model, group.tasks, columns, printed) for model in models if model.on(group.tasks)),
        ]
        for study in studies:
            if study.source.task in group.tasks:
                added = with_study(added, study, columns)
        groups += _with_added(TableGroup(title=group.title, tasks=group.tasks, rows=tuple(rows)), added, tasks_of)
    return _finished(
        Table(
            number=printed.number,
            title=printed.title,
            paper=printed.paper,
            group_head=printed.group_head,
            row_head=printed.row_head,
            columns=tuple(map(_column, columns)),
            groups=_one_data(_moved_to_the_end(groups)),
            about=(*printed.disputed, *printed.differs, *([printed.unplaced] if printed.unplaced else [])),
            remarks=printed.notes,
            entries=tuple(_entries(models)),
        )
    )


def fill_layout(
    layout: Layout, shipped: Mapping[tuple[str, str], ResultRecord], records: Sequence[ResultRecord] = ()
) -> Table:
    """A table of scenes32: ``shipped`` records by task and model in the layout's rows, ``records`` in their groups.

    A row whose record is not there has no numbers and says so. Raises InputError as `fill` does.
    """
    _check_places(
        f"Table {layout.number} of scenes32", records, {"scenes32"}, {group.task for group in layout.groups}, ""
    )
    recipes = [named(name) for name in layout.columns]
    given = {record.result_id: record.name for record in reversed(records)}
    of_layout = {record.result_id for group in layout.groups for record in _shipped(group, shipped)}
    models = _models([record for record in records if record.result_id not in of_layout])
    tasks_of = [((group.task,), True) for group in layout.groups]
    groups: list[TableGroup] = []
    entries: dict[tuple[str, str], Entry] = {}
    for group in layout.groups:
        rows = []
        for row in group.rows:
            record = shipped.get((group.task, row.model))
            reference = row.model == REFERENCE
            if record is None:
                cells = tuple(TableCell(recipe=recipe.name, unit=recipe.unit) for recipe in recipes)
                missing = ("no record yet",)
                rows.append(
                    TableRow(label=row.label, source=Source.SHIPPED, cells=cells, reference=reference, remarks=missing)
                )
            else:
                shown = _record_row(row.label, Source.SHIPPED, record, recipes, reference=reference)
                if name := given.get(record.result_id):
                    same = f"your record {name} is this result"
                    shown = replace(shown, source=Source.YOURS, remarks=(*shown.remarks, same))
                rows.append(shown)
                entries[group.task, row.model] = Entry(name=row.label, source=Source.SHIPPED, record=record)
        added = [
            _record_row(model.name, Source.YOURS, record, recipes)
            for model in models
            for record in model.records
            if record.scored.task == group.task
        ]
        title = group.title
        groups += _with_added(TableGroup(title=title, tasks=(group.task,), rows=tuple(rows)), added, tasks_of)
    return _finished(
        Table(
            number=layout.number,
            title=layout.title,
            row_head="Model",
            columns=tuple(recipe_column(recipe, "scenes32") for recipe in recipes),
            groups=_one_data(_moved_to_the_end(groups)),
            remarks=("Numbers of scenes32 compare with each other and with nothing in the paper.",),
            entries=(*entries.values(), *_entries(models)),
        )
    )


def _finished(table: Table) -> Table:
    return footnoted(ranked(table))


def _shipped(group: LayoutGroup, shipped: Mapping[tuple[str, str], ResultRecord]) -> list[ResultRecord]:
    return [shipped[key] for row in group.rows if (key := (group.task, row.model)) in shipped]


@dataclass(frozen=True, slots=True)
class _Model:
    """The records of one row: one model on several sets or tasks."""

    name: str
    records: tuple[ResultRecord, ...]

    def on(self, tasks: tuple[str, ...]) -> bool:
        return any(record.scored.task in tasks for record in self.records)


def _entries(models: Sequence[_Model]) -> Iterator[Entry]:
    for model in models:
        yield from (Entry(name=model.name, source=Source.YOURS, record=record) for record in model.records)


def _models(records: Sequence[ResultRecord]) -> list[_Model]:
    """Records as rows: those of one name and one origin belong together unless they are of one set and task.

    A result that is there twice is one row, under its first name. Where a name is left to several, they are numbered in
    the order in which they were given.
    """
    records = list({record.result_id: record for record in reversed(records)}.values())[::-1]
    bundles: list[tuple[object, list[ResultRecord]]] = []
    for record in records:
        origin = record.origin
        key = (record.name, None if origin is None else (origin.fingerprint, origin.weights_sha256, origin.seed))
        place = (record.scored.name, record.scored.task)
        for known, members in bundles:
            if known == key and all((other.scored.name, other.scored.task) != place for other in members):
                members.append(record)
                break
        else:
            bundles.append((key, [record]))
    counts: dict[str, int] = {}
    models = []
    for _, members in bundles:
        name = members[0].name
        counts[name] = counts.get(name, 0) + 1
        several = sum(other[0].name == name for _, other in bundles) > 1
        models.append(_Model(f"{name} ({counts[name]})" if several else name, tuple(members)))
    return models


def _check_places(
    name: str, records: Sequence[ResultRecord], set_names: set[str], tasks: set[str], unplaced: str
) -> None:
    problems = []
    for record in records:
        scored = record.scored
        if scored.name not in set_names:
            has = ", ".join(sorted(set_names)) or f"none: {unplaced}"
            problems.append(Problem("another set", record.name, f"{scored.set_id}: the table has {has}"))
        elif scored.task not in tasks:
            detail = f"{scored.task}: the table has {', '.join(sorted(tasks))}"
            problems.append(Problem("another task", record.name, detail))
    if problems:
        raise InputError(
            f"records that have no place in {name}",
            problems=problems,
            next_step="palette-bench table lists the tables, and what each holds",
        )


def _column(column: PublishedColumn) -> TableColumn:
    return TableColumn(
        head=column.head,
        over=column.over,
        recipe=column.recipe,
        set_name=column.set_name,
        direction=column.direction,
        remarks=column.disputed,
    )


def _printed_row(row: PublishedRow, cells: Sequence[PublishedCell], reasons: tuple[str, ...] = ()) -> TableRow:
    return TableRow(
        label=row.label,
        source=Source.PRINTED,
        cells=tuple(_printed_cell(cell, reasons) for cell in cells),
        cites=row.cites,
        paper=row.paper,
        reference=row.reference,
        reasons=reasons,
    )


def _printed_cell(cell: PublishedCell, reasons: tuple[str, ...]) -> TableCell:
    return TableCell(
        text=cell.text,
        value=cell.value,
        unit=cell.column.unit,
        rounding=cell.half_unit or 0.0,
        recipe=cell.column.recipe,
        reasons=reasons if cell.value is not None else (),
        remarks=tuple(reason for reason in cell.disputed if reason not in cell.column.disputed),
    )


def _other_rows(
    others: Sequence[PublishedRow],
    columns: Sequence[PublishedColumn],
    tasks: tuple[str, ...],
    printed: PublishedTable,
) -> Iterator[TableRow]:
    """Rows of other papers with a number for a column of the table."""
    for row in others:
        if not set(row.tasks) & set(tasks) or row.reference or row.repeats:
            continue
        found = [row.printed(column.set_name).get(column.metric) for column in columns]
        if not any(found):
            continue
        reasons = []
        if row.differs:
            reasons.append(f"another protocol: {'; '.join(row.differs)}")
        elif row.variant != printed.variant:
            reasons.append(f"another variant of the set: {', '.join(row.variant) or 'the default'}")
        cells = []
        for column, cell in zip(columns, found, strict=True):
            if cell is None:
                cells.append(TableCell())
                continue
            own = reasons if cell.column.recipe == column.recipe or row.differs else _another(cell.column, reasons)
            made = _printed_cell(cell, tuple(own))
            cells.append(replace(made, remarks=tuple(r for r in cell.disputed if r not in column.disputed)))
        yield replace(_printed_row(row, (), tuple(reasons)), cells=tuple(cells), remarks=row.disputed)


def _another(column: PublishedColumn, reasons: list[str]) -> list[str]:
    return [*reasons, *comparable.recipe_reasons(column.recipe or "none that is known")]


def _model_row(
    model: _Model, tasks: tuple[str, ...], columns: Sequence[PublishedColumn], printed: PublishedTable
) -> TableRow:
    """The row of a model in a printed group, each cell from the record of the column's set."""
    of_set = {record.scored.name: record for record in model.records if record.scored.task in tasks}
    per_set = {name: _row_reasons(record, printed) for name, record in of_set.items()}
    everywhere = [reasons for reasons, _ in per_set.values()]
    reasons = tuple(reason for reason in everywhere[0] if all(reason in other for other in everywhere))
    cells = []
    for column in columns:
        record = of_set.get(column.set_name)
        if record is None or not column.recipe:
            cells.append(TableCell())
            continue
        cell_reasons, _ = per_set[column.set_name]
        made = _record_cell(record, named(column.recipe), cell_reasons, printed.variant)
        found = _reference_remarks(record, column, _printed_reference(printed, column, record.scored.task))
        cells.append(replace(made, remarks=(*made.remarks, *found)))
    remarks = dict.fromkeys(remark for _, of_record in per_set.values() for remark in of_record)
    return TableRow(
        label=model.name,
        source=Source.YOURS,
        cells=tuple(cells),
        reasons=reasons,
        remarks=tuple(remarks),
    )


def _printed_reference(printed: PublishedTable, column: PublishedColumn, task: str) -> PublishedCell | None:
    """What the table prints for the untouched images of a task."""
    rows = [row for row in printed.rows if row.reference and task in row.tasks]
    return rows[0].cells[printed.columns.index(column)] if rows else None


def _reference_remarks(record: ResultRecord, column: PublishedColumn, reference: PublishedCell | None) -> list[str]:
    """A doubt that the images are the same: untouched, those of the record score otherwise than the printed ones."""
    metric = record.metrics.get(column.recipe)
    if reference is None or reference.value is None or metric is None or metric.reference_value is None:
        return []
    allowed = (reference.half_unit or 0.0) + REFERENCE_TOLERANCE * reference.value
    if abs(metric.reference_value - reference.value) <= allowed:
        return []
    own = f"{metric.reference_value:.{named(column.recipe).digits}f}"
    return [f"the untouched images of this set score {own}, those of the table {reference.digits}: they may be others"]


def _row_reasons(record: ResultRecord, printed: PublishedTable) -> tuple[list[str], list[str]]:
    """Reasons that hold for a whole record, and remarks about it."""
    protocol = comparable.declared_protocol(record.scored.name, printed.variant)
    reasons = comparable.set_reasons(record.scored, protocol, with_published=True)
    if printed.differs:
        reasons = [f"the printed rows are of another protocol: {'; '.join(printed.differs)}", *reasons]
    return reasons, comparable.remarks(record, [column.recipe for column in printed.columns])


def _record_row(
    name: str, source: Source, record: ResultRecord, recipes: Sequence[Recipe], *, reference: bool = False
) -> TableRow:
    """The row of a record among rows of its own set."""
    reasons = comparable.set_reasons(record.scored, load_protocol(record.scored.name), with_published=False)
    # Shipped rows say in the layout how many samples they have.
    names = [recipe.name for recipe in recipes]
    remarks = (comparable.remarks if source is Source.YOURS else comparable.warnings)(record, names)
    return TableRow(
        label=name,
        source=source,
        cells=tuple(_record_cell(record, recipe, reasons, ()) for recipe in recipes),
        reference=reference,
        reasons=tuple(reasons),
        remarks=tuple(remarks),
    )


def _record_cell(record: ResultRecord, recipe: Recipe, reasons: Sequence[str], variant: tuple[str, ...]) -> TableCell:
    """A record's number in a column of ``recipe``; that of another recipe of the metric where it has no other."""
    metric = _metric_for(record, recipe)
    if recipe.name in record.refused:
        return TableCell(
            text="refused", recipe=recipe.name, remarks=(f"no {recipe.name}: {record.refused[recipe.name]}",)
        )
    if metric is None:
        return TableCell(recipe=recipe.name)
    protocol = comparable.declared_protocol(record.scored.name, variant)
    own = named(metric.recipe)
    found = comparable.metric_reasons(record, metric, recipe, protocol)
    if reasons and metric.recipe == recipe.name and not comparable.own_reasons(metric):
        # The set's own definition moves the metric's fingerprint: one reason is enough.
        found = []
    text = number_text(metric.value, metric.standard_error, own.digits)
    return replace(
        metric_cell(record, metric, own, text=f"{text}%" if own.unit == "%" else text),
        reasons=tuple(dict.fromkeys([*reasons, *found])),
        remarks=("this number has no error bar",) if metric.standard_error is None else (),
    )


def _metric_for(record: ResultRecord, recipe: Recipe) -> MetricValue | None:
    if recipe.name in record.metrics or recipe.name in record.refused:
        return record.metrics.get(recipe.name)
    same = [m for name, m in record.metrics.items() if name in RECIPES and _alike(named(name), recipe)]
    return same[0] if same else None


def _alike(one: Recipe, other: Recipe) -> bool:
    return one.metric.name == other.metric.name and one.quantity == other.quantity


def _with_added(
    group: TableGroup, added: Sequence[TableRow], tasks_of: Sequence[tuple[tuple[str, ...], bool]]
) -> list[TableGroup]:
    """``added`` rows before the reference rows of their group, or in a group of their own where a task has several."""
    if not added or all(row.reference for row in group.rows):
        return [group]
    if sum(ranked and set(tasks) & set(group.tasks) != set() for tasks, ranked in tasks_of) > 1:
        return [group, TableGroup(title=ADDED, tasks=group.tasks, rows=tuple(added), added=True)]
    rows = [row for row in group.rows if not row.reference]
    references = [row for row in group.rows if row.reference]
    return [replace(group, rows=(*rows, *added, *references))]


def _moved_to_the_end(groups: Sequence[TableGroup]) -> list[TableGroup]:
    """Groups of added rows once, after the last group of their task."""
    kept: list[TableGroup] = []
    for index, group in enumerate(groups):
        later = any(other.added and other.tasks == group.tasks for other in groups[index + 1 :])
        if not group.added or not later:
            kept.append(group)
    return kept


def _one_data(groups: Sequence[TableGroup]) -> tuple[TableGroup, ...]:
    """Records of other pixels, or of another FID reference, than the first comparable one are kept apart."""
    first: dict[tuple[tuple[str, ...], int], TableCell] = {}
    who: dict[tuple[tuple[str, ...], int], str] = {}
    result = []
    for group in groups:
        rows = []
        for row in group.rows:
            cells = list(row.cells)
            for index, cell in enumerate(cells):
                if not cell.comparable or cell.fingerprint is None:
                    continue
                key = (group.tasks, index)
                known = first.setdefault(key, cell)
                name = who.setdefault(key, row.label)
                if cell.data != known.data:
                    reason = f"other pixels of the set than {name}'s: another decoder or source"
                elif cell.fingerprint != known.fingerprint:
                    reason = f"other pixels of FID's reference set than {name}'s"
                else:
                    continue
                cells[index] = replace(cell, reasons=(reason,))
            rows.append(replace(row, cells=tuple(cells)))
        result.append(replace(group, rows=tuple(rows)))
    return tuple(result)
