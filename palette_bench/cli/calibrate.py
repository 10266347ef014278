"""``palette-bench calibrate``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console, options
from palette_bench.cli.options import ANY_PATH, as_json

if TYPE_CHECKING:
    from palette_bench.score.engine import Compute


@click.command(
    epilog="""\b
Examples:
  palette-bench calibrate --set imagenet-ctest10k
  palette-bench calibrate --set imagenet-coltran5k --out calibration.md
  palette-bench calibrate --set imagenet-ctest10k --reference imagenet-val --band ca=0.2
  palette-bench calibrate --set scenes32 --json"""
)
@click.option("--set", "set_name", required=True, help="A set of which at least one geometry is prepared.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    help="A FID reference set, or eval-set; may be given again.  [default: all that the set has, and imported ones]",
)
@click.option(
    "--band",
    "bands",
    multiple=True,
    metavar="COLUMN=WIDTH",
    help="How far off counts as reproduced, beyond rounding, as in fid=0.05 or is=1%.  [default: fid=0.5%, is=0.5%, "
    "ca=0.1]",
)
@click.option("--out", type=ANY_PATH, help="Write it as a page of Markdown too.")
@options.compute
@as_json
def command(
    set_name: str,
    references: tuple[str, ...],
    bands: tuple[str, ...],
    out: Path | None,
    *,
    compute: "Compute",
    as_json: bool,
) -> None:
    """Find out which choices reproduce the paper's reference rows.

    Scores the untouched references of every prepared geometry of the set under every FID, IS and CA recipe and FID
    reference set, with what as many perfect samples are expected to score, and says which printed numbers each
    reproduces, and which choices explain all of them. What is not prepared or not computed is listed with the command
    that does it. No model is involved. docs/calibrating.md says how to read it.

    Killed at any moment, the same command continues; a second run computes nothing.
    """
    from palette_bench.common.errors import UsageError
    from palette_bench.common.files import write_bytes
    from palette_bench.publish.calibrate import calibrate, page, parse_bands, sheet
    from palette_bench.score import ranks

    widths = parse_bands(bands)
    if not ranks.of_this_process().part.whole:
        raise UsageError("calibrate runs in one process", found="torchrun", next_step="use --jobs, or --device cuda")
    calibration = calibrate(set_name, compute, references=references, bands=widths, progress=options.progress())
    if out is not None:
        write_bytes(out, page(calibration).encode())
    if as_json:
        console.print_json(calibration.as_json())
        return
    printed = sheet(calibration)
    click.echo(printed.title)
    for line in printed.intro:
        click.echo(f"  {line}")
    for table in printed.tables:
        console.print_table(table)
    for line in printed.conclusions:
        click.echo(line)
    if out is not None:
        click.echo(f"  {out}")
