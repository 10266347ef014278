"""Published numbers as data: the tables of papers, digits as printed, and what is known of how they were made.

One TOML file of ``leaderboards/paper`` is one version of one paper. A cell is the text that is printed; which set,
task and recipe it belongs to, and how sure that is, stands beside it. Fields of a column that cannot be said are empty.
"""

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from palette_bench.common import resources
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.tables import Table
from palette_bench.protocol.definition import Basis, GeometryName, MaskSource, protocol_names
from palette_bench.protocol.tasks import TASKS
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
_ARROWS = {"↓": Direction.LOWER, "↑": Direction.HIGHER}


_UNITS: Mapping[Column, str] = {Column.CA: "%", Column.FOOL_RATE: "%"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One version of one paper. ``key`` begins the keys of its rows, ``name`` is how a table calls it."""

    key: str
    name: str
    version: str
    title: str
    authors: tuple[str, ...]
    year: int
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
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            problems.append(Problem("unreadable", file.name, str(error)))
            continue
        of_file = _paper_tables(Table(values, f"{file.name}: ", problems), problems)
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


@dataclass(frozen=True, slots=True)
class _Definition:
    """``[metrics.NAME]`` of a paper: which recipe a column of that metric is, unless the column says otherwise."""

    recipe: str = ""
    basis: Basis | None = None
    note: str = ""
    disputed: tuple[str, ...] = ()


def _paper_tables(top: Table, problems: list[Problem]) -> list[PublishedTable]:
    if (found := top.take("format", int, 0, required=True)) not in (0, FORMAT):
        top.wrong("wrong value", "format", f"expected {FORMAT}, found {found}")
        return []
    paper = Paper(
        key=top.take("key", str, "", required=True, fits=lambda key: bool(_KEY.fullmatch(key))),
        name=top.take("name", str, "", required=True, fits=bool),
        version=top.take("version", str, "", required=True, fits=bool),
        title=top.take("title", str, "", required=True, fits=bool),
        authors=top.items("authors", str, required=True),
        year=top.whole("year", least=1),
        venue=top.text("venue"),
        url=top.text("url"),
    )
    transcribed = top.take("transcribed", bool, False)
    metrics = top.table("metrics", required=True) or Table({}, "", problems)
    definitions: dict[Column, _Definition] = {}
    for name, values in metrics.named_tables():
        if name in set(Column):
            definitions[Column(name)] = _definition(values, _Definition())
            values.finish()
        else:
            metrics.wrong("unknown key", name, f"known: {', '.join(Column)}")
    found_tables = [_table(values, paper, definitions, transcribed) for values in top.tables("table", required=True)]
    for number in _doubled(made.number for made in found_tables):
        top.wrong("doubled", "table", f"two tables have the number {number!r}")
    top.finish()
    return found_tables


def _reasons(values: Table) -> tuple[str, ...]:
    """What is disputed: one reason, or none."""
    text = values.take("disputed", str, "", fits=bool)
    return (text,) if text else ()


def _definition(values: Table, default: _Definition) -> _Definition:
    recipe = values.take("recipe", str, default.recipe, fits=lambda name: name in ("", *RECIPES))
    word = values.take("basis", str, default.basis or "", fits=lambda word: word in set(Basis))
    if recipe and not word:
        values.wrong("missing", "basis", f"how sure it is that the column is {recipe}: one of {', '.join(Basis)}")
    return _Definition(
        recipe=recipe,
        basis=Basis(word) if word and recipe else None,
        note=values.take("note", str, default.note),
        disputed=(*default.disputed, *_reasons(values)),
    )


def _column(values: Table, definitions: Mapping[Column, _Definition]) -> PublishedColumn | None:
    word = values.take("metric", str, "", required=True, fits=lambda word: word in set(Column))
    head = values.take("head", str, "↓", required=True, fits=lambda head: head[-1:] in _ARROWS)
    name = values.take("name", str, word)
    over = values.take("over", str, "")
    set_name = values.take("set", str, "", required=True, fits=lambda name: name in ("", *protocol_names()))
    if word and word not in definitions:
        values.wrong("missing", "metric", f"no [metrics.{word}] says which recipe it is")
    definition = _definition(values, definitions.get(Column(word), _Definition()) if word else _Definition())
    values.finish()
    if not word:
        return None
    return PublishedColumn(
        name=name,
        metric=Column(word),
        head=head,
        over=over,
        set_name=set_name,
        recipe=definition.recipe,
        basis=definition.basis,
        note=definition.note,
        disputed=definition.disputed,
    )


def _table(values: Table, paper: Paper, definitions: Mapping[Column, _Definition], transcribed: bool) -> PublishedTable:
    number = values.take("number", str, "", required=True, fits=lambda number: bool(number) and "/" not in number)
    found_columns = [_column(column, definitions) for column in values.tables("column", required=True)]
    columns = tuple(column for column in found_columns if column is not None)
    for name in _doubled(column.name for column in columns):
        values.wrong("doubled", "column", f"two columns have the name {name!r}")
    for set_name, metric in _doubled((c.set_name, c.metric) for c in columns if c.set_name):
        values.wrong("doubled", "column", f"two columns are {metric} of {set_name}")
    variant = values.items("variant", str)
    for word in sorted(set(variant) - _VARIANTS):
        values.wrong("wrong value", "variant", f"expected some of {', '.join(sorted(_VARIANTS))}, found {word!r}")
    differs, disputed = values.items("differs", str), _reasons(values)
    groups: list[PublishedGroup] = []
    order = 0
    for group in values.tables("group", required=True):
        title = group.take("title", str, "")
        tasks = group.items("tasks", str, required=True)
        of_group = (*disputed, *_reasons(group))
        for name in tasks:
            if name not in TASKS:
                group.wrong("unknown task", "tasks", f"{name!r}: expected some of {', '.join(TASKS)}")
        rows = []
        for row in group.tables("rows", required=True):
            model = row.take("model", str, "", required=True, fits=bool)
            reference = row.take("reference", bool, False)
            rows.append(
                PublishedRow(
                    paper=paper,
                    table=number,
                    group=title,
                    order=order,
                    model=model,
                    label=row.take("label", str, model, fits=bool),
                    cites=row.take("cites", str, ""),
                    tasks=tasks,
                    cells=_cells(row, columns if len(columns) == len(found_columns) else (), transcribed, reference),
                    reference=reference,
                    repeats=row.take("repeats", str, ""),
                    variant=variant,
                    differs=differs,
                    disputed=of_group,
                )
            )
            row.finish()
            order += 1
        group.finish()
        groups.append(PublishedGroup(title=title, tasks=tasks, rows=tuple(rows)))
    made = PublishedTable(
        paper=paper,
        number=number,
        title=values.take("title", str, "", required=True, fits=bool),
        group_head=values.take("group_head", str, ""),
        row_head=values.take("row_head", str, "Model"),
        columns=columns,
        groups=tuple(groups),
        notes=values.items("notes", str),
        variant=variant,
        differs=differs,
        disputed=disputed,
        unplaced=values.take("unplaced", str, ""),
    )
    lost = any(not column.set_name for column in columns) or any(not group.tasks for group in groups)
    if lost and not made.unplaced:
        values.wrong("missing", "unplaced", "why a column has no set, or a group no task")
    # One row a model and task: of two, which numbers a card answers to could not be said.
    for model, task in _doubled((row.model, task) for row in made.rows for task in row.tasks or (row.group,)):
        values.wrong("doubled", "rows", f"two rows are {model!r} for {task}")
    values.finish()
    return made


def _cells(
    row: Table, columns: Sequence[PublishedColumn], all_transcribed: bool, reference: bool
) -> tuple[PublishedCell, ...]:
    """The cells of a row; ``columns`` is empty where the table's columns could not be read."""
    texts = row.items("cells", str, required=True)
    transcribed = row.items("transcribed", str)
    names = [column.name for column in columns]
    own = row.table("disputed")
    reasons = {} if own is None else own.texts()
    if not columns:
        return ()
    for key, named in (("transcribed", transcribed), ("disputed", reasons)):
        for name in named:
            if name not in names:
                row.wrong("unknown column", key, f"{name!r}: the table has {', '.join(names)}")
    for text in texts:
        if text != BLANK and not _DIGITS.fullmatch(text):
            row.wrong("not a number", "cells", f"{text!r}: digits as printed, or {BLANK!r}")
    if len(texts) != len(columns):
        row.wrong("wrong value", "cells", f"{len(texts)} cells for {len(columns)} columns")
    cells = []
    for column, text in zip(columns, texts, strict=False):
        digits = "" if text == BLANK else text
        # The distance of images to themselves is 0 in every reading.
        zero = reference and column.metric is Column.PD and digits.strip("0.") == ""
        disputed = (*(() if zero else column.disputed), *filter(None, [reasons.get(column.name, "")]))
        cells.append(
            PublishedCell(
                column=column,
                digits=digits,
                transcribed=bool(digits) and (all_transcribed or column.name in transcribed),
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
