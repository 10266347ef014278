"""A score in the paper's table: the published rows of the task, this run, and what keeps them from being comparable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.publish.tables import comparable
from palette_bench.publish.tables.printed import PublishedRow, published_rows
from palette_bench.score.recipes.base import Recipe, Shown
from palette_bench.score.recipes.catalogue import find


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line: who, where from, and a text a column."""

    name: str
    source: str
    cells: tuple[str, ...]
    reference: bool = False


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """What is printed: title, headings, rows in groups (published rows, then runs), and footnotes by mark.

    ``source_heading`` is the heading of the rows' ``source``.
    """

    title: str
    headings: tuple[str, ...]
    groups: tuple[tuple[TableRow, ...], ...]
    notes: tuple[tuple[str, str], ...]
    source_heading: str = "from"


class Notes:
    """Footnotes in the order of their first use: a to z, then aa, ab."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark of a footnote, a new one if the text is new."""
        if text not in self.texts:
            self.texts.append(text)
        return _letters(self.texts.index(text))

    def listed(self) -> tuple[tuple[str, str], ...]:
        """Mark and text of every footnote."""
        return tuple((_letters(index), text) for index, text in enumerate(self.texts))


def _letters(index: int) -> str:
    tens, ones = divmod(index, len(ascii_lowercase))
    return (_letters(tens - 1) if tens else "") + ascii_lowercase[ones]


def score_table(records: Sequence[ResultRecord]) -> ScoreTable:
    """The table of records of one set and task, beside the published rows of the same set and task.

    A number that cannot be compared with the published ones carries a mark: other weights, another variant of the set,
    another recipe, a definition that the paper leaves open. A recipe that was refused keeps its column and says why.
    """
    first = records[0]
    if any(record.scored != first.scored for record in records):
        raise ValueError("records of different sets or tasks share no table")
    shown = _shown(records)
    notes = Notes()
    published = published_rows(first.scored.name, first.scored.task)
    groups: list[tuple[TableRow, ...]] = []
    if published:
        groups.append(tuple(_published(row, first.scored.name, shown, notes) for row in published))
    runs = [_run(record, shown, notes, has_published=bool(published)) for record in records]
    groups.append((*runs, _references(first, shown)))
    title = f"{first.scored.task} on {first.scored.set_id} version {first.scored.version}, {first.scored.count} images"
    return ScoreTable(title, _headings(shown), tuple(groups), notes.listed())


def tasks_table(records: Sequence[Sequence[ResultRecord]]) -> ScoreTable:
    """Several tasks of one set under each other, in the paper's columns: the models of each, then its references."""
    first = records[0][0]
    shown = [recipe for recipe in _shown([record for group in records for record in group]) if recipe.headline]
    notes = Notes()
    groups: list[tuple[TableRow, ...]] = []
    for group in records:
        runs = [_run(record, shown, notes, has_published=False) for record in group]
        rows = [*runs, _references(group[0], shown)]
        task = group[0].scored.task
        groups.append(tuple(replace(row, source=task if index == 0 else "") for index, row in enumerate(rows)))
    title = f"{first.scored.set_id} version {first.scored.version}, {first.scored.count} images a task"
    return ScoreTable(title, _headings(shown), tuple(groups), notes.listed(), "task")


def _headings(shown: Sequence[Recipe]) -> tuple[str, ...]:
    return tuple(recipe.heading for recipe in shown)


def _shown(records: Sequence[ResultRecord]) -> list[Recipe]:
    """The columns: headline recipes, the evaluation-set FID if it was asked for, and every L2 distance; FID first."""
    names = dict.fromkeys(name for record in records for name in (*record.metrics, *record.refused))
    # A record may hold recipes that this version does not know.
    recipes = [recipe for name in names if (recipe := find(name)) is not None]
    return sorted((r for r in recipes if r.shown is Shown.TABLE), key=lambda recipe: recipe.metric.order)


def number_text(value: float, error: float | None, digits: int) -> str:
    """``value`` with so many digits after the point, and its standard error, with one more where it would read 0."""
    if error is None:
        return f"{value:.{digits}f}"
    more = 1 if 0 < error < 0.5 * 10.0**-digits else 0
    return f"{value:.{digits}f} ± {error:.{digits + more}f}"


def _text(recipe: Recipe, value: float, error: float | None = None) -> str:
    return number_text(value, error, recipe.digits) + (f" {recipe.unit}" if recipe.unit else "")


def _published(row: PublishedRow, set_name: str, shown: Sequence[Recipe], notes: Notes) -> TableRow:
    printed = row.printed(set_name)
    cells = []
    for recipe in shown:
        cell = printed.get(recipe.column) if recipe.column is not None else None
        if cell is None:
            cells.append("-")
            continue
        text = f"{cell.digits} {cell.column.unit}" if cell.column.unit else cell.digits
        cells.append(" ".join([text, *(notes.mark(reason) for reason in cell.disputed)]))
    marks = [notes.mark(f"another protocol: {'; '.join(row.differs)}")] if row.differs else []
    marks += [notes.mark(reason) for reason in row.disputed]
    return TableRow(row.model, " ".join([row.source, *marks]), tuple(cells), row.reference)


def _run(record: ResultRecord, shown: Sequence[Recipe], notes: Notes, *, has_published: bool) -> TableRow:
    cells = []
    for recipe in shown:
        metric = record.metrics.get(recipe.name)
        if metric is not None:
            marks = [notes.mark(reason) for reason in _differences(record, metric, has_published=has_published)]
            cells.append(" ".join([_text(recipe, metric.value, metric.standard_error), *marks]))
        elif recipe.name in record.refused:
            cells.append(f"refused {notes.mark(f'no {recipe.name}: {record.refused[recipe.name]}')}")
        else:
            cells.append("-")
    return TableRow(record.name, "this run", tuple(cells))


def _differences(record: ResultRecord, metric: MetricValue, *, has_published: bool) -> list[str]:
    """Why a number stands beside the published ones and yet does not compare with them."""
    reasons = comparable.own_reasons(metric)
    if has_published:
        reasons += comparable.variant_reasons(record.scored)
        if comparable.is_of_evaluation_set(metric.recipe):
            reasons += comparable.recipe_reasons(metric.recipe)
        reasons += comparable.reconstruction_reasons(record.scored)
    return reasons + comparable.sample_notes(record)


def _references(record: ResultRecord, shown: Sequence[Recipe]) -> TableRow:
    metrics = [record.metrics.get(recipe.name) for recipe in shown]
    cells = [
        "-" if metric is None or metric.reference_value is None else _text(recipe, metric.reference_value)
        for recipe, metric in zip(shown, metrics, strict=True)
    ]
    return TableRow("references", "of this set, untouched", tuple(cells), reference=True)
