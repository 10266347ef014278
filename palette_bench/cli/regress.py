"""``palette-bench regress``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs

if TYPE_CHECKING:
    from palette_bench.publish.regress.manifest import Outcome


@click.command(
    epilog="""\b
Examples:
  palette-bench regress --from-model --rows 'uncrop/*'
  palette-bench regress --preds predictions/
  palette-bench regress paper/regression.toml --junit regress.xml --summary "$GITHUB_STEP_SUMMARY\""""
)
@click.argument("manifest", type=ANY_PATH, required=False)
@click.option("--preds", type=ANY_PATH, help="Folder with TASK/NAME/ of predictions for rows that name no folder.")
@click.option("--from-model", is_flag=True, help="Run the models of rows without predictions.")
@click.option(
    "--rows", multiple=True, metavar="PATTERN", help="Only rows whose TASK/NAME fits, e.g. 'uncrop/*'; may be repeated."
)
@click.option("--work", type=ANY_PATH, help="Where models write.  [default: $PALETTE_BENCH_HOME/regress/NAME]")
@click.option("--device", default="cpu", show_default=True, help="Where the scoring networks run, e.g. cuda.")
@click.option("--junit", type=ANY_PATH, help="Write JUnit XML, a case a cell.")
@click.option("--summary", type=ANY_PATH, help="Append a summary in GitHub-flavoured Markdown.")
@jobs
@as_json
def command(
    manifest: Path | None,
    preds: Path | None,
    rows: tuple[str, ...],
    work: Path | None,
    device: str,
    junit: Path | None,
    summary: Path | None,
    *,
    from_model: bool,
    jobs: int | None,
    as_json: bool,
) -> int:
    """Check that published tables still come out of the program, cell by cell.

    MANIFEST names tables, records, printed digits and tolerances; without one, the project's own tables on scenes32
    are checked. Every record is read strictly and must say what was printed. Rows whose predictions are at hand are
    scored again, with --from-model the others' models are run first; what then comes out must be the printed digits,
    or lie within the band that the manifest gives a reason for.

    \b
    reproducing      the printed digits
    within-band      not the printed digits, but within the band that the manifest states
    untested         nothing to score here: no predictions, no weights, set not prepared
    not-comparable   what came out is by another recipe, of other images or of another model: a failure
    not-reproducing  out of the band: a failure

    Exit code 5 if any cell fails.
    """
    from palette_bench.common.errors import ExitCode, UsageError
    from palette_bench.common.files import write_bytes
    from palette_bench.common.home import home
    from palette_bench.common.resources import own_manifest
    from palette_bench.common.workers import default_jobs
    from palette_bench.publish.regress import manifest as regression
    from palette_bench.publish.regress import reports as regression_reports
    from palette_bench.publish.regress.recompute import Sources, chosen_rows, regress

    loaded = regression.read_manifest(manifest or own_manifest())
    chosen = chosen_rows(loaded, rows)
    if not chosen:
        raise UsageError(
            "no row of the manifest fits", expected="TASK/NAME of records", found=" ".join(rows), next_step="see --rows"
        )
    sources = Sources(
        preds=preds,
        from_model=from_model,
        work=work or home() / "regress" / loaded.name,
        jobs=jobs or default_jobs(),
        device=device,
    )
    outcomes = list(regress(loaded, chosen, sources, progress=console.progress()))
    if junit is not None:
        write_bytes(junit, regression_reports.junit(loaded, outcomes))
    if summary is not None:
        earlier = summary.read_bytes() if summary.is_file() else b""
        write_bytes(summary, earlier + regression_reports.summary(loaded, outcomes).encode())
    found = regression.counts(outcomes)
    if as_json:
        console.print_json(
            {
                "manifest": loaded.name,
                "counts": {status.value: count for status, count in found.items()},
                "cells": [outcome.as_json() for outcome in outcomes],
            }
        )
    else:
        _print(loaded.titles, outcomes)
        click.echo("  " + ", ".join(f"{count} {status.value}" for status, count in found.items() if count))
        if found[regression.Status.UNTESTED] == len(outcomes):
            click.echo("  nothing was scored: give --preds, or --from-model to run the models")
    failing = any(outcome.status.fails for outcome in outcomes)
    return int(ExitCode.REGRESSION if failing else ExitCode.OK)


def _print(titles: Mapping[str, str], outcomes: "Sequence[Outcome]") -> None:
    """A line a table, and a line for every cell that is neither reproducing nor untested."""
    from itertools import groupby

    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from palette_bench.publish.regress.manifest import Status, counts

    drawn = Table(box=box.SIMPLE_HEAD)
    drawn.add_column("table")
    for heading in ("cells", *Status):
        drawn.add_column(str(heading), justify="right")
    for number, of_table in groupby(outcomes, key=lambda outcome: outcome.table):
        of = counts(list(of_table))
        drawn.add_row(
            escape(f"{number}: {titles[number]}"), str(sum(of.values())), *(str(count) for count in of.values())
        )
    console.print_table(drawn)
    worth_a_line = [outcome for outcome in outcomes if outcome.status not in (Status.REPRODUCING, Status.UNTESTED)]
    if not worth_a_line:
        return
    cells = Table(box=box.SIMPLE_HEAD)
    for heading in ("table", "row", "task", "recipe", "printed", "found", "status", ""):
        cells.add_column(heading, justify="right" if heading in ("printed", "found") else "left")
    for cell in worth_a_line:
        found = "-" if cell.found is None else f"{cell.found:.6g}"
        texts = (cell.table, cell.label, cell.task, cell.recipe, cell.printed, found, cell.status.value, cell.detail)
        cells.add_row(*map(escape, texts), style="red" if cell.status.fails else None)
    console.print_table(cells)
