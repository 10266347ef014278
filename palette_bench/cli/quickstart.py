"""``palette-bench quickstart``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, jobs

TASK = "uncrop"
METHODS = ("biharmonic", "mirror")


@click.command(epilog="Example: palette-bench quickstart")
@click.option(
    "--out",
    type=ANY_PATH,
    default=Path("palette-bench-quickstart"),
    show_default=True,
    help="Folder for predictions, records and a picture.",
)
@jobs
def command(out: Path, *, jobs: int | None) -> None:
    """See the whole path work, with nothing to download.

    Prepares the embedded set scenes32, uncrops its 2,000 scenes with two classical methods, scores both and prints
    them in the paper's layout.
    """
    import io

    from palette_bench.common.files import write_bytes
    from palette_bench.common.workers import default_jobs
    from palette_bench.predict.card import find_card
    from palette_bench.predict.run import Options as Running
    from palette_bench.predict.run import predict
    from palette_bench.prepare.build import build
    from palette_bench.prepare.contact_sheet import contact_sheet
    from palette_bench.prepare.frozen import open_set
    from palette_bench.prepare.plan import Choices, make_plan
    from palette_bench.publish.score_table import score_table
    from palette_bench.score.record import RECORD_FILE, save
    from palette_bench.score.scoring import Options, score

    processes = jobs or default_jobs()
    progress = console.progress()
    plan = make_plan("scenes32", Choices(), progress=progress)
    built = build(plan, jobs=processes, replace=False, progress=progress)
    click.echo(f"1. prepared scenes32: {built.count} scenes in {built.folder}", err=True)
    opened = open_set(plan.protocol.set_id)

    buffer = io.BytesIO()
    contact_sheet(opened, rows=6).save(buffer, "PNG")
    write_bytes(out / "scenes32.png", buffer.getvalue())

    records = []
    for number, method in enumerate(METHODS, 2):
        predictions = out / TASK / method
        predict(opened, TASK, find_card(method), predictions, Running(jobs=processes), progress=progress)
        scored = score(opened, opened.task(TASK), predictions, method, Options(jobs=processes), progress=progress)
        if scored is None:
            return
        save(scored.record, scored.items_csv, out / "results" / f"{TASK}-{method}")
        records.append(scored.record)
        click.echo(f"{number}. {method}: predictions in {predictions}, scored", err=True)

    from palette_bench.cli.tables import print_score_table

    print_score_table(score_table(records))
    click.echo("The reference row is what a perfect model would score. Mirroring copies texture and looks real to a")
    click.echo("network; smooth filling does not. Neither invents the missing object, which CA shows.")
    click.echo(f"  picture  {out / 'scenes32.png'}")
    click.echo(f"  records  {out / 'results' / (TASK + '-' + METHODS[-1]) / RECORD_FILE}")
    click.echo("next: palette-bench prepare imagenet-ctest10k --source /data/imagenet/val")
