"""``palette-bench merge``."""

from pathlib import Path

import click

from palette_bench.cli import options
from palette_bench.cli.options import ANY_PATH, as_json, jobs, replace_record


@click.command(
    epilog="""\b
Example:
  palette-bench merge part-1 part-2 --name my-model"""
)
@click.argument("parts", nargs=-1, required=True, type=ANY_PATH, metavar="PART...")
@click.option("--name", required=True, help="What to call the run.")
@click.option("--out", type=ANY_PATH, help="Folder for the record.  [default: results/SET-TASK-NAME]")
@options.groups
@click.option("--allow-other-weights", is_flag=True, help="Accept weights of another digest: comparable with nothing.")
@replace_record
@jobs
@as_json
def command(
    parts: tuple[Path, ...],
    name: str,
    out: Path | None,
    by: tuple[str, ...],
    categories: tuple[Path, ...],
    *,
    allow_other_weights: bool,
    replace: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Join the parts that `score --shard I/N` wrote into one record, equal to that of a score in one piece.

    Needs the prepared set, the statistics of FID's reference set and the weights files, but no predictions.
    """
    from palette_bench.cli.score import finish
    from palette_bench.score.engine import Compute
    from palette_bench.score.groups import Grouping
    from palette_bench.score.scoring import Options, merge

    compute = Compute(jobs=jobs or options.jobs_of_rank(), allow_other_weights=allow_other_weights)
    how = Options(by=tuple(map(Grouping, by)), categories=categories, compute=compute)
    scored = merge(parts, name, how, progress=options.progress())
    of = scored.record.scored
    folder = out or Path("results") / f"{of.set_id}-{of.task}-{name}"
    finish(scored, folder, replace=replace, as_json=as_json)
