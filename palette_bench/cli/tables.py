"""How tables of scores are printed."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from palette_bench.artifacts.record import ResultRecord
from palette_bench.cli import console
from palette_bench.common.errors import printable
from palette_bench.publish.tables.paper import UNDECIDED, PaperTable, Source, TableCell, TableRow
from palette_bench.publish.tables.ranking import Place
from palette_bench.publish.tables.score import ScoreTable, number_text
from palette_bench.score.recipes.base import Shown
from palette_bench.score.recipes.catalogue import named

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

MOST_GROUPS = 24


def print_score_table(table: ScoreTable) -> None:
    """The table on stdout, footnotes below."""
    from rich import box
    from rich.table import Table

    drawn = Table(title=escape(printable(table.title)), title_justify="left", box=box.SIMPLE_HEAD)
    drawn.add_column("")
    drawn.add_column(table.source_heading, style="dim")
    for heading in table.headings:
        drawn.add_column(heading, justify="right")
    for group in table.groups:
        for row in group:
            # Names of models are somebody else's text: none of it is rich's markup.
            cells = [escape(printable(text)) for text in (row.name, row.source, *row.cells)]
            drawn.add_row(*cells, style="italic" if row.reference else None)
        drawn.add_section()
    console.print_table(drawn)
    for mark, text in table.notes:
        click.echo(f"  {mark}  {text}")


YOURS = "▸"


def print_paper_table(table: PaperTable) -> None:
    """A filled table of the paper on stdout, footnotes below.

    Where it is wider than the terminal, columns under one heading come together, one block below the other. Where
    nothing shows bold, the best has two stars around it and the second one line.
    """
    from rich.console import Console

    terminal = sys.stdout.isatty()
    styled = terminal and not os.environ.get("NO_COLOR")
    click.echo(printable(" ".join([table.heading, *table.marks])))
    for drawn in render_paper_table(table, width=Console().width if terminal else 200, styled=styled):
        console.print_table(drawn)
    if any(row.source is Source.YOURS for group in table.groups for row in group.rows):
        click.echo(f"  {YOURS} your records")
    for text in table.legend():
        click.echo(f"  {text if styled else text.replace('best bold, second underlined', '**best**, _second_')}")
    for mark, text in table.notes:
        click.echo(f"  {mark}  {printable(text)}")
    for text in table.remarks:
        click.echo(f"  {printable(text)}")


def render_paper_table(table: PaperTable, *, width: int, styled: bool) -> "list[Table]":
    """The table as one or more of rich's, none wider than ``width`` where that can be."""
    from rich.console import Console

    whole = _drawn(table, range(len(table.columns)), styled=styled)
    overs = list(dict.fromkeys(column.over for column in table.columns))
    if len(overs) == 1 or Console(width=10_000).measure(whole).maximum <= width:
        return [whole]
    return [
        _drawn(table, [i for i, column in enumerate(table.columns) if column.over == over], styled=styled)
        for over in overs
    ]


def _drawn(table: PaperTable, indices: Sequence[int], *, styled: bool) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD)
    drawn.add_column(table.row_head, overflow="fold")
    for index in indices:
        column = table.columns[index]
        head = " ".join([column.head, *column.marks])
        drawn.add_column(f"{column.over}\n{head}" if column.over else head, justify="right", overflow="fold")
    for group in table.groups:
        if title := table.group_title(group):
            drawn.add_row(Text(printable(title), style="bold" if styled else ""))
        for row in group.rows:
            cells = [_drawn_cell(row.cells[index], styled=styled) for index in indices]
            drawn.add_row(Text(_label(table, row)), *cells, style="italic" if row.reference else None)
        drawn.add_section()
    return drawn


def _label(table: PaperTable, row: TableRow) -> str:
    parts = [row.label]
    if row.source is Source.YOURS:
        parts.insert(0, YOURS)
    if row.cites:
        parts.append(f"[{row.cites}]")
    if row.paper is not None and row.paper != table.paper:
        parts.append(f"({row.paper.name})")
    return printable(" ".join([*parts, *row.marks]))


def _drawn_cell(cell: TableCell, *, styled: bool) -> "Text":
    """A number and its marks; the error keeps together when the cell is broken into lines."""
    from rich.text import Text

    shown = cell.text.replace(" ± ", " ±")
    around = {Place.BEST: "**", Place.SECOND: "_", Place.OTHER: ""}[cell.place]
    style = {Place.BEST: "bold", Place.SECOND: "underline", Place.OTHER: ""}[cell.place]
    marks = [*([UNDECIDED] if cell.undecided else []), *cell.marks]
    number = Text(shown, style=style) if styled else Text(f"{around}{shown}{around}")
    # A base of no style, or the padding would be underlined with the number.
    return Text.assemble(number, "".join(f" {mark}" for mark in marks))


def print_groups(record: ResultRecord) -> None:
    """The numbers of groups on stdout; many groups are only in the record."""
    from rich import box
    from rich.table import Table

    if not record.groups:
        return
    if len(record.groups) > MOST_GROUPS:
        click.echo(f"  {len(record.groups)} groups: their numbers are in the record")
        return
    names = list(dict.fromkeys(name for group in record.groups for name in group.metrics))
    drawn = Table(title="of parts of the set, with standard errors", title_justify="left", box=box.SIMPLE_HEAD)
    drawn.add_column("")
    drawn.add_column("images", justify="right")
    for name in names:
        drawn.add_column(named(name).title, justify="right")
    for group in record.groups:
        cells = []
        for name in names:
            value, digits = group.metrics.get(name), named(name).digits
            if value is None:
                cells.append("-")
            else:
                cells.append(number_text(value.value, value.standard_error, digits))
        drawn.add_row(escape(printable(f"{group.grouping} {group.name}")), str(group.count), *cells)
    console.print_table(drawn)


def print_others(record: ResultRecord) -> None:
    """The recipes that the table has no column for, a line each: those asked for, diversity, other packages' ones."""
    for name, metric in record.metrics.items():
        recipe = named(name)
        if not recipe.on_request and recipe.shown is not Shown.LINE:
            continue
        digits = recipe.digits
        text = number_text(metric.value, metric.standard_error, digits)
        if metric.low is not None:
            text += f", 95 %: {metric.low:.{digits}f} to {metric.high:.{digits}f}"
        click.echo(f"  {name}: {text}")
