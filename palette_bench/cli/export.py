"""``palette-bench export``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs


@click.command(
    epilog="""\b
Examples:
  palette-bench export --task uncrop --holes white --out conditions/
  palette-bench export --set imagenet-ctest10k --task jpeg-qf5 --out conditions/
  palette-bench export --task inpaint-center --layout lama --out lama-inputs/
  palette-bench export --set crops --task inpaint-center --layout hifill --source originals/ --out hifill-inputs/"""
)
@click.option("--set", "name", help="A prepared set.  [default: the only one that has the task]")
@click.option("--task", required=True, help="Which conditions, e.g. uncrop.")
@click.option("--out", type=ANY_PATH, required=True, help="An empty or new folder.")
@click.option(
    "--holes",
    type=click.Choice(["white", "black"]),
    help="Colour of the holes in mask files; the plain layout requires it where there are masks: models disagree.",
)
@click.option(
    "--layout",
    default="plain",
    show_default=True,
    metavar="LAYOUT",
    help="Whose input convention: plain, deepfillv2, hifill, hifill-256, lama, mat, comodgan, repaint, i2sb, janspiry, "
    "guided-diffusion, boundless, infinitygan, coltran, ddcolor, fbcnn, qgac.",
)
@click.option("--source", type=ANY_PATH, help="The original images, for a layout that shows more of them (hifill).")
@click.option("--references", is_flag=True, help="Write the references too. Keep them away from the model.")
@jobs
@as_json
def command(
    name: str | None,
    task: str,
    out: Path,
    holes: str | None,
    layout: str,
    source: Path | None,
    *,
    references: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Write a task's conditions as files: images, masks (always PNG), JPEG bytes, and the list of ids.

    A model's --layout has the names, sizes and mask colours that the model reads; `palette-bench import` reads what it
    writes.
    """
    from palette_bench.artifacts.evalset import open_only_set
    from palette_bench.common.workers import default_jobs
    from palette_bench.prepare.export import HoleColour, export

    eval_set = open_only_set(name, task)
    written = export(
        eval_set,
        eval_set.task(task),
        out,
        holes=HoleColour(holes) if holes else None,
        references=references,
        jobs=jobs or default_jobs(),
        progress=console.progress(),
        layout=layout,
        source=source,
    )
    if as_json:
        console.print_json({"folder": str(written.folder), "count": written.count, "parts": list(written.parts)})
        return
    click.echo(f"{written.folder}: {written.count} items of {eval_set.set_id}, {task}: {', '.join(written.parts)}")
    if written.note:
        click.echo(f"  {written.note}")
    click.echo(f"then: palette-bench score --set {eval_set.set_id} --task {task} --preds DIR")
