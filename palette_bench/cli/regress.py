"""``palette-bench regress``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs


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
@click.option("--junit", type=ANY_PATH, help="Write JUnit XML, a case per cell.")
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
    from palette_bench.publish.regress import reports
    from palette_bench.publish.regress.manifest import Status, counts, read_manifest
    from palette_bench.publish.regress.recompute import Sources, chosen_rows, regress

    loaded = read_manifest(manifest or own_manifest())
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
        write_bytes(junit, reports.junit(loaded, outcomes))
    if summary is not None:
        earlier = summary.read_bytes() if summary.is_file() else b""
        write_bytes(summary, earlier + reports.summary(loaded, outcomes).encode())
    of_status = counts(outcomes)
    if as_json:
        console.print_json(
            {
                "manifest": loaded.name,
                "counts": {status.value: count for status, count in of_status.items()},
                "cells": [outcome.as_json() for outcome in outcomes],
            }
        )
    else:
        console.print_table(reports.tables_table(loaded, outcomes))
        for table in reports.cells_tables(outcomes):
            console.print_table(table)
        click.echo("  " + ", ".join(f"{count} {status.value}" for status, count in of_status.items() if count))
        if of_status[Status.UNTESTED] == len(outcomes):
            click.echo("  nothing was scored: give --preds, or --from-model to run the models")
    failing = any(outcome.status.fails for outcome in outcomes)
    if manifest is None and not rows:
        failing = _studies(quiet=as_json) or failing
    return int(ExitCode.REGRESSION if failing else ExitCode.OK)


def _studies(*, quiet: bool) -> bool:
    """Whether a published study no longer comes out of its trials; a line for each that does, or does not."""
    from palette_bench.common.resources import own_manifest
    from palette_bench.publish.regress.studies import regress_study, studies_in

    failing = False
    for folder in studies_in(own_manifest().parent / "studies"):
        outcomes = list(regress_study(folder))
        wrong = [outcome for outcome in outcomes if outcome.fails]
        failing = failing or bool(wrong)
        if not quiet:
            click.echo(f"  study {folder.name}: {len(outcomes) - len(wrong)} fool rates come out, {len(wrong)} do not")
            for outcome in wrong:
                click.echo(f"    {outcome.model}, Set {outcome.set}, {outcome.exposure_ms} ms: {outcome.detail}")
    return failing
