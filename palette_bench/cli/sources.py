"""``palette-bench sources``: where the images of the known datasets are on this machine."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json


@click.group(name="sources", short_help="Say once where ImageNet and Places365 are.")
def command() -> None:
    """Where the validation images of ImageNet and Places365 are, for `prepare` and `statistics` without --source.

    The variable PALETTE_BENCH_SOURCES (imagenet-val=PATH) goes before what was said here, and the places where
    torchvision, Kaggle and Hugging Face have them come last.

    \b
    Example:
        palette-bench sources set imagenet-val /data/imagenet/val
        palette-bench sources list
    """


@command.command(name="set", short_help="Remember where a dataset is.")
@click.argument("name", metavar="NAME")
@click.argument("path", metavar="PATH", type=ANY_PATH)
def set_source(name: str, path: Path) -> None:
    """Remember that the dataset NAME (imagenet-val or places365-val) is at PATH.

    \b
    Example:
        palette-bench sources set imagenet-val /data/imagenet/val
    """
    from palette_bench.prepare.sources.remembered import remember

    click.echo(f"{name}: {remember(name, path)}")


@command.command(name="list", short_help="What is remembered.")
@as_json
def list_sources(as_json: bool) -> None:
    """List where the datasets are, and what says so.

    \b
    Example:
        palette-bench sources list
    """
    from palette_bench.prepare.sources.remembered import NAMES, remembered

    rows = remembered()
    if as_json:
        console.print_json([{"name": row.name, "path": str(row.path), "said_by": row.said_by} for row in rows])
        return
    for row in rows:
        click.echo(f"{row.name}: {row.path} ({row.said_by})")
    for name in NAMES.keys() - {row.name for row in rows}:
        click.echo(f"{name}: not known; palette-bench sources set {name} PATH")


@command.command(name="forget", short_help="Forget where a dataset is.")
@click.argument("name", metavar="NAME")
def forget_source(name: str) -> None:
    """Forget what `sources set` was told of the dataset NAME.

    \b
    Example:
        palette-bench sources forget imagenet-val
    """
    from palette_bench.prepare.sources.remembered import forget

    forget(name)
    click.echo(f"{name}: forgotten")
