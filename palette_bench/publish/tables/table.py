"""The table of numbers: columns, groups of rows, cells, and the footnotes of all of them.

Scores, the paper's tables, the miniature, comparisons, calibrations, regressions and leaderboards fill it; ``render``
writes it. Whoever fills it gives reasons and remarks as text; ``ranked`` and ``footnoted`` make ranks and marks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from string import ascii_lowercase

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.publish.tables.printed import BLANK, Paper
from palette_bench.publish.tables.ranking import SURE, Contender, Place, Standing, standings
from palette_bench.score.recipes.base import Direction, Recipe

UNDECIDED = "≈"
"""The mark of a number that is not decidedly behind those ahead of it."""


class Source(StrEnum):
    """Where a row comes from."""

    PRINTED = "printed"
    SHIPPED = "shipped"
    YOURS = "yours"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column: ``head`` and ``over`` (above several) are shown; ``recipe`` and ``set_name`` may be empty.

    ``direction`` is None where nothing is ranked. ``text`` columns hold words: they stand left and may be broken into
    lines. ``remarks`` are footnotes of the head, ``marks`` their marks.
    """

    head: str
    over: str = ""
    recipe: str = ""
    set_name: str = ""
    direction: Direction | None = None
    text: bool = False
    remarks: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """What stands in a row and column.

    ``text`` is shown; ``value`` and ``error`` are None where there is no number or no error bar. ``low`` and ``high``
    are the 95 % interval. ``rounding`` is half a unit of the last digit of a number that is known as printed only.
    ``fingerprint`` is that of a record's metric. ``reasons`` keep the number out of the ranking, ``remarks`` do not;
    ``marks`` are the footnotes of both. ``undecided`` names the rows ahead that the number may well equal.
    """

    text: str = BLANK
    value: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    rounding: float = 0.0
    recipe: str = ""
    fingerprint: str | None = None
    data: str = ""
    signature: str = ""
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    rank: int | None = None
    place: Place = Place.OTHER
    undecided: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether the number may stand in a ranking of its column."""
        return self.value is not None and not self.reasons

    @property
    def all_marks(self) -> tuple[str, ...]:
        """The sign of doubt and the footnotes."""
        return (UNDECIDED, *self.marks) if self.undecided else self.marks


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A line: ``cites`` is the citation printed after the label, ``paper`` that of a printed row.

    ``reasons`` hold for every cell of the row and are in the cells' too; ``marks`` are their footnotes. ``key`` is
    whatever the filler knows the row by. Rows with ``fails`` are shown as failures.
    """

    label: str
    cells: tuple[TableCell, ...]
    source: Source = Source.YOURS
    cites: str = ""
    paper: Paper | None = None
    reference: bool = False
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    key: str = ""
    fails: bool = False

    @property
    def origin(self) -> str:
        """The row's source in a word or two."""
        if self.paper is not None:
            return self.paper.name
        return "yours" if self.source is Source.YOURS else "scenes32"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableGroup:
    """Rows under one title; ``tasks`` decide what is ranked together. ``added`` groups are not in the original."""

    rows: tuple[TableRow, ...]
    title: str = ""
    tasks: tuple[str, ...] = ()
    added: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record that stands in the table, under the name of its row."""

    name: str
    source: Source
    record: ResultRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A filled table; ``heading`` is its title with number and origin.

    ``about`` are texts of footnotes of the whole and ``marks`` their marks; ``notes`` are all footnotes by mark,
    ``remarks`` the table's own notes, without a mark. ``paper`` is that whose table it is; ``numbered`` tables are
    the paper's and the miniature's, which say of each row where it comes from.
    """

    title: str
    columns: tuple[TableColumn, ...]
    groups: tuple[TableGroup, ...]
    number: str = ""
    paper: Paper | None = None
    group_head: str = ""
    row_head: str = ""
    about: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = field(default=())

    def _repr_html_(self) -> str:
        """The table and its footnotes, for Jupyter."""
        from palette_bench.publish import pages

        return pages.fragment("fragment.html.jinja", table=self)

    @property
    def heading(self) -> str:
        """Number, paper or set, and title."""
        if not self.number:
            return self.title
        where = self.paper.name if self.paper is not None else "scenes32"
        return f"Table {self.number} ({where}): {self.title}"

    @property
    def rows(self) -> Iterator[TableRow]:
        """Every row."""
        for group in self.groups:
            yield from group.rows

    @property
    def cells(self) -> Iterator[TableCell]:
        """Every cell."""
        for row in self.rows:
            yield from row.cells

    def group_title(self, group: TableGroup) -> str:
        """The title of a group with the head of its column; empty for none."""
        of_column = f"{self.group_head}: " if self.group_head and group.title and not group.added else ""
        return of_column + group.title

    def overs(self) -> list[tuple[str, int]]:
        """Headings above columns, and how many columns each is above."""
        return [(over, len(list(columns))) for over, columns in groupby(self.columns, key=lambda column: column.over)]

    def signatures(self) -> list[str]:
        """The signatures of all numbers of records, each once: records of one task share theirs."""
        return list(dict.fromkeys(cell.signature for cell in self.cells if cell.signature))

    def legend(self) -> list[str]:
        """What bold, underline, ± and the sign of doubt mean in this table; only what occurs in it."""
        if not self.number:
            return []
        cells = list(self.cells)
        lines = []
        if any(cell.place for cell in cells):
            lines.append("best bold, second underlined, among comparable rows of a task; references are not ranked")
        if any(cell.error is not None for cell in cells):
            lines.append("± one standard error over images")
        if any(cell.undecided for cell in cells):
            text = (
                f"{UNDECIDED} not decided against a row ahead: within {SURE} joint standard errors, as if independent"
            )
            if any(cell.rank is not None and cell.rounding for cell in cells):
                text += "; printed rows have none, so that the record's own and their rounding decide"
            lines.append(text)
        return lines


def words(*texts: str) -> tuple[TableCell, ...]:
    """Cells that hold text alone."""
    return tuple(TableCell(text=text) for text in texts)


def number_text(value: float, error: float | None, digits: int, unit: str = "") -> str:
    """``value`` with so many digits after the point, and its standard error, with one more where it would read 0."""
    text = f"{value:.{digits}f}"
    if error is not None:
        more = 1 if 0 < error < 0.5 * 10.0**-digits else 0
        text = f"{text} ± {error:.{digits + more}f}"
    return f"{text} {unit}" if unit else text


def interval_text(low: float | None, high: float | None, digits: int) -> str | None:
    """A 95 % interval in words; None for none."""
    return None if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"


def recipe_column(recipe: Recipe, set_name: str = "") -> TableColumn:
    """The column of a recipe."""
    return TableColumn(head=recipe.heading, recipe=recipe.name, set_name=set_name, direction=recipe.direction)


def metric_cell(record: ResultRecord, metric: MetricValue, recipe: Recipe, text: str = "") -> TableCell:
    """A record's number, nothing said of what it compares with; ``text`` in place of number, error and unit."""
    return TableCell(
        text=text or number_text(metric.value, metric.standard_error, recipe.digits, recipe.unit),
        value=metric.value,
        error=metric.standard_error,
        low=metric.low,
        high=metric.high,
        unit=recipe.unit,
        recipe=metric.recipe,
        fingerprint=metric.fingerprint,
        data=record.scored.data_digest,
        signature=metric.signature,
    )


class Footnotes:
    """Footnotes in the order of their first use: a to z, then aa, ab."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def marks(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The marks of footnotes, new ones for new texts."""
        return tuple(self._marks.setdefault(text, _letters(len(self._marks))) for text in texts)

    def listed(self) -> tuple[tuple[str, str], ...]:
        """Mark and text of every footnote."""
        return tuple((mark, text) for text, mark in self._marks.items())


def _letters(index: int) -> str:
    tens, ones = divmod(index, len(ascii_lowercase))
    return (_letters(tens - 1) if tens else "") + ascii_lowercase[ones]


def footnoted(table: Table, notes: Footnotes | None = None) -> Table:
    """The table with a mark for every reason and remark, in the order of reading; tables may share ``notes``."""
    notes = notes or Footnotes()
    marks = notes.marks(table.about)
    columns = tuple(replace(column, marks=notes.marks(column.remarks)) for column in table.columns)
    groups = []
    for group in table.groups:
        rows = []
        for row in group.rows:
            of_row = notes.marks((*row.reasons, *row.remarks))
            cells = tuple(
                replace(
                    cell,
                    marks=notes.marks([text for text in (*cell.reasons, *cell.remarks) if text not in row.reasons]),
                )
                for cell in row.cells
            )
            rows.append(replace(row, cells=cells, marks=of_row))
        groups.append(replace(group, rows=tuple(rows)))
    return replace(table, marks=marks, columns=columns, groups=tuple(groups), notes=notes.listed())


def ranked(table: Table, *, only_best: bool = False) -> Table:
    """The table with the standings of every column over the groups of one task.

    With ``only_best`` a number is undecided against the best or not at all.
    """
    groups = table.groups
    grid = [[list(row.cells) for row in group.rows] for group in groups]
    for tasks in dict.fromkeys(group.tasks for group in groups):
        places = [(g, r) for g, group in enumerate(groups) if group.tasks == tasks for r in range(len(group.rows))]
        for index, column in enumerate(table.columns):
            if column.direction is None:
                continue
            of_column = standings(
                [_contender(groups[g].rows[r], grid[g][r][index]) for g, r in places], column.direction
            )
            for (g, r), standing in zip(places, of_column, strict=True):
                if standing is None:
                    continue
                ahead = [at for at in standing.undecided if not only_best or _is_best(of_column[at])]
                rows = [groups[places[at][0]].rows[places[at][1]] for at in ahead]
                grid[g][r][index] = replace(
                    grid[g][r][index],
                    rank=standing.rank,
                    place=standing.place,
                    undecided=tuple(f"{row.label} ({row.origin})" for row in rows),
                )
    return replace(
        table,
        groups=tuple(
            replace(group, rows=tuple(replace(row, cells=tuple(grid[g][r])) for r, row in enumerate(group.rows)))
            for g, group in enumerate(groups)
        ),
    )


def _is_best(standing: Standing | None) -> bool:
    return standing is not None and standing.rank == 1


def _contender(row: TableRow, cell: TableCell) -> Contender | None:
    if row.reference or not cell.comparable or cell.value is None:
        return None
    return Contender(cell.value, cell.error, cell.rounding)
