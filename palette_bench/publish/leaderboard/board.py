"""What stands on the leaderboard of a set: rows by task, from entries, the project's own records and published tables.

Only numbers of equal fingerprints are ranked against each other: set, task, pixels, recipe, network, weights and FID's
reference. Every other number carries a mark that says why it is not ranked, printed ones of papers among them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.common.errors import UsageError
from palette_bench.predict.card import Card, find_card
from palette_bench.protocol.definition import Family, load_protocol, protocol_names
from palette_bench.protocol.tasks import TASKS
from palette_bench.publish.leaderboard.check import CheckedTree, known_protocol, of_references
from palette_bench.publish.leaderboard.entry import Entry, ModelFacts, Tier, slug_of
from palette_bench.publish.tables.comparable import metric_reasons, sample_notes, set_reasons
from palette_bench.publish.tables.printed import PublishedCell, PublishedRow, all_published_rows, published_rows
from palette_bench.publish.tables.table import (
    Source,
    Table,
    TableCell,
    TableGroup,
    TableRow,
    footnoted,
    metric_cell,
    number_text,
    ranked,
    recipe_column,
)
from palette_bench.score.recipes.base import Column, Recipe
from palette_bench.score.recipes.catalogue import RECIPES, for_protocol

PRINTED = "printed in a paper: which set, recipe and weights made it cannot be checked, so it is not ranked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is known of a row besides its numbers. ``audit`` has the audit images, by item id; an ``entry`` is
    somebody's submission, and not the project's own record."""

    tier: Tier
    description: str = ""
    model: ModelFacts | None = None
    record: ResultRecord | None = None
    source: str = ""
    audit: Mapping[str, Path] = field(default_factory=dict)
    verified: str = ""
    entry: bool = False


@dataclass(frozen=True, slots=True)
class TaskBoard:
    """The table of one task, the best first, reference rows last; ``details`` of rows by their key.

    Keys are unique on the page. Rows of untouched images, which no model made, have no details.
    """

    task: str
    table: Table
    columns: tuple[Recipe, ...]
    details: Mapping[str, Details]

    def tier(self, row: TableRow) -> Tier | None:
        """How far a row was checked."""
        return self.details[row.key].tier if row.key in self.details else None

    @property
    def described(self) -> list[tuple[TableRow, Details, ResultRecord]]:
        """The rows that have a record."""
        rows = [(row, self.details[row.key]) for row in self.table.rows if row.key in self.details]
        return [(row, details, details.record) for row, details in rows if details.record is not None]


@dataclass(frozen=True, slots=True)
class Board:
    """The leaderboard of one set."""

    set_id: str
    title: str
    description: str
    count: int
    tables: tuple[TaskBoard, ...]

    def tiers(self, of: Iterable[Tier]) -> list[int]:
        """How many rows of models there are of each tier."""
        rows = [one.tier(row) for one in self.tables for row in one.table.rows if not row.reference]
        return [rows.count(tier) for tier in of]

    @property
    def has_entries(self) -> bool:
        """Whether somebody else's records are among the rows."""
        return any(details.entry for one in self.tables for details in one.details.values())


@dataclass(frozen=True, slots=True)
class _Scored:
    """A row that has a record."""

    key: str
    name: str
    record: ResultRecord
    details: Details


def boards(tree: CheckedTree) -> list[Board]:
    """The boards of all sets with a row, in the order of the protocols; ``tree`` has no faults."""
    scored: dict[tuple[str, str], list[_Scored]] = {}
    for row in _scored_rows(tree):
        scored.setdefault((row.record.scored.set_id, row.record.scored.task), []).append(row)
    printed = {cell.column.set_name for row in all_published_rows() for cell in row.cells if cell.digits} - {""}
    set_ids = dict.fromkeys([*printed, *(set_id for set_id, _ in scored)])
    order = {name: place for place, name in enumerate(protocol_names())}
    found = []
    for set_id in sorted(set_ids, key=lambda set_id: (order.get(set_id.partition("+")[0], len(order)), set_id)):
        name, _, variant = set_id.partition("+")
        protocol = load_protocol(name)
        tables = [
            table
            for task in protocol.task_names
            if (table := _table(task, set_id, scored.get((set_id, task), []), protocol.family)) is not None
        ]
        title = f"{protocol.title} (variant {variant})" if variant else protocol.title
        found.append(Board(set_id, title, protocol.description, protocol.selection.count or 0, tuple(tables)))
    return [board for board in found if board.tables]


def in_table_order(record: ResultRecord) -> list[MetricValue]:
    """The numbers of a record as columns stand: headlines first, FID first of all."""
    known = [metric for name, metric in record.metrics.items() if name in RECIPES]
    return sorted(known, key=lambda metric: RECIPES[metric.recipe].order)


def _scored_rows(tree: CheckedTree) -> Iterable[_Scored]:
    for own in tree.records:
        if of_references(own.record):
            # The true images, which every record knows the numbers of: the last row.
            continue
        card = _card(own.record.name)
        details = Details(
            tier=Tier.RERUN,
            description=card.description if card is not None else "",
            model=None if card is None else _facts_of_card(card),
            record=own.record,
            source=own.where,
        )
        title = card.title if card is not None else own.record.name
        name = _own_name(own.record.name, title)
        yield _Scored(f"own-{slug_of(own.record.name)}", name, own.record, details)
    for one in tree.entries:
        if one.entry is None or one.record is None or one.items is None:
            continue
        ids = one.items.ids
        audit = {ids[image.item]: one.folder / image.file for image in one.entry.audit}
        details = Details(
            tier=one.entry.tier,
            description=one.entry.description,
            model=one.entry.model,
            record=one.record,
            source=one.where,
            audit=audit,
            verified=_verified(one.entry),
            entry=True,
        )
        yield _Scored(f"entry-{slug_of(one.entry.name)}", one.entry.name, one.record, details)


def _verified(entry: Entry) -> str:
    found = entry.verification
    if found is None:
        return ""
    far = ", ".join(f"{name} {difference:+.2g}" for name, difference in found.differences.items())
    return f"{found.tier.value} as {found.result_id[:16]}; differences: {far}"


def _card(name: str) -> Card | None:
    try:
        return find_card(name)
    except UsageError:
        return None


def _own_name(name: str, title: str) -> str:
    return name if title == name else f"{title} ({name})"


def _facts_of_card(card: Card) -> ModelFacts:
    source = card.training.get("source")
    return ModelFacts(
        title=card.title,
        licence=card.licence,
        citation=card.citation,
        url="",
        training_data=str(source) if source else "none: it is not trained",
        card=card.name,
        card_sha256=card.fingerprint(),
    )


def _table(task: str, set_id: str, scored: Sequence[_Scored], family: Family) -> TaskBoard | None:
    # Printed rows are of the set's default; their notes say which variant the paper used.
    printed = published_rows(set_id, task) if set_id in protocol_names() else []
    columns = _columns(family, [row.record for row in scored], printed, set_id)
    if not columns or not (scored or printed):
        return None
    rows = _scored_cells(scored, columns)
    rows += [_printed_row(row, set_id, columns, number) for number, row in enumerate(printed)]
    rows += _reference_rows([row.record for row in scored], columns)
    details = {row.key: row.details for row in scored}
    details |= {
        _printed_key(number, row): Details(tier=Tier.PUBLISHED, source=row.source) for number, row in enumerate(printed)
    }
    table = ranked(
        Table(
            title=TASKS[task].title,
            row_head="model",
            columns=tuple(map(recipe_column, columns)),
            groups=(TableGroup(rows=tuple(rows)),),
        ),
        only_best=True,
    )
    in_order = sorted(table.rows, key=_order)
    groups = [tuple(row for row in in_order if row.reference is reference) for reference in (False, True)]
    table = replace(table, groups=tuple(TableGroup(rows=group) for group in groups if group))
    return TaskBoard(task, footnoted(table), columns, details)


def _order(row: TableRow) -> tuple[bool, float, bool, float]:
    """By the rank in the first column; then what is not ranked, by its number; references last."""
    first = row.cells[0]
    rank = float("inf") if first.rank is None else float(first.rank)
    value = float("inf") if first.value is None else first.value
    return row.reference, rank, first.value is None, value


def _columns(
    family: Family, records: Sequence[ResultRecord], printed: Sequence[PublishedRow], set_id: str
) -> tuple[Recipe, ...]:
    """Headline recipes, other FIDs and diversity, where any row has a number; FID first."""
    names = {name for record in records for name in record.metrics}
    names |= {cell.column.recipe for row in printed for cell in row.printed(set_id).values()}
    shown = [
        recipe
        for recipe in for_protocol(family.value)
        if recipe.name in names and (recipe.headline or recipe.metric.column is Column.FID or recipe.metric.of_samples)
    ]
    return tuple(sorted(shown, key=lambda recipe: recipe.order))


def _scored_cells(scored: Sequence[_Scored], columns: Sequence[Recipe]) -> list[TableRow]:
    """The rows of records: what keeps a number out of the ranking is a reason of its cell."""
    cells: list[list[TableCell]] = [[] for _ in scored]
    for recipe in columns:
        reasons = [_reasons(row.record, recipe) for row in scored]
        kinds = Counter(
            _pixels(row.record, recipe)
            for row, why in zip(scored, reasons, strict=True)
            if not why and recipe.name in row.record.metrics
        )
        # The most rows, and of equally many the lower digest: any fixed rule will do.
        most = min(kinds, key=lambda kind: (-kinds[kind], kind), default=None)
        for place, (row, why) in enumerate(zip(scored, reasons, strict=True)):
            metric = row.record.metrics.get(recipe.name)
            if metric is None:
                refused = row.record.refused.get(recipe.name)
                remarks = (f"no {recipe.name}: {refused}",) if refused else ()
                cells[place].append(TableCell(recipe=recipe.name, remarks=remarks))
                continue
            if not why and _pixels(row.record, recipe) != most:
                why.append("other pixels than most rows: the set, or FID's reference, was made with another decoder")
            not_ranked = tuple(f"not ranked: {reason}" for reason in why)
            cells[place].append(replace(metric_cell(row.record, metric, recipe), reasons=not_ranked))
    return [
        TableRow(label=row.name, key=row.key, cells=tuple(of_row), remarks=tuple(sample_notes(row.record)))
        for row, of_row in zip(scored, cells, strict=True)
    ]


def _reasons(record: ResultRecord, recipe: Recipe) -> list[str]:
    metric = record.metrics.get(recipe.name)
    if metric is None:
        return []
    protocol = known_protocol(record)
    if protocol is None:
        return ["the set is none that ships"]
    return set_reasons(record.scored, protocol, with_published=False) + metric_reasons(record, metric, recipe, protocol)


def _pixels(record: ResultRecord, recipe: Recipe) -> tuple[str, str]:
    metric = record.metrics.get(recipe.name)
    return record.scored.data_digest, "" if metric is None else metric.fingerprint


def _printed_key(number: int, row: PublishedRow) -> str:
    return f"printed-{number}-{slug_of(row.model)}"


def _printed_row(row: PublishedRow, set_name: str, columns: Sequence[Recipe], number: int) -> TableRow:
    by_recipe = {cell.column.recipe: cell for cell in row.printed(set_name).values()}
    reasons = [PRINTED]
    reasons += [f"another protocol: {'; '.join(row.differs)}"] if row.differs else []
    reasons += [f"closest to the variant {', '.join(row.variant)} of the set"] if row.variant else []
    reasons += row.disputed
    return TableRow(
        label=row.label,
        source=Source.PRINTED,
        key=_printed_key(number, row),
        cells=tuple(_printed_cell(by_recipe.get(recipe.name), tuple(reasons)) for recipe in columns),
        reference=row.reference,
        reasons=tuple(reasons),
    )


def _printed_cell(cell: PublishedCell | None, reasons: tuple[str, ...]) -> TableCell:
    if cell is None:
        return TableCell()
    text = f"{cell.digits} {cell.column.unit}" if cell.column.unit else cell.digits
    return TableCell(text=text, value=cell.value, reasons=reasons, remarks=cell.disputed)


def _reference_rows(records: Sequence[ResultRecord], columns: Sequence[Recipe]) -> list[TableRow]:
    """What the untouched references score; the check has seen that all records agree in it."""
    if not records:
        return []
    cells = []
    for recipe in columns:
        values = [record.metrics[recipe.name].reference_value for record in records if recipe.name in record.metrics]
        value = next((value for value in values if value is not None), None)
        text = "-" if value is None else number_text(value, None, recipe.digits, recipe.unit)
        cells.append(TableCell(text=text, value=value))
    return [TableRow(label="References, untouched", key="references", cells=tuple(cells), reference=True)]
