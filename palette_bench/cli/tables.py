"""How tables of scores are printed."""

import click

from palette_bench.cli import console
from palette_bench.publish.score_table import ScoreTable


def print_score_table(table: ScoreTable) -> None:
    """The table on stdout, footnotes below."""
    from rich import box
    from rich.table import Table

    drawn = Table(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    drawn.add_column("")
    drawn.add_column("from", style="dim")
    for heading in table.headings:
        drawn.add_column(heading, justify="right")
    for group in table.groups:
        for row in group:
            drawn.add_row(row.name, row.source, *row.cells, style="italic" if row.reference else None)
        drawn.add_section()
    console.print_table(drawn)
    for mark, text in table.notes:
        click.echo(f"  {mark}  {text}")
