"""``palette-bench weights``: which weights files there are, and how they get here."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console, options

if TYPE_CHECKING:
    from palette_bench.score.backbones.weights import LocatedWeights, WeightsFile, WeightsStatus


@click.group(name="weights", short_help="Weights of the pretrained networks: list, fetch, import.")
def command() -> None:
    """Weights of the pretrained networks that score photographs.

    Every file is checked by its sha256 each time it is used. Only `fetch` touches the network.

    \b
    Example:
        palette-bench weights fetch
        palette-bench weights list
    """


@command.command(name="list", short_help="What is needed, what is here, where it comes from.")
@options.as_json
def list_files(as_json: bool) -> None:
    """List the weights files with their digests, addresses and whether they are in place.

    \b
    Example:
        palette-bench weights list
        palette-bench weights list --json
    """
    from palette_bench.score.backbones import weights

    rows = weights.status()
    if as_json:
        console.print_json([_status_json(row) for row in rows])
        return
    from rich.table import Table

    table = Table("name", "state", "used for")
    for row in rows:
        table.add_row(row.file.name, row.state.value, row.file.used_for + (" (optional)" if row.file.optional else ""))
    console.print_table(table)
    for row in rows:
        click.echo(f"{row.file.name}: {row.file.source}")
        click.echo(f"  file   {row.path}\n  sha256 {row.file.sha256}\n  from   {row.file.url}")


@command.command(short_help="Download weights files.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--offline", is_flag=True, envvar="PALETTE_BENCH_OFFLINE", help="Never touch the network.", show_envvar=True
)
@options.as_json
def fetch(names: tuple[str, ...], offline: bool, as_json: bool) -> None:
    """Download the weights called NAME, or all that the usual recipes need. Files in place are checked and not
    downloaded again.

    \b
    Example:
        palette-bench weights fetch
        palette-bench weights fetch inception2015 resnet50-v1
    """
    from palette_bench.score.backbones import weights

    files = [weights.named(name) for name in names] or weights.default_files()
    progress = console.progress()
    located = [(file, weights.fetch(file, offline=offline, progress=progress)) for file in files]
    _print_located(located, as_json=as_json)


@command.command(name="import", short_help="Use a weights file that is already on this machine.")
@click.argument("file", type=options.ANY_PATH)
@click.option("--as", "name", metavar="NAME", help="What the file is; needed only for other weights.")
@click.option(
    "--allow-other-weights",
    is_flag=True,
    help="Accept weights that are not the published ones; what they score is comparable with nothing.",
)
@options.as_json
def import_(file: Path, name: str | None, allow_other_weights: bool, as_json: bool) -> None:
    """Copy FILE to where weights belong. It is recognised by its sha256, whatever it is called.

    \b
    Example:
        palette-bench weights import ~/Downloads/resnet50-0676ba61.pth
        palette-bench weights import mine.pth --as inception2015 --allow-other-weights
    """
    from palette_bench.score.backbones import weights

    _print_located([weights.import_file(file, name=name, allow_other=allow_other_weights)], as_json=as_json)


def _status_json(row: "WeightsStatus") -> dict[str, object]:
    return {
        "name": row.file.name,
        "state": row.state.value,
        "path": str(row.path),
        "url": row.file.url,
        "sha256": row.file.sha256,
        "found_sha256": row.found_sha256,
        "size_bytes": row.file.size_bytes,
        "source": row.file.source,
        "used_for": row.file.used_for,
        "optional": row.file.optional,
    }


def _print_located(located: "list[tuple[WeightsFile, LocatedWeights]]", *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"name": file.name, "path": str(at.path), "sha256": at.sha256, "canonical": at.canonical}
            for file, at in located
        ]
        console.print_json(rows)
        return
    for file, at in located:
        remark = "" if at.canonical else "  (not the published weights: comparable with nothing)"
        click.echo(f"{file.name}: {at.path}{remark}")
