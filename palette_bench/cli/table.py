"""``palette-bench table``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json

if TYPE_CHECKING:
    from palette_bench.artifacts.record import ResultRecord
    from palette_bench.publish.tables.table import Table

SCENES32 = "scenes32"
MINE = "mine"


@click.command(
    epilog="""\b
Examples:
  palette-bench table
  palette-bench table 4 results/imagenet-ctest10k-jpeg-qf5-mine
  palette-bench table 2 --set imagenet-ctest10k --format latex --bib paper.bib results/*
  palette-bench table 4 --format latex --rows mine results/*
  palette-bench table C.1 --set scenes32 --format md
  palette-bench table 4 --later --format csv --out table-4.csv"""
)
@click.argument("number", required=False)
@click.argument("results", nargs=-1, type=ANY_PATH, metavar="[RESULT]...")
@click.option("--set", "set_name", help="Only the columns of one set; scenes32: the miniature's table of this number.")
@click.option("--later", is_flag=True, help="Also rows of later papers on the same set and task.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["rich", "md", "latex", "csv", "json", "html"]),
    default="rich",
    show_default=True,
    help="How to write the table.",
)
@click.option(
    "--rows",
    type=click.Choice(["all", "mine"]),
    default="all",
    show_default=True,
    help="mine: with --format latex, the lines of your records alone, for a table of your own.",
)
@click.option("--out", type=ANY_PATH, help="File for the table.  [default: standard output]")
@click.option("--bib", type=ANY_PATH, help="Also write the BibTeX entries that the methods sentence cites.")
@as_json
def command(
    number: str | None,
    results: tuple[Path, ...],
    set_name: str | None,
    later: bool,
    format_name: str,
    rows: str,
    out: Path | None,
    bib: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print a table of the paper with your records in their place.

    NUMBER is 1 to 6 or C.1 to C.4; without it the tables are listed. RESULT is a folder with result.json, or the file;
    the fool rates of a study stand in their column of tables 1 and 3.

    A record stands in the group of its task, in the columns of its set. Best is bold and second underlined among rows
    whose set, task, variant, recipe, weights and reference set are the same; every other row says why it is not ranked.
    """
    from palette_bench.common.errors import UsageError
    from palette_bench.common.files import write_bytes
    from palette_bench.publish.tables.citations import bibliography
    from palette_bench.publish.tables.methods import methods
    from palette_bench.publish.tables.render import Format, latex_rows, written
    from palette_bench.publish.tables.scenes32 import scenes32_table

    if number is None:
        _list(set_name, as_json=as_json)
        return
    if as_json and format_name not in ("rich", "json"):
        raise UsageError("two formats at once", expected="--json or --format", found=f"--json --format {format_name}")
    if later and set_name == SCENES32:
        raise UsageError("no other paper has numbers of scenes32", expected="no --later", found="--later")
    form = Format.JSON if as_json else Format(format_name)
    if form is Format.RICH and out is not None:
        raise UsageError(
            "a file needs a format", expected="--format md, latex, csv, json or html", found=f"--out {out}"
        )
    if rows == MINE and form is not Format.LATEX:
        raise UsageError("rows alone are LaTeX", expected="--format latex --rows mine", found=f"--format {form}")
    studies = [path for path in results if _is_study(path)]
    if studies and set_name == SCENES32:
        raise UsageError("the miniature's tables have no fool rates", expected="records of score", found=studies[0])
    records = _records(tuple(path for path in results if path not in studies))
    if set_name == SCENES32:
        table = scenes32_table(number, records)
    else:
        table = _paper(number, records, set_name, studies, later=later)
    text = methods(table)
    if bib is not None:
        write_bytes(bib, bibliography(text.citations).encode())
    if form is Format.RICH:
        console.print_table(table)
        return
    shown = latex_rows(table) if rows == MINE else written(table, form, text)
    if out is not None:
        write_bytes(out, shown.encode())
        click.echo(out)
    else:
        click.echo(shown, nl=False)


def _records(paths: tuple[Path, ...]) -> list["ResultRecord"]:
    """All records. The first error is raised; where several are faulty, all are named."""
    from palette_bench.artifacts.record import read_record
    from palette_bench.common.errors import PaletteBenchError, Problem

    records, errors = [], []
    for path in paths:
        try:
            records.append(read_record(path).record)
        except PaletteBenchError as error:
            errors.append((path, error))
    if errors:
        first = errors[0][1]
        if len(errors) > 1:
            problems = [Problem("record", str(path), error.what) for path, error in errors]
            raise type(first)(f"{len(errors)} of {len(paths)} records cannot be used", problems=problems)
        raise first
    return records


def _is_study(path: Path) -> bool:
    """Whether a record says that it is of a study; whatever else it is, its reader will say."""
    file = path / "result.json" if path.is_dir() else path
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("kind") == "study"


def _paper(
    number: str, records: list["ResultRecord"], set_name: str | None, studies: list[Path], *, later: bool
) -> "Table":
    from palette_bench.publish.tables import printed as published
    from palette_bench.publish.tables.paper import fill

    printed = published.table(number)
    others = [row for row in published.all_published_rows() if later and row.paper.key != printed.paper.key]
    found = []
    if studies:
        from palette_bench.study.record import read_study_record

        found = [read_study_record(path) for path in studies]
    return fill(printed, records, others=others, studies=found, only_set=set_name)


def _list(set_name: str | None, *, as_json: bool) -> None:
    """The tables there are."""
    from palette_bench.publish.tables import layout as miniature
    from palette_bench.publish.tables import printed as published

    rows = [
        {"table": found.number, "sets": list(found.set_names), "title": found.title}
        for found in published.tables()
        if found.paper.key == published.PALETTE and set_name in (None, *found.set_names)
    ]
    if set_name in (None, SCENES32):
        rows += [{"table": layout.number, "sets": [SCENES32], "title": layout.title} for layout in miniature.layouts()]
    if as_json:
        console.print_json(rows)
        return
    for row in rows:
        sets = ", ".join(row["sets"]) or "no set here has its images"
        option = " --set scenes32" if row["sets"] == [SCENES32] else ""
        click.echo(f"palette-bench table {row['table']}{option}")
        click.echo(f"    {row['title']} [{sets}]")
