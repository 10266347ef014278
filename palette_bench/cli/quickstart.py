"""``palette-bench quickstart``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, jobs

RUNS = {
    "colorize": ("classical-chroma-by-luminance", "input"),
    "inpaint-center": ("classical-push-pull", "classical-mean"),
    "uncrop": ("classical-tile", "classical-mirror"),
    "jpeg-qf5": ("input", "classical-median"),
}
"""The tasks, and the two methods of each that have learnt nothing."""
LEARNT = ("regression-scenes32-multitask", "palette-scenes32-multitask")
SHOWN_ITEMS = (3, 1207)


@click.command(epilog="Example: palette-bench quickstart")
@click.option(
    "--out",
    type=ANY_PATH,
    default=Path("palette-bench-quickstart"),
    show_default=True,
    help="Folder for predictions, records and pictures.",
)
@jobs
def command(out: Path, *, jobs: int | None) -> None:
    """See the whole path work, with nothing to download.

    Prepares the embedded set scenes32; runs the shipped Palette, its regression twin and two classical methods on
    colorization, inpainting, uncropping and JPEG decompression; scores them and prints the paper's columns.
    """
    import io

    from PIL import Image

    from palette_bench.artifacts.evalset import open_set
    from palette_bench.common.files import write_bytes
    from palette_bench.common.workers import default_jobs
    from palette_bench.predict.card import find_card
    from palette_bench.prepare.build import build
    from palette_bench.prepare.contact_sheet import contact_sheet
    from palette_bench.prepare.plan import Choices, make_plan
    from palette_bench.publish.figures.sheet import SheetBlock, comparison_sheet
    from palette_bench.publish.regress import runs as rows
    from palette_bench.publish.tables.score import tasks_table

    processes = jobs or default_jobs()
    progress = console.progress()
    plan = make_plan("scenes32", Choices(), progress=progress)
    built = build(plan, jobs=processes, replace=False, progress=progress)
    click.echo(f"1. prepared scenes32: {built.count} scenes in {built.folder}", err=True)
    eval_set = open_set(plan.protocol.set_id)

    def draw(picture: Image.Image, name: str) -> None:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        write_bytes(out / name, buffer.getvalue())

    draw(contact_sheet(eval_set, rows=6), "scenes32.png")
    wanted = {
        (task, model): rows.Row(
            set_id=eval_set.set_id,
            task=task,
            model=model,
            name=find_card(model).title,
            preds=out / task / model,
            record=out / "results" / f"{task}-{model}",
        )
        for task, classical in RUNS.items()
        for model in (*classical, *LEARNT)
    }
    # The slowest begin early, so that all processors are busy to the end; but one that is soon scored begins first:
    # it computes FID's statistics, for which others would wait.
    soonest, *others = wanted.values()
    planned = [soonest, *sorted(others, key=lambda row: row.model in LEARNT and -LEARNT.index(row.model) - 1)]
    records = {}
    for row, scored in rows.make_all(planned, processes=processes, label=f"{len(planned)} rows", progress=progress):
        records[row.task, str(row.model)] = scored.record
    click.echo(f"2. predicted and scored {len(RUNS)} tasks with 4 models each", err=True)
    groups = [[records[key] for key in wanted if key[0] == task] for task in RUNS]
    blocks = [
        SheetBlock(
            eval_set.task(task), SHOWN_ITEMS, {row.name: row.preds for (of, _), row in wanted.items() if of == task}
        )
        for task in RUNS
    ]
    draw(comparison_sheet(eval_set, blocks), "models.png")

    console.print_table(tasks_table(groups))
    click.echo(
        "The reference rows are what a perfect model would score. Palette is the shipped small model of this world;"
    )
    click.echo("Regression, the same network trained to give the image at once, is nearer in PSNR and further in FID.")
    click.echo(f"  pictures  {out / 'models.png'}, {out / 'scenes32.png'}")
    click.echo(f"  records   {out / 'results'}")
    click.echo("next: palette-bench prepare imagenet-ctest10k --source /data/imagenet/val")
