"""``palette-bench compare``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json


@click.command(
    epilog="""\b
Examples:
  palette-bench compare results/scenes32-uncrop-mine results/scenes32-uncrop-theirs
  palette-bench compare mine/result.json theirs/result.json --worst 20
  palette-bench compare mine theirs --only pd-scenes32 --only ca-scenes32
  palette-bench compare mine theirs --json"""
)
@click.argument("first", metavar="A", type=ANY_PATH)
@click.argument("second", metavar="B", type=ANY_PATH)
@click.option("--only", multiple=True, metavar="RECIPE", help="Compare this recipe and no other; may be repeated.")
@click.option(
    "--worst", type=click.IntRange(0), default=5, show_default=True, help="Items to list on which each is ahead most."
)
@click.option("--worst-by", metavar="RECIPE", help="What those items are ordered by.  [default: the headline PD]")
@as_json
def command(
    first: Path, second: Path, only: tuple[str, ...], worst: int, worst_by: str | None, *, as_json: bool
) -> None:
    """Compare two results item by item: which is ahead, by how much, and how sure that is.

    A and B are folders that score wrote, or their result.json with items.csv beside it. Every difference is A minus B
    of the same items, with a 95 % interval and a p-value: two numbers whose error bars overlap can differ for sure
    (docs/comparing.md). Another training run or seed is not covered: these are differences of predictions.

    Results of another set, task, recipe, network, precision or FID reference are refused, with every difference.
    """
    from palette_bench.common.errors import printable
    from palette_bench.publish.compare import compare, comparison_tables, open_side

    comparison = compare(open_side(first), open_side(second), only=only, worst=worst, worst_by=worst_by)
    for warning in comparison.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        console.print_json(comparison.as_json())
        return
    for number, table in enumerate(comparison_tables(comparison)):
        if number:
            click.echo()
        console.print_table(table)
    for name, why in comparison.left_out.items():
        click.echo(f"  not compared: {printable(name)}: {printable(why)}")
    click.echo(f"  {comparison.signature}")
