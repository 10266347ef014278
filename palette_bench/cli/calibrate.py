"""``palette-bench calibrate``."""

from pathlib import Path

import click

from palette_bench.cli import console, scoring_options
from palette_bench.cli.options import ANY_PATH, as_json, jobs


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
@scoring_options.networks
@jobs
@as_json
def command(
    set_name: str,
    references: tuple[str, ...],
    bands: tuple[str, ...],
    out: Path | None,
    *,
    allow_other_weights: bool,
    device: str,
    backend: str,
    bfloat16: bool,
    batch_size: int | None,
    jobs: int | None,
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
    from palette_bench.score.backbones.base import Backend
    from palette_bench.score.calibrating import Options

    widths = parse_bands(bands)
    place = scoring_options.place(device, jobs)
    if not place.ranks.part.whole:
        raise UsageError("calibrate runs in one process", found="torchrun", next_step="use --jobs, or --device cuda")
    options = Options(
        references=references,
        allow_other_weights=allow_other_weights,
        device=place.device,
        backend=Backend(backend),
        bfloat16=bfloat16,
        batch_size=batch_size,
        jobs=place.jobs,
    )
    calibration = calibrate(set_name, options, bands=widths, progress=place.progress())
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
