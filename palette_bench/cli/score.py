"""``palette-bench score``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console, options
from palette_bench.cli.options import ANY_PATH, as_json, replace_record

if TYPE_CHECKING:
    from palette_bench.score.engine import Compute
    from palette_bench.score.scoring import Scored


@click.command(
    epilog="""\b
Examples:
  palette-bench score --task uncrop --preds outputs/
  palette-bench score --set imagenet-ctest10k --task jpeg-qf5 --preds outputs.npz --json
  palette-bench score --task colorize --preds outputs/ --reference eval-set
  palette-bench score --task colorize --preds outputs/ --also kid-inception2015-tf1-evalset --by class
  palette-bench score --task uncrop --preds outputs/ --shard 1/4 --out part-1
  torchrun --nproc-per-node 2 -m palette_bench score --task uncrop --preds outputs/"""
)
@click.option("--set", "set_name", help="A prepared set.  [default: the only one that has the task]")
@click.option("--task", "task_name", required=True, help="What was predicted, e.g. uncrop.")
@click.option("--preds", type=ANY_PATH, required=True, help="Folder with ID.png or ID/K.png, or an .npz with arr_0.")
@click.option("--name", help="What to call the run.  [default: the name of --preds]")
@click.option("--out", type=ANY_PATH, help="Folder for the record.  [default: results/SET-TASK-NAME]")
@click.option("--reference", help="FID's reference set; 'eval-set' is another recipe.  [default: the protocol's own]")
@click.option(
    "--also", multiple=True, metavar="RECIPE", help="A recipe besides the usual ones (palette-bench recipes), or all."
)
@options.groups
@click.option("--shard", metavar="I/N", help="Do part I of N, into --out; palette-bench merge joins the parts.")
@replace_record
@options.compute
@as_json
def command(
    set_name: str | None,
    task_name: str,
    preds: Path,
    name: str | None,
    out: Path | None,
    reference: str | None,
    also: tuple[str, ...],
    by: tuple[str, ...],
    categories: tuple[Path, ...],
    shard: str | None,
    *,
    replace: bool,
    compute: "Compute",
    as_json: bool,
) -> None:
    """Score a folder of predictions and print it in the paper's table.

    Every prediction is checked first: a missing, extra, broken or wrongly sized file and nothing is scored. Writes
    result.json and items.csv. Every number has a standard error and a 95 % interval (docs/uncertainty.md).

    PSNR and SSIM are in the record and not in the table: the paper avoids them, because on tasks that require
    hallucination they prefer blurry outputs and do not correlate well with human judgement.

    Killed at any moment, the same command continues: features are kept by the pixels they are of.
    """
    from palette_bench.artifacts.evalset import open_only_set
    from palette_bench.score.groups import Grouping
    from palette_bench.score.scoring import Options, score, score_part

    part = options.part_of(shard)
    eval_set = open_only_set(set_name, task_name)
    name = name or preds.resolve().name.removesuffix(".npz")
    how = Options(
        reference=reference,
        also=also,
        by=tuple(map(Grouping, by)),
        categories=categories,
        compute=compute,
    )
    task, progress = eval_set.task(task_name), options.progress()
    if part is not None:
        folder = out or Path("results") / f"{eval_set.set_id}-{task_name}-{name}-part-{part.number}-of-{part.count}"
        score_part(eval_set, task, preds, part, folder, how, progress=progress)
        click.echo(f"part {part} is done: {folder}")
        click.echo("  when all parts are: palette-bench merge PART...")
        return
    scored = score(eval_set, task, preds, name, how, progress=progress)
    if scored is not None:
        folder = out or Path("results") / f"{eval_set.set_id}-{task_name}-{name}"
        finish(scored, folder, replace=replace, as_json=as_json)


def finish(scored: "Scored", folder: Path, *, replace: bool, as_json: bool) -> None:
    """Write a record and show it. A record of other predictions stays, unless ``replace``."""
    from palette_bench.artifacts.record import RECORD_FILE, save
    from palette_bench.common import schema

    record = scored.record
    save(record, scored.items_csv, folder, replace=replace)
    for warning in record.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        console.print_json(schema.dump(record))
        return
    from palette_bench.publish.tables.score import groups_table, other_numbers, score_table

    console.print_table(score_table([record]))
    if record.groups:
        console.print_table(groups_table(record))
    for line in other_numbers(record):
        click.echo(f"  {line}")
    if record.known_change is not None:
        click.echo(f"  known region: changed by {record.known_change:.3f} grey levels before compositing")
    for metric in record.metrics.values():
        if metric.headline:
            click.echo(f"  {metric.signature}")
    click.echo(f"  {folder / RECORD_FILE}")
