"""``palette-bench score``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs


@click.command(
    epilog="""\b
Examples:
  palette-bench score --task uncrop --preds outputs/
  palette-bench score --set imagenet-ctest10k --task jpeg-qf5 --preds outputs.npz --json
  palette-bench score --task colorize --preds outputs/ --reference eval-set"""
)
@click.option("--set", "set_name", help="A prepared set.  [default: the only one that has the task]")
@click.option("--task", "task_name", required=True, help="What was predicted, e.g. uncrop.")
@click.option("--preds", type=ANY_PATH, required=True, help="Folder with ID.png or ID/K.png, or an .npz with arr_0.")
@click.option("--name", help="What to call the run.  [default: the name of --preds]")
@click.option("--out", type=ANY_PATH, help="Folder for the record.  [default: results/SET-TASK-NAME]")
@click.option("--reference", help="FID's reference set; 'eval-set' is another recipe.  [default: the protocol's own]")
@click.option("--allow-other-weights", is_flag=True, help="Accept weights of another digest: comparable with nothing.")
@click.option("--device", default="cpu", show_default=True, help="Where the networks run, e.g. cuda.")
@click.option("--batch-size", type=click.IntRange(1), help="Images a batch.")
@jobs
@as_json
def command(
    set_name: str | None,
    task_name: str,
    preds: Path,
    name: str | None,
    out: Path | None,
    reference: str | None,
    *,
    allow_other_weights: bool,
    device: str,
    batch_size: int | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Score a folder of predictions and print it in the paper's table.

    Every prediction is checked first: a missing, extra, broken or wrongly sized file and nothing is scored. Writes
    result.json and items.csv.
    """
    from palette_bench.common.workers import default_jobs
    from palette_bench.prepare.frozen import open_only_set
    from palette_bench.publish.score_table import score_table
    from palette_bench.score.record import RECORD_FILE, save
    from palette_bench.score.scoring import Options, score

    opened = open_only_set(set_name, task_name)
    run_name = name or preds.resolve().name.removesuffix(".npz")
    folder = out or Path("results") / f"{opened.set_id}-{task_name}-{run_name}"
    options = Options(
        reference=reference,
        allow_other_weights=allow_other_weights,
        device=device,
        batch_size=batch_size,
        jobs=jobs or default_jobs(),
    )
    scored = score(opened, opened.task(task_name), preds, run_name, options, progress=console.progress())
    save(scored.record, scored.items_csv, folder)
    for warning in scored.record.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        console.print_json(scored.record.as_json())
        return
    from palette_bench.cli.tables import print_score_table

    print_score_table(score_table([scored.record]))
    change = scored.record.known_change
    if change is not None:
        click.echo(f"  known region: changed by {change:.3f} grey levels before compositing")
    for metric in scored.record.metrics.values():
        if metric.headline:
            click.echo(f"  {metric.signature}")
    click.echo(f"  {folder / RECORD_FILE}")
