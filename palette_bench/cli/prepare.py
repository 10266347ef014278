"""``palette-bench prepare``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs


@click.command(
    epilog="""\b
Examples:
  palette-bench prepare imagenet-ctest10k --source /data/imagenet/val
  palette-bench prepare imagenet-ctest10k --source ILSVRC2012_img_val.tar --labels ILSVRC2012_devkit_t12
  palette-bench prepare folder --source my-photos --name my-photos --size 256
  palette-bench prepare scenes32"""
)
@click.argument("protocol", metavar="PROTOCOL")
@click.option(
    "--source",
    type=ANY_PATH,
    help="Folder of images, an uncompressed .tar, or parquet, read in place.  [default: palette-bench sources]",
)
@click.option("--labels", type=ANY_PATH, help="File of 'name label' lines, or the devkit's ground truth or folder.")
@click.option("--list", "list_file", type=ANY_PATH, help="Use these images instead, one name a line: a variant.")
@click.option(
    "--geometry",
    type=click.Choice(["square-area", "short-side-bilinear", "adm"]),
    help="How images become squares: a variant unless it is the protocol's own.",
)
@click.option(
    "--released-masks", type=ANY_PATH, help="The mask file released with the paper, by its digest: a variant."
)
@click.option("--name", help="Name of a folder set.  [default: the folder's name]")
@click.option("--size", type=click.IntRange(16, 4096), help="Side of a folder set's images.  [default: 256]")
@click.option("--replace", is_flag=True, help="Build the set again even if it is there.")
@jobs
@as_json
def command(
    protocol: str,
    source: Path | None,
    labels: Path | None,
    list_file: Path | None,
    geometry: str | None,
    released_masks: Path | None,
    name: str | None,
    size: int | None,
    *,
    replace: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Make a frozen evaluation set: PROTOCOL is one of those that `palette-bench sets` lists.

    Interrupted at any moment, the same command continues. Nothing is extracted to disk, the source is only read.
    """
    from palette_bench.common.workers import default_jobs
    from palette_bench.prepare.plan import Choices, make_plan
    from palette_bench.protocol.definition import GeometryName

    choices = Choices(
        source=source,
        labels=labels,
        list_file=list_file,
        geometry=GeometryName(geometry) if geometry else None,
        released_masks=released_masks,
        name=name,
        size=size,
    )
    progress = console.progress()
    plan = make_plan(protocol, choices, progress=progress)
    from palette_bench.prepare.build import build

    built = build(plan, jobs=jobs or default_jobs(), replace=replace, progress=progress)
    if as_json:
        console.print_json(
            {
                "set": plan.protocol.set_id,
                "version": plan.protocol.version,
                "status": plan.protocol.status.value,
                "fingerprint": plan.protocol.fingerprint(),
                "data_digest": built.data_digest,
                "count": built.count,
                "folder": str(built.folder),
                "fresh": built.fresh,
                "conversions": built.conversions,
                "enlarged": built.enlarged,
                "doubled": built.doubled,
            }
        )
        return
    click.echo(f"{plan.protocol.set_id}: {built.count} images" + ("" if built.fresh else ", prepared already"))
    if plan.protocol.status.value == "reconstruction":
        click.echo("  status       reconstruction: the paper's own list was never published")
    for conversion, count in sorted(built.conversions.items()):
        click.echo(f"  {conversion:<12} {count} images")
    if built.enlarged:
        click.echo(f"  enlarged     {built.enlarged} images have a side shorter than {plan.protocol.size} pixels")
    if built.doubled:
        click.echo(f"  doubled      {built.doubled} images have the same reference as another one")
    click.echo(f"  fingerprint  {plan.protocol.fingerprint()[:16]}   what the set is")
    click.echo(f"  data         {built.data_digest[:16]}   what its pixels are")
    click.echo(f"  folder       {built.folder}")
    if not built.fresh:
        click.echo("  to check it: palette-bench verify " + plan.protocol.set_id)
