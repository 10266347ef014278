"""Published numbers as data: the tables of papers, digits as printed, and what is known of how they were made.

One TOML file of ``leaderboards/paper`` is one version of one paper. A cell is the text that is printed; which set,
task and recipe it belongs to, and how sure that is, stands beside it. Fields of a column that cannot be said are empty.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from annotated_types import Ge

from palette_bench.common import resources, schema
from palette_bench.common.errors import InputError, PaletteBenchError, Problem, UsageError
from palette_bench.common.schema import Key
from palette_bench.protocol.definition import Basis, GeometryName, MaskSource, TaskName, protocol_names
from palette_bench.score.recipes.base import Column, Direction
from palette_bench.score.recipes.catalogue import RECIPES

_T = TypeVar("_T")

FORMAT = 2
PALETTE = "palette-v1"
"""The key of the paper whose tables are numbered in ``palette-bench table N``."""
BLANK = "-"
"""A cell in which the paper prints no number."""
NEXT = "correct the file; those in leaderboards/paper are examples"
_DIGITS = re.compile(r"[0-9]+(\.[0-9]+)?")
_NUMBER = re.compile(r"([A-Z]\.)?[0-9]+")
_KEY = re.compile(r"[a-z0-9][a-z0-9.-]*")
_VARIANTS = frozenset([*GeometryName, f"{MaskSource.RELEASED}-masks"])
_VARIANT_WORDS = ", ".join(sorted(_VARIANTS))
_BASES = ", ".join(Basis)
_RecipeName = Annotated[str, schema.Fits(lambda name: name in ("", *RECIPES), "a recipe's name, or nothing")]
_ARROWS = {"↓": Direction.LOWER, "↑": Direction.HIGHER}


_UNITS: Mapping[Column, str] = {Column.CA: "%", Column.FOOL_RATE: "%"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One version of one paper. ``key`` begins the keys of its rows, ``name`` is how a table calls it."""

    key: Annotated[str, schema.Fits(lambda key: bool(_KEY.fullmatch(key)), "lower-case letters, digits, . and -")]
    name: schema.Text
    version: schema.Text
    title: schema.Text
    authors: tuple[str, ...]
    year: Annotated[int, Ge(1)]
    venue: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedColumn:
    """One column of a printed table.

    ``name`` is unique in the table, ``head`` and ``over`` (the heading above several) are printed. ``set_name`` is
    empty where the images are those of no set here, ``recipe`` where no recipe computes it. ``basis`` and ``note`` say
    how sure the recipe is; ``disputed`` says what the paper leaves open or contradicts.
    """

    name: str
    metric: Column
    head: str
    over: str
    set_name: str
    recipe: str
    basis: Basis | None
    note: str
    disputed: tuple[str, ...]

    @property
    def unit(self) -> str:
        """What follows the digits of every cell."""
        return _UNITS.get(self.metric, "")

    @property
    def direction(self) -> Direction:
        """Which way is better, by the printed arrow."""
        return _ARROWS[self.head[-1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """What is printed in one row and column: ``digits`` without the unit, empty where there is no number.

    ``transcribed`` digits were read from the page: the text layer of the paper does not have them. ``disputed`` holds
    the reasons of the cell and of its column.
    """

    column: PublishedColumn
    digits: str
    transcribed: bool
    disputed: tuple[str, ...]

    @property
    def text(self) -> str:
        """The cell as printed, with its unit; a hyphen for none."""
        return f"{self.digits}{self.column.unit}" if self.digits else BLANK

    @property
    def value(self) -> float | None:
        """The number."""
        return float(self.digits) if self.digits else None

    @property
    def half_unit(self) -> float | None:
        """Half a unit of the last printed digit: how far the number before rounding may lie from ``value``."""
        return 0.5 * 10.0 ** -len(self.digits.partition(".")[2]) if self.digits else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One line of a printed table, a cell for every column.

    ``model`` names it in keys, ``label`` is printed and ``cites`` is the citation printed after it. ``order`` counts
    the lines of the table from 0. ``reference`` is True for untouched images, which are never ranked. ``repeats`` is
    the key of a row that prints the same numbers. ``differs`` are the reasons why the row is of another protocol than
    the sets here and may never be ranked against it; ``disputed`` is what is open about its whole table
    or group.
    """

    paper: Paper
    table: str
    group: str
    order: int
    model: str
    label: str
    cites: str
    tasks: tuple[str, ...]
    cells: tuple[PublishedCell, ...]
    reference: bool
    repeats: str
    variant: tuple[str, ...]
    differs: tuple[str, ...]
    disputed: tuple[str, ...]

    @property
    def key(self) -> str:
        """``paper/table-NUMBER/MODEL``: the same for the rows of a model in all groups of a table."""
        return f"{self.paper.key}/table-{self.table}/{self.model}"

    @property
    def source(self) -> str:
        """Where it is printed, as in "Palette v1, Table 3"."""
        return f"{self.paper.name}, {_table_name(self.table)}"

    @property
    def printed_label(self) -> str:
        """The label with its citation."""
        return f"{self.label} [{self.cites}]" if self.cites else self.label

    def printed(self, set_name: str) -> dict[Column, PublishedCell]:
        """The cells of one set in which there is a number, by what they measure."""
        return {
            cell.column.metric: cell for cell in self.cells if cell.digits and cell.column.set_name == set_name != ""
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedGroup:
    """Rows that are printed together and ranked together: one task, or several where a row is true of them all.

    ``title`` is printed, and empty for rows below all groups. ``tasks`` is empty where none here is the paper's.
    """

    title: str
    tasks: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """One table in the order of the page.

    ``title`` is the caption, ``group_head`` and ``row_head`` the heads of the columns of group titles and row labels;
    an empty ``group_head`` says that titles stand on lines of their own. ``variant`` are words of a set's variant
    that its images are closest to. ``unplaced`` says why some cells belong to no set or task here.
    """

    paper: Paper
    number: str
    title: str
    group_head: str
    row_head: str
    columns: tuple[PublishedColumn, ...]
    groups: tuple[PublishedGroup, ...]
    notes: tuple[str, ...]
    variant: tuple[str, ...]
    differs: tuple[str, ...]
    disputed: tuple[str, ...]
    unplaced: str

    @property
    def name(self) -> str:
        """As in "Table 3"."""
        return _table_name(self.number)

    @property
    def rows(self) -> tuple[PublishedRow, ...]:
        """The rows of all groups, in order."""
        return tuple(row for group in self.groups for row in group.rows)

    @property
    def set_names(self) -> tuple[str, ...]:
        """The sets of its columns, in order."""
        return tuple(dict.fromkeys(column.set_name for column in self.columns if column.set_name))


def _table_name(number: str) -> str:
    return f"Table {number}" if _NUMBER.fullmatch(number) else f"table of {number}"


def tables() -> list[PublishedTable]:
    """Every table of every paper that ships with the package, the oldest paper first, in the order of its file."""
    return list(_shipped())


@functools.cache
def _shipped() -> tuple[PublishedTable, ...]:
    loaded = load_tables(resources.toml_files(resources.leaderboards() / "paper"))
    return tuple(sorted(loaded, key=lambda found: found.paper.year))


def table(number: str, paper: str = PALETTE) -> PublishedTable:
    """One table of a paper by its number, as in ``"C.1"``. Raises UsageError with all numbers if there is none."""
    of_paper = [found for found in tables() if found.paper.key == paper]
    for found in of_paper:
        if found.number.lower() == number.lower():
            return found
    if not of_paper:
        keys = dict.fromkeys(found.paper.key for found in tables())
        raise UsageError("no such paper", expected=f"one of {', '.join(keys)}", found=paper)
    raise UsageError("no such table", expected=f"one of {', '.join(t.number for t in of_paper)}", found=number)


def all_published_rows() -> list[PublishedRow]:
    """Every row of every table, those that repeat others included."""
    return [row for found in tables() for row in found.rows]


def published_rows(set_name: str, task: str) -> list[PublishedRow]:
    """The rows with a number for a set and task, each once, reference rows last.

    A row that repeats another is left out, and the other stands in the place of the first of them.
    """
    rows = [row for row in all_published_rows() if task in row.tasks and row.printed(set_name)]
    first = dict.fromkeys(row.repeats or row.key for row in rows)
    rows = [row for key in first for row in rows if row.key == key and not row.repeats]
    return sorted(rows, key=lambda row: row.reference)


def resolve(key: str) -> list[PublishedRow]:
    """The rows that ``paper/table-NUMBER/MODEL`` means, one for each group in which the model is printed.

    Raises InputError if there is none.
    """
    rows = [row for row in all_published_rows() if row.key == key]
    if not rows:
        near = get_close_matches(key, sorted({row.key for row in all_published_rows()}), 3, 0.5)
        raise InputError(
            "no published row has this key",
            expected="paper/table-NUMBER/MODEL" + (f", for example {' or '.join(near)}" if near else ""),
            found=key,
            next_step="model, table and paper are written as in leaderboards/paper",
        )
    return rows


def load_tables(files: Iterable[Path | Traversable]) -> list[PublishedTable]:
    """The tables of papers' files, in order. Raises one InputError with every fault of all of them."""
    problems: list[Problem] = []
    loaded: list[PublishedTable] = []
    papers: dict[str, str] = {}
    names = []
    for file in files:
        names.append(file.name)
        try:
            said = schema.parse(PaperFile, file.read_bytes(), where=file.name, toml=True)
        except PaletteBenchError as error:
            faults = error.problems or [Problem("unreadable", "", f"expected {error.expected}, found {error.found}")]
            problems += [replace(fault, where=f"{file.name}: {fault.where}".rstrip(": ")) for fault in faults]
            continue
        except OSError as error:
            problems.append(Problem("unreadable", file.name, str(error)))
            continue
        of_file = [_table(table, said) for table in said.table]
        for key in dict.fromkeys(found.paper.key for found in of_file):
            if key in papers:
                problems.append(Problem("doubled", f"{file.name}: key", f"{key!r} is that of {papers[key]}"))
            papers[key] = file.name
        loaded += of_file
    problems += _wrong_repeats(loaded)
    if problems:
        raise InputError(
            f"{len(problems)} faults in published tables", where=", ".join(names), problems=problems, next_step=NEXT
        )
    return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionOfFile:
    """``[metrics.NAME]`` of a paper: which recipe a column of that metric is, unless the column says otherwise."""

    recipe: _RecipeName = ""
    basis: Basis | None = None
    note: str = ""
    disputed: str = ""

    def faults(self) -> Iterator[Problem]:
        """A recipe of which nothing says how sure it is."""
        if self.recipe and self.basis is None:
            yield Problem("missing", "basis", f"how sure it is that the column is {self.recipe}: one of {_BASES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOfFile:
    """One column; what it does not say of its recipe, its metric's definition says."""

    name: str = ""
    metric: Column
    head: Annotated[str, schema.Fits(lambda head: head[-1:] in _ARROWS, "a head that ends in an arrow, ↓ or ↑")]
    over: str = ""
    set_name: Annotated[str, Key("set"), schema.Fits(lambda name: name in ("", *protocol_names()), "a set's name")]
    recipe: _RecipeName | None = None
    basis: Basis | None = None
    note: str | None = None
    disputed: str = ""

    def linked(self, definition: DefinitionOfFile) -> PublishedColumn:
        """The column with what its metric's definition says."""
        recipe = definition.recipe if self.recipe is None else self.recipe
        return PublishedColumn(
            name=self.name or self.metric.value,
            metric=self.metric,
            head=self.head,
            over=self.over,
            set_name=self.set_name,
            recipe=recipe,
            basis=(self.basis or definition.basis) if recipe else None,
            note=definition.note if self.note is None else self.note,
            disputed=tuple(filter(None, (definition.disputed, self.disputed))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOfFile:
    """One line: a cell for every column, and which of them were read from the page or are disputed."""

    model: schema.Text
    label: str = ""
    cites: str = ""
    cells: tuple[str, ...]
    transcribed: tuple[str, ...] = ()
    reference: bool = False
    repeats: str = ""
    disputed: Mapping[str, str] = field(default_factory=dict)

    def faults(self) -> Iterator[Problem]:
        """Cells that hold no number."""
        for text in self.cells:
            if text != BLANK and not _DIGITS.fullmatch(text):
                yield Problem("not a number", "cells", f"{text!r}: digits as printed, or {BLANK!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOfFile:
    """Rows under one title."""

    title: str = ""
    tasks: tuple[TaskName, ...]
    disputed: str = ""
    rows: tuple[RowOfFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOfFile:
    """One table as it is written."""

    number: Annotated[str, schema.Fits(lambda number: bool(number) and "/" not in number, "a number without a slash")]
    title: schema.Text
    group_head: str = ""
    row_head: str = "Model"
    column: tuple[ColumnOfFile, ...]
    group: tuple[GroupOfFile, ...]
    notes: tuple[str, ...] = ()
    variant: tuple[Annotated[str, schema.Fits(lambda word: word in _VARIANTS, f"one of {_VARIANT_WORDS}")], ...] = ()
    differs: tuple[str, ...] = ()
    disputed: str = ""
    unplaced: str = ""

    def faults(self) -> Iterator[Problem]:
        """What two of its parts contradict each other in."""
        names = [column.name or column.metric.value for column in self.column]
        for name in _doubled(names):
            yield Problem("doubled", "column", f"two columns have the name {name!r}")
        for set_name, metric in _doubled((c.set_name, c.metric) for c in self.column if c.set_name):
            yield Problem("doubled", "column", f"two columns are {metric} of {set_name}")
        if not self.unplaced and not (all(c.set_name for c in self.column) and all(g.tasks for g in self.group)):
            yield Problem("missing", "unplaced", "why a column has no set, or a group no task")
        # One row a model and task: of two, which numbers a card answers to could not be said.
        of_tasks = ((row.model, task) for g in self.group for row in g.rows for task in g.tasks or (g.title,))
        for model, task in _doubled(of_tasks):
            yield Problem("doubled", "rows", f"two rows are {model!r} for {task}")
        for place, group in enumerate(self.group):
            for line, row in enumerate(group.rows):
                where = f"group[{place}].rows[{line}]"
                if len(row.cells) != len(names):
                    said = f"{len(row.cells)} cells for {len(names)} columns"
                    yield Problem("wrong value", f"{where}.cells", said)
                for key, named in (("transcribed", row.transcribed), ("disputed", row.disputed)):
                    for name in named:
                        if name not in names:
                            known = f"{name!r}: the table has {', '.join(names)}"
                            yield Problem("unknown column", f"{where}.{key}", known)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFile:
    """A paper as it is written: one TOML file."""

    FILE: ClassVar = schema.File("paper", version=("format", FORMAT), next_step=NEXT, most_bytes=1 << 22)

    paper: Annotated[Paper, Key("")]
    transcribed: bool = False
    metrics: Mapping[Column, DefinitionOfFile]
    table: tuple[TableOfFile, ...]

    def faults(self) -> Iterator[Problem]:
        """Tables of one number, and columns that nothing defines."""
        for number in _doubled(table.number for table in self.table):
            yield Problem("doubled", "table", f"two tables have the number {number!r}")
        for place, table in enumerate(self.table):
            for order, column in enumerate(table.column):
                where, definition = f"table[{place}].column[{order}]", self.metrics.get(column.metric)
                if definition is None:
                    said = f"no [metrics.{column.metric}] says which recipe it is"
                    yield Problem("missing", f"{where}.metric", said)
                elif column.recipe and not (column.basis or definition.basis):
                    said = f"how sure it is that the column is {column.recipe}: one of {_BASES}"
                    yield Problem("missing", f"{where}.basis", said)


def _table(said: TableOfFile, file: PaperFile) -> PublishedTable:
    columns = tuple(column.linked(file.metrics[column.metric]) for column in said.column)
    disputed = tuple(filter(None, (said.disputed,)))
    groups: list[PublishedGroup] = []
    order = 0
    for group in said.group:
        rows = []
        for row in group.rows:
            rows.append(
                PublishedRow(
                    paper=file.paper,
                    table=said.number,
                    group=group.title,
                    order=order,
                    model=row.model,
                    label=row.label or row.model,
                    cites=row.cites,
                    tasks=group.tasks,
                    cells=_cells(row, columns, file.transcribed),
                    reference=row.reference,
                    repeats=row.repeats,
                    variant=said.variant,
                    differs=said.differs,
                    disputed=(*disputed, *filter(None, (group.disputed,))),
                )
            )
            order += 1
        groups.append(PublishedGroup(title=group.title, tasks=group.tasks, rows=tuple(rows)))
    return PublishedTable(
        paper=file.paper,
        number=said.number,
        title=said.title,
        group_head=said.group_head,
        row_head=said.row_head,
        columns=columns,
        groups=tuple(groups),
        notes=said.notes,
        variant=said.variant,
        differs=said.differs,
        disputed=disputed,
        unplaced=said.unplaced,
    )


def _cells(row: RowOfFile, columns: Sequence[PublishedColumn], all_transcribed: bool) -> tuple[PublishedCell, ...]:
    cells = []
    for column, text in zip(columns, row.cells, strict=True):
        digits = "" if text == BLANK else text
        # The distance of images to themselves is 0 in every reading.
        zero = row.reference and column.metric is Column.PD and digits.strip("0.") == ""
        disputed = (*(() if zero else column.disputed), *filter(None, [row.disputed.get(column.name, "")]))
        cells.append(
            PublishedCell(
                column=column,
                digits=digits,
                transcribed=bool(digits) and (all_transcribed or column.name in row.transcribed),
                disputed=disputed if digits else (),
            )
        )
    return tuple(cells)


def _wrong_repeats(loaded: Sequence[PublishedTable]) -> Iterator[Problem]:
    """Rows that say to repeat another and print another number."""
    rows = [row for found in loaded for row in found.rows]
    for row in rows:
        if not row.repeats:
            continue
        where = f"{row.key} ({row.group})" if row.group else row.key
        same = [other for other in rows if other.key == row.repeats and set(row.tasks) <= set(other.tasks)]
        if not same or same[0].repeats:
            yield Problem("wrong value", where, f"repeats {row.repeats!r}, which is no first row of these tasks")
            continue
        for set_name in dict.fromkeys(cell.column.set_name for cell in row.cells):
            there = same[0].printed(set_name)
            for metric, cell in row.printed(set_name).items():
                if metric in there and there[metric].digits != cell.digits:
                    detail = f"{metric} of {set_name} is {cell.digits}, and {there[metric].digits} in {row.repeats}"
                    yield Problem("differs", where, detail)


def _doubled(values: Iterable[_T]) -> list[_T]:
    seen: list[_T] = []
    doubled: list[_T] = []
    for value in values:
        (doubled if value in seen else seen).append(value)
    return list(dict.fromkeys(doubled))
