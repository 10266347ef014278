"""How tables of scores are printed."""

import click

from palette_bench.cli import console
from palette_bench.publish.score_table import ScoreTable, number_text
from palette_bench.score.recipes import Metric, named
from palette_bench.score.record import ResultRecord

MOST_GROUPS = 24


def print_score_table(table: ScoreTable) -> None:
    """The table on stdout, footnotes below."""
    from rich import box
    from rich.table import Table

    drawn = Table(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    drawn.add_column("")
    drawn.add_column(table.source_heading, style="dim")
    for heading in table.headings:
        drawn.add_column(heading, justify="right")
    for group in table.groups:
        for row in group:
            drawn.add_row(row.name, row.source, *row.cells, style="italic" if row.reference else None)
        drawn.add_section()
    console.print_table(drawn)
    for mark, text in table.notes:
        click.echo(f"  {mark}  {text}")


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
        drawn.add_row(f"{group.grouping} {group.name}", str(group.count), *cells)
    console.print_table(drawn)


def print_others(record: ResultRecord) -> None:
    """The recipes that were asked for, and diversity: a line each, for the paper's table has no column for them."""
    for name, metric in record.metrics.items():
        recipe = named(name)
        if not recipe.on_request and recipe.metric is not Metric.DIVERSITY:
            continue
        digits = recipe.digits
        text = number_text(metric.value, metric.standard_error, digits)
        if metric.low is not None:
            text += f", 95 %: {metric.low:.{digits}f} to {metric.high:.{digits}f}"
        click.echo(f"  {name}: {text}")
