"""``palette-bench submit``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs


@click.command(
    epilog="""\b
Examples:
  palette-bench submit results/scenes32-uncrop-mine --name "My model" --preds outputs/ --training-data "scenes32, train"
  palette-bench submit results/imagenet-ctest10k-uncrop-mine --name "My model" --preds outputs/ --card my/card.toml
  palette-bench submit results/scenes32-uncrop-mine --name "A filter" --training-data none --out leaderboards --json"""
)
@click.argument("result", type=ANY_PATH)
@click.option("--name", required=True, help="What the row is called.")
@click.option("--preds", type=ANY_PATH, help="What was scored: a few of these images become part of the entry.")
@click.option("--training-data", help="What the model was trained on; none, if it was not.  [default: the card's]")
@click.option(
    "--card", help="The card that made the predictions: a baseline's name, or a path.  [default: the record's]"
)
@click.option("--description", default="", help="A sentence or two about the model.")
@click.option("--licence", help="Of the model.  [default: the card's]")
@click.option("--citation", help="How to cite it.  [default: the card's]")
@click.option("--url", default="", help="An http or https address: code, weights or paper.")
@click.option(
    "--out", type=ANY_PATH, default=Path("leaderboards"), show_default=True, help="The folder of leaderboards."
)
@jobs
@as_json
def command(
    result: Path,
    name: str,
    preds: Path | None,
    training_data: str | None,
    card: str | None,
    description: str,
    licence: str | None,
    citation: str | None,
    url: str,
    out: Path,
    *,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Make an entry of a leaderboard from a RESULT that score wrote.

    The entry is a folder: the record, its items, what you declare of the model, and with --preds a few predictions
    that the digest of all of them chooses. It is checked as `palette-bench leaderboard check` does, and its tier is
    "scored": what is above that, a maintainer sets. No entry is ever overwritten. docs/submitting.md
    """
    from palette_bench.common.workers import default_jobs
    from palette_bench.publish.leaderboard.submit import Declared, submit

    declared = Declared(
        name=name,
        description=description,
        training_data=training_data,
        licence=licence,
        citation=citation,
        url=url,
        card=card,
    )
    made = submit(result, declared, preds, out, jobs=jobs or default_jobs(), progress=console.progress())
    if as_json:
        console.print_json({"folder": str(made.folder), "entry": made.entry.sealed()})
        return
    click.echo(made.folder)
    click.echo(f"  {made.entry.name}: {made.entry.task} on {made.entry.set_id}, {made.entry.tier.value}")
    click.echo(
        f"  {len(made.entry.audit)} audit images" + ("" if preds else ": give --preds, and others can look at some")
    )
    click.echo("  next: propose the folder to the project's leaderboards (docs/submitting.md)")
