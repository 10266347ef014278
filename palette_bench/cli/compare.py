"""``palette-bench compare``."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json

if TYPE_CHECKING:
    from palette_bench.publish.compare import Comparison, MetricDifference
    from palette_bench.score.recipes.base import Recipe

MOST_GROUPS = 24
LEAST_P = 0.001
UNPAIRED = "*"


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
    from palette_bench.publish.compare import compare, open_side

    found = compare(open_side(first), open_side(second), only=only, worst=worst, worst_by=worst_by)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        console.print_json(found.as_json())
        return
    _print_metrics(found)
    _print_items(found)
    _print_groups(found)
    for name, why in found.left_out.items():
        click.echo(f"  not compared: {_plain(name)}: {_plain(why)}")
    click.echo(f"  {found.signature}")


def _plain(text: str) -> str:
    from palette_bench.common.errors import printable

    return printable(text)


def _cell(text: str) -> str:
    """Text that somebody else wrote, as a cell that shows it and nothing else."""
    from rich.markup import escape

    return escape(_plain(text))


def _digits(recipe: "Recipe", error: float | None) -> int:
    """So many that a standard error keeps two."""
    if not error:
        return recipe.digits
    return max(recipe.digits, math.ceil(-math.log10(error)) + 1)


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:.3f}"


def _print_metrics(found: "Comparison") -> None:
    """The differences on stdout, remarks below."""
    from rich import box
    from rich.table import Table

    from palette_bench.publish.compare import Method
    from palette_bench.publish.tables.score import number_text

    scored = found.first.record.scored
    title = f"{scored.task} on {scored.set_id} version {scored.version}: the same {scored.count} images"
    click.echo(_plain(title))
    drawn = Table(box=box.SIMPLE_HEAD)
    drawn.add_column("")
    drawn.add_column("recipe", style="dim")
    names = f"A: {found.first.record.name}", f"B: {found.second.record.name}"
    for heading in (*names, "A - B", "95 %", "p", "p (Holm)"):
        drawn.add_column(_cell(heading), justify="right")
    drawn.add_column("ahead")
    for metric in found.metrics:
        recipe, difference = metric.recipe, metric.difference
        digits = _digits(recipe, difference.standard_error)
        mark = f" {UNPAIRED}" if metric.method is Method.UNPAIRED else ""
        interval = "-"
        if difference.low is not None and difference.high is not None and metric.method is not Method.SAME:
            interval = f"{difference.low:+z.{digits}f} to {difference.high:+z.{digits}f}"
        drawn.add_row(
            _heading(recipe) + mark,
            recipe.name,
            number_text(metric.first, metric.first_error, recipe.digits),
            number_text(metric.second, metric.second_error, recipe.digits),
            f"{difference.value:+z.{digits}f}" if difference.value else "0",
            interval,
            _p(difference.p),
            _p(metric.adjusted_p),
            metric.ahead.value,
        )
    console.print_table(drawn)
    for note in (*_flips(found.metrics), *found.notes):
        click.echo(f"  {note}")
    if any(metric.method is Method.UNPAIRED for metric in found.metrics):
        click.echo(
            f"  {UNPAIRED} unpaired: items.csv does not know what an item does to this number, so the error is that of "
            "different images and nearly always too large"
        )


def _heading(recipe: "Recipe") -> str:
    from palette_bench.score.recipes.base import Direction

    unit = f", {recipe.unit}" if recipe.unit else ""
    return f"{recipe.title}{unit} {'↓' if recipe.direction is Direction.LOWER else '↑'}"


def _flips(metrics: "tuple[MetricDifference, ...]") -> list[str]:
    return [
        f"{metric.recipe.name}: {metric.details['only_a']} images are right in A only, {metric.details['only_b']} in B "
        "only"
        for metric in metrics
        if metric.details
    ]


def _print_items(found: "Comparison") -> None:
    from rich import box
    from rich.table import Table

    from palette_bench.score.recipes.base import ItemNumbers

    most = found.most_different
    if most is None or not (most.first_ahead or most.second_ahead):
        return
    what = "influence on " if most.recipe.metric.items is ItemNumbers.INFLUENCE else ""
    click.echo(f"\nthe images that differ most, by {what}{most.recipe.name}")
    drawn = Table(box=box.SIMPLE_HEAD)
    drawn.add_column("")
    for heading in ("A", "B", "A - B"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("ahead")
    digits = most.recipe.digits + 1
    for label, items in (("A", most.first_ahead), ("B", most.second_ahead)):
        for item in items:
            drawn.add_row(
                _cell(item.id),
                f"{item.first:.{digits}f}",
                f"{item.second:.{digits}f}",
                f"{item.first - item.second:+z.{digits}f}",
                label,
            )
        drawn.add_section()
    console.print_table(drawn)


def _print_groups(found: "Comparison") -> None:
    from rich import box
    from rich.table import Table

    from palette_bench.score.recipes.catalogue import RECIPES

    if not found.groups:
        return
    if len(found.groups) > MOST_GROUPS:
        click.echo(f"  {len(found.groups)} groups in both: --json has their differences")
        return
    names = list(dict.fromkeys(name for group in found.groups for name in group.metrics))
    click.echo("\nof parts of the set: A - B with standard errors")
    drawn = Table(box=box.SIMPLE_HEAD)
    drawn.add_column("")
    drawn.add_column("images", justify="right")
    for name in names:
        drawn.add_column(_heading(RECIPES[name]), justify="right")
    unpaired = False
    for group in found.groups:
        cells = []
        for name in names:
            value = group.metrics.get(name)
            if value is None:
                cells.append("-")
                continue
            digits = RECIPES[name].digits
            error = "" if value.standard_error is None else f" ± {value.standard_error:.{digits}f}"
            mark = "" if value.paired else f" {UNPAIRED}"
            unpaired |= not value.paired
            cells.append(f"{value.first - value.second:+z.{digits}f}{error}{mark}")
        drawn.add_row(_cell(f"{group.grouping} {group.name}"), str(group.count), *cells)
    console.print_table(drawn)
    click.echo("  no p-values here: of twenty groups that do not differ, one is two standard errors off by chance")
    if unpaired:
        click.echo(f"  {UNPAIRED} unpaired: the error is that of different images and nearly always too large")
