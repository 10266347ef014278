"""``palette-bench recipes``."""

import click

from palette_bench.cli import console
from palette_bench.cli.options import as_json


@click.command(
    epilog="""\b
Examples:
  palette-bench recipes
  palette-bench recipes fid-inception2015-tf1
  palette-bench recipes --json"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@as_json
def command(names: tuple[str, ...], *, as_json: bool) -> None:
    """List the recipes: each one exactly defined metric, with its version, fingerprint and source.

    The fingerprint covers the recipe and the published weights of its network; numbers compare only if it is equal.
    """
    from palette_bench.score.recipes.catalogue import every, named

    chosen = [named(name) for name in names] or list(every().values())
    if as_json:
        console.print_json(
            [
                {
                    "name": recipe.name,
                    "version": recipe.version,
                    "fingerprint": recipe.published_fingerprint,
                    "metric": recipe.metric.name,
                    "network": recipe.backbone,
                    "output": recipe.output,
                    "parameters": dict(recipe.parameters),
                    "title": recipe.title,
                    "direction": recipe.direction.value,
                    "headline": recipe.headline,
                    "on_request": recipe.on_request,
                    "doc": recipe.doc,
                    **({"provider": recipe.provider} if recipe.provider else {}),
                }
                for recipe in chosen
            ]
        )
        return
    if names:
        for recipe in chosen:
            when = "headline" if recipe.headline else "on request (--also)" if recipe.on_request else "in every record"
            click.echo(f"{recipe.name} version {recipe.version}: {recipe.title}, {recipe.direction.value} is better")
            if recipe.provider:
                click.echo(f"  from the package {recipe.provider}: never ranked beside others")
            click.echo(f"  {when}; network {recipe.backbone}, output {recipe.output}")
            click.echo(f"  {', '.join(f'{key} = {value}' for key, value in recipe.parameters.items())}")
            click.echo(f"  fingerprint {recipe.published_fingerprint}")
            click.echo(f"  {recipe.doc}")
        return
    from rich.table import Table

    table = Table("recipe", "", "title", "fingerprint")
    for recipe in chosen:
        when = "headline" if recipe.headline else "on request" if recipe.on_request else ""
        table.add_row(recipe.name, when, recipe.title, recipe.published_fingerprint[:16])
    console.print_table(table)
    click.echo("palette-bench recipes NAME tells what a recipe is, and where it comes from")
