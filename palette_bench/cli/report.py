"""``palette-bench report``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs


@click.command(
    epilog="""\b
Examples:
  palette-bench report results/scenes32-uncrop-mirror --preds outputs/
  palette-bench report results/imagenet-ctest10k-colorize-mine/result.json --preds outputs.npz --out report
  palette-bench report results/scenes32-uncrop-mine --preds outputs/ --samples-shown 8 --json"""
)
@click.argument("result", type=ANY_PATH)
@click.option(
    "--preds", type=ANY_PATH, help="The predictions that were scored.  [default: NAME or preds/NAME, by the record]"
)
@click.option("--out", type=ANY_PATH, help="Folder for the report.  [default: report, beside the record]")
@click.option(
    "--samples-shown",
    type=click.IntRange(1, 16),
    default=4,
    show_default=True,
    help="Samples of an item that can be looked at, where there are several.",
)
@jobs
@as_json
def command(
    result: Path, preds: Path | None, out: Path | None, *, samples_shown: int, jobs: int | None, as_json: bool
) -> None:
    """Make a folder that shows a score: open its index.html by double-click.

    Warnings, numbers beside the published ones, every item with condition, prediction and reference under a slider,
    the best and the worst, groups, and where it all comes from. The predictions must be those of the record, and are
    shown as they were scored. The folder appears when it is whole and stays under 150 MB; nothing in it asks a network
    for anything.
    """
    from palette_bench.common.workers import default_jobs
    from palette_bench.publish.report.build import make_report

    made = make_report(
        result,
        preds,
        out,
        samples_shown=samples_shown,
        jobs=jobs or default_jobs(),
        progress=console.progress(),
    )
    if as_json:
        console.print_json(made.as_json())
        return
    click.echo(f"{made.page}: {made.items} items, {made.full} with exact images, {made.bytes / 1e6:.1f} MB")
