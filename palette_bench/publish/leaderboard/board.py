"""What stands on the leaderboard of a set: rows by task, from entries, the project's own records and published tables.

Only numbers of equal fingerprints are ranked against each other: set, task, pixels, recipe, network, weights and FID's
reference. Every other number carries a mark that says why it is not ranked, printed ones of papers among them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from palette_bench.publish.tables.ranking import Contender, Place, standings
from palette_bench.publish.tables.score import Notes, number_text
from palette_bench.score.recipes.base import Column, Direction, Recipe
from palette_bench.score.recipes.catalogue import RECIPES, for_protocol

PRINTED = "printed in a paper: which set, recipe and weights made it cannot be checked, so it is not ranked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One number as it is shown. ``rank`` is None for those that are not ranked; ``marks`` name footnotes.

    ``undecided`` says that the error bars do not tell it from the best. ``low`` and ``high`` are the 95 % interval.
    """

    text: str
    value: float | None
    low: float | None = None
    high: float | None = None
    rank: int | None = None
    place: Place = Place.OTHER
    undecided: bool = False
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is known of a row besides its numbers. ``folder`` has the audit images, by item id."""

    description: str
    model: ModelFacts | None
    record: ResultRecord | None
    source: str = ""
    audit: Mapping[str, Path] | None = None
    verified: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """One row: ``anchor`` is unique on the page. ``reference`` rows are untouched images, which no model made."""

    anchor: str
    name: str
    tier: Tier | None
    cells: tuple[Cell, ...]
    marks: tuple[str, ...]
    details: Details | None
    reference: bool = False


@dataclass(frozen=True, slots=True)
class TaskTable:
    """The table of one task: a cell of each row for each recipe; the best first, reference rows last."""

    task: str
    title: str
    columns: tuple[Recipe, ...]
    rows: tuple[BoardRow, ...]
    notes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Board:
    """The leaderboard of one set."""

    set_id: str
    title: str
    description: str
    count: int
    tables: tuple[TaskTable, ...]


@dataclass(frozen=True, slots=True)
class _Scored:
    """A row that has a record."""

    anchor: str
    name: str
    tier: Tier
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
            description=card.description if card is not None else "",
            model=None if card is None else _facts_of_card(card),
            record=own.record,
            source=own.where,
        )
        title = card.title if card is not None else own.record.name
        name = _own_name(own.record.name, title)
        yield _Scored(f"own-{slug_of(own.record.name)}", name, Tier.RERUN, own.record, details)
    for one in tree.entries:
        if one.entry is None or one.record is None or one.items is None:
            continue
        ids = one.items.ids
        audit = {ids[image.item]: one.folder / image.file for image in one.entry.audit}
        details = Details(
            description=one.entry.description,
            model=one.entry.model,
            record=one.record,
            source=one.where,
            audit=audit,
            verified=_verified(one.entry),
        )
        yield _Scored(f"entry-{slug_of(one.entry.name)}", one.entry.name, one.entry.tier, one.record, details)


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


def _table(task: str, set_id: str, scored: Sequence[_Scored], family: Family) -> TaskTable | None:
    # Printed rows are of the set's default; which variant of it the paper had, their notes say.
    printed = published_rows(set_id, task) if set_id in protocol_names() else []
    columns = _columns(family, [row.record for row in scored], printed, set_id)
    if not columns or not (scored or printed):
        return None
    notes = Notes()
    rows = _ranked_rows(scored, columns, notes)
    rows += [_printed_row(row, set_id, columns, notes, number) for number, row in enumerate(printed)]
    references = _reference_row([row.record for row in scored], columns)
    rows += [references] if references is not None else []
    rows.sort(key=_order)
    return TaskTable(task, TASKS[task].title, columns, tuple(rows), notes.listed())


def _order(row: BoardRow) -> tuple[bool, float, bool, float]:
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


def _ranked_rows(scored: Sequence[_Scored], columns: Sequence[Recipe], notes: Notes) -> list[BoardRow]:
    cells: list[list[Cell]] = [[] for _ in scored]
    for recipe in columns:
        reasons = [_reasons(row.record, recipe) for row in scored]
        kinds = Counter(
            _pixels(row.record, recipe)
            for row, why in zip(scored, reasons, strict=True)
            if not why and recipe.name in row.record.metrics
        )
        # The most rows, and of equally many the lower digest: any fixed rule will do.
        ranked = min(kinds, key=lambda kind: (-kinds[kind], kind), default=None)
        contenders: list[Contender | None] = []
        for row, why in zip(scored, reasons, strict=True):
            metric = row.record.metrics.get(recipe.name)
            if metric is not None and not why and _pixels(row.record, recipe) != ranked:
                why.append("other pixels than most rows: the set, or FID's reference, was made with another decoder")
            contenders.append(None if metric is None or why else Contender(metric.value, metric.standard_error))
        for place, (row, why, standing) in enumerate(
            zip(scored, reasons, standings(contenders, recipe.direction), strict=True)
        ):
            metric = row.record.metrics.get(recipe.name)
            if metric is None:
                refused = row.record.refused.get(recipe.name)
                marks = (notes.mark(f"no {recipe.name}: {refused}"),) if refused else ()
                cells[place].append(Cell(text="-", value=None, marks=marks))
                continue
            cells[place].append(
                Cell(
                    text=_text(recipe, metric),
                    value=metric.value,
                    low=metric.low,
                    high=metric.high,
                    rank=None if standing is None else standing.rank,
                    place=Place.OTHER if standing is None else standing.place,
                    undecided=standing is not None and _with_best(contenders, standing.undecided, recipe.direction),
                    marks=tuple(notes.mark(f"not ranked: {reason}") for reason in why),
                )
            )
    return [
        BoardRow(
            anchor=row.anchor,
            name=row.name,
            tier=row.tier,
            cells=tuple(cells[place]),
            marks=tuple(notes.mark(note) for note in sample_notes(row.record)),
            details=row.details,
        )
        for place, row in enumerate(scored)
    ]


def _with_best(contenders: Sequence[Contender | None], undecided: Sequence[int], direction: Direction) -> bool:
    """Whether the best of all is among those that a number cannot be told from."""
    sign = 1.0 if direction is Direction.LOWER else -1.0
    values = {place: sign * one.value for place, one in enumerate(contenders) if one is not None}
    return any(values[place] == min(values.values()) for place in undecided)


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


def _text(recipe: Recipe, metric: MetricValue) -> str:
    text = number_text(metric.value, metric.standard_error, recipe.digits)
    return f"{text} {recipe.unit}" if recipe.unit else text


def _printed_row(row: PublishedRow, set_name: str, columns: Sequence[Recipe], notes: Notes, number: int) -> BoardRow:
    printed = row.printed(set_name).values()
    by_recipe = {cell.column.recipe: cell for cell in printed}
    marks = [PRINTED]
    marks += [f"another protocol: {'; '.join(row.differs)}"] if row.differs else []
    marks += [f"closest to the variant {', '.join(row.variant)} of the set"] if row.variant else []
    return BoardRow(
        anchor=f"printed-{number}-{slug_of(row.model)}",
        name=row.label,
        tier=Tier.PUBLISHED,
        cells=tuple(_printed_cell(by_recipe.get(recipe.name), notes) for recipe in columns),
        marks=tuple(notes.mark(text) for text in (*marks, *row.disputed)),
        details=Details(description="", model=None, record=None, source=row.source),
        reference=row.reference,
    )


def _printed_cell(cell: PublishedCell | None, notes: Notes) -> Cell:
    if cell is None:
        return Cell(text="-", value=None)
    text = f"{cell.digits} {cell.column.unit}" if cell.column.unit else cell.digits
    return Cell(text=text, value=cell.value, marks=tuple(notes.mark(reason) for reason in cell.disputed))


def _reference_row(records: Sequence[ResultRecord], columns: Sequence[Recipe]) -> BoardRow | None:
    """What the untouched references score; the check has seen that all records agree in it."""
    if not records:
        return None
    cells = []
    for recipe in columns:
        values = [record.metrics[recipe.name].reference_value for record in records if recipe.name in record.metrics]
        value = next((value for value in values if value is not None), None)
        text = "-" if value is None else number_text(value, None, recipe.digits)
        cells.append(Cell(text=f"{text} {recipe.unit}" if value is not None and recipe.unit else text, value=value))
    return BoardRow(
        anchor="references",
        name="References, untouched",
        tier=None,
        cells=tuple(cells),
        marks=(),
        details=None,
        reference=True,
    )
