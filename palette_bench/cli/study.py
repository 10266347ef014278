"""``palette-bench study``."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json

if TYPE_CHECKING:
    from palette_bench.study.analyze import Findings
    from palette_bench.study.definition import Study
    from palette_bench.study.estimates import Rate
    from palette_bench.study.monitor import Standing

_F = TypeVar("_F", bound=Callable[..., Any])
PRESETS = ("palette-3s", "palette-5s", "sr3-task1", "sr3-task2", "zhang2016")


@click.group(
    epilog="""\b
Examples:
  palette-bench study new --preset palette-3s --task uncrop --preds palette=a/ --preds boundless=b/ --out study/
  palette-bench study check study/
  palette-bench study serve study/"""
)
def command() -> None:
    """Show real and generated images to people, and count how often they are fooled.

    new, check, simulate, serve, analyze: docs/study.md goes through a study from the first to the last of them.
    """


def _folder(function: _F) -> _F:
    return click.argument("folder", metavar="STUDY", type=ANY_PATH)(function)


def _open(folder: Path) -> "Study":
    _needs()
    from palette_bench.study.definition import read_study

    return read_study(folder)


def _needs() -> None:
    """Raise InputError where the packages of the extra are not installed."""
    from importlib.util import find_spec

    from palette_bench.common.errors import InputError

    missing = [name for name in ("starlette", "uvicorn", "jinja2", "pydantic", "segno") if find_spec(name) is None]
    if missing:
        raise InputError(
            "studies need packages that are not installed",
            found=f"no {', '.join(missing)}",
            next_step="pip install 'palette-bench[study]'",
        )


def _pairs(values: tuple[str, ...], option: str) -> dict[str, str]:
    from palette_bench.common.errors import UsageError

    found: dict[str, str] = {}
    for value in values:
        name, separator, rest = value.partition("=")
        if not separator or not name or not rest or name in found:
            raise UsageError(f"{option} takes NAME=VALUE, each name once", found=value)
        found[name] = rest
    return found


@command.command(
    "new",
    epilog="""\b
Examples:
  palette-bench study new --preset palette-3s --set imagenet-ctest10k --task uncrop \\
      --preds palette=a/ --preds boundless=b/ --out study/
  palette-bench study new --preset palette-3s --task colorize --preds mine=preds/ --sets 1 --items 24 --raters 12 \\
      --institution "Vision lab" --contact lab@example.org --out pilot/""",
)
@click.option(
    "--preset", type=click.Choice(PRESETS), default="palette-3s", show_default=True, help="Which published protocol."
)
@click.option("--set", "set_name", help="The prepared set.  [default: the only one that has the task]")
@click.option("--task", "task_name", required=True, help="The task whose outputs are shown.")
@click.option("--preds", multiple=True, metavar="NAME=FOLDER", required=True, help="A model's predictions; repeat it.")
@click.option("--out", type=ANY_PATH, required=True, help="Folder of the new study.")
@click.option("--name", help="Name of the study.  [default: that of the folder]")
@click.option("--seed", default="0", show_default=True, help="What items, orders and sides are drawn from.")
@click.option("--language", default="en", show_default=True, help="Of the raters' pages: en, de, or with texts.toml.")
@click.option(
    "--platform",
    type=click.Choice(["seats", "open", "prolific", "mturk"]),
    default="seats",
    show_default=True,
    help="Where raters come from.",
)
@click.option("--sets", type=click.IntRange(1, 20), help="Disjoint sets of items.")
@click.option("--items", type=click.IntRange(1), help="Items of a set, which are a rater's trials.")
@click.option("--raters", type=click.IntRange(1), help="Raters of a set.")
@click.option("--exposure", type=click.IntRange(50, 60_000), multiple=True, help="Milliseconds; repeat for several.")
@click.option("--practice", type=click.IntRange(0, 100), help="Practice trials.")
@click.option("--catch", type=click.IntRange(0, 100), help="Catch trials: obvious fakes among the others.")
@click.option("--institution", default="", help="Who runs the study, as raters read it.")
@click.option("--contact", default="", help="Where raters can ask.")
@click.option("--approval", default="", help="Ethics approval, or why none is needed.")
@click.option("--retention", type=click.DateTime(["%Y-%m-%d"]), help="Until when data are kept.  [default: 2 years]")
@as_json
def new(
    preset: str,
    set_name: str | None,
    task_name: str,
    preds: tuple[str, ...],
    out: Path,
    name: str | None,
    *,
    seed: str,
    language: str,
    platform: str,
    sets: int | None,
    items: int | None,
    raters: int | None,
    exposure: tuple[int, ...],
    practice: int | None,
    catch: int | None,
    institution: str,
    contact: str,
    approval: str,
    retention: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Draw items, write their images, and make study.toml, which the first answer seals.

    Edit study.toml before the study begins: consent, exclusion rules, who asks. Items are drawn by counter-based bits
    from the seed and are the same for every model.
    """
    _needs()
    from palette_bench.artifacts.evalset import open_only_set
    from palette_bench.study.create import Settings
    from palette_bench.study.definition import Platform
    from palette_bench.study.design import seat_count
    from palette_bench.study.source import new_study

    folders = {model: Path(folder) for model, folder in _pairs(preds, "--preds").items()}
    study = new_study(
        out,
        open_only_set(set_name, task_name),
        task_name,
        folders,
        Settings(
            name=name or out.resolve().name,
            preset=preset,
            seed=seed,
            language=language,
            platform=Platform(platform),
            sets=sets,
            items_per_set=items,
            raters_per_set=raters,
            exposure_ms=exposure,
            practice=practice,
            catch=catch,
            institution=institution,
            contact=contact,
            approval=approval,
            retention=None if retention is None else retention.date(),
        ),
        progress=console.progress(),
    )
    if as_json:
        console.print_json({"study": str(out), "fingerprint": study.fingerprint, "seats": seat_count(study)})
        return
    click.echo(f"{out}: {len(study.items)} items, {len(study.models)} models, {seat_count(study)} seats")
    click.echo(f"next: edit {out / 'study.toml'}, then palette-bench study check {out}")


@command.command("check", epilog="Example: palette-bench study check study/")
@_folder
@as_json
def check(folder: Path, *, as_json: bool) -> int:
    """Look for what would give the truth away, or make the study worthless.

    Exit code 3 where something keeps the study from being served.
    """
    _needs()
    from palette_bench.common.errors import ExitCode, printable
    from palette_bench.study.check import Weight, check_study

    found = check_study(folder)
    if as_json:
        console.print_json([finding.as_json() for finding in found])
    else:
        for finding in found:
            click.echo(f"{finding.weight.value}: {printable(finding.what, keep=chr(10))}")
    return int(ExitCode.INPUT if any(f.weight is Weight.ERROR for f in found) else ExitCode.OK)


@command.command("plan", epilog="Example: palette-bench study plan --half-width 3 --models 2")
@click.option("--half-width", type=click.FloatRange(0.1, 50), default=3.0, show_default=True, help="In points.")
@click.option("--models", type=click.IntRange(1, 50), default=1, show_default=True, help="Models compared.")
@click.option("--rater-sd", type=click.FloatRange(0, 0.5), default=0.10, show_default=True, help="Between raters.")
@click.option("--item-sd", type=click.FloatRange(0, 0.5), default=0.18, show_default=True, help="Between items.")
@as_json
def plan(half_width: float, models: int, rater_sd: float, item_sd: float, *, as_json: bool) -> None:
    """How many raters and items an interval of a given half width needs, for rates near 40 %.

    Each rater sees each item of one set once. The defaults are assumptions; a pilot's raters.csv and items.csv give
    your own.
    """
    from rich import box
    from rich.table import Table

    from palette_bench.common.errors import UsageError
    from palette_bench.study.plan import plans

    found = plans(half_width / 100, models=models, rater_sd=rater_sd, item_sd=item_sd)
    if not found:
        raise UsageError(
            "no study of up to 10,000 items and raters is that precise",
            expected="a larger --half-width",
            found=half_width,
        )
    if as_json:
        console.print_json([p.as_json() for p in found])
        return
    table = Table(
        title=f"half width {half_width:g} points, {models} model{'s' * (models > 1)}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for heading in ("items", "raters", "trials per rater", "trials in all", "half width"):
        table.add_column(heading, justify="right")
    for p in found:
        cells = (p.items, p.raters, p.items_per_rater, p.trials)
        table.add_row(*(f"{n:,}" for n in cells), f"{100 * p.half_width:.2f}")
    console.print_table(table)


@command.command(
    "serve",
    epilog="""\b
Examples:
  palette-bench study serve study/ --port 8000 --open
  palette-bench study serve study/ --host 0.0.0.0""",
)
@_folder
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for a network.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="Port to listen on.")
@click.option("--open", "open_browser", is_flag=True, help="Open the first seat in a browser.")
def serve(folder: Path, host: str, port: int, *, open_browser: bool) -> None:
    """Serve the study to raters: consent, practice, trials, breaks, completion; with a monitor in the terminal.

    Answers are on the disk before they are acknowledged. Stopped and started again, every rater goes on where they
    were. Put a proxy with TLS in front where raters come by the internet (docs/study.md).
    """
    study = _open(folder)
    from palette_bench.common.errors import InputError
    from palette_bench.study.check import Weight, check_study
    from palette_bench.study.server import StudyServer
    from palette_bench.study.serving import serve as run

    errors = [f.what for f in check_study(folder) if f.weight is Weight.ERROR]
    if errors:
        raise InputError(
            "this study cannot be served yet",
            where=folder,
            found="\n\t".join(errors),
            next_step=f"palette-bench study check {folder} says all; edit study.toml",
        )
    server = StudyServer(folder, study)

    def ready(address: str) -> None:
        first = f"{address}/seat/{server.keys.ticket(1)}" if study.recruitment.platform == "seats" else address
        click.echo(f"serving {study.name} at {address}; first link: {first}", err=True)
        if open_browser:
            click.launch(first)

    with console.refreshed(lambda: _standing_table(folder, study)):
        run(server, host=host, port=port, ready=ready)


def _standing_table(folder: Path, study: "Study") -> Any:  # noqa: ANN401
    from rich import box
    from rich.table import Table

    from palette_bench.study.monitor import standing
    from palette_bench.study.store import DATABASE

    now = standing(study, folder / DATABASE)
    table = Table(title=f"{study.name}", title_justify="left", box=box.SIMPLE_HEAD, caption="\n".join(now.warnings))
    for heading, _ in _standing_cells(now):
        table.add_column(heading, justify="right")
    table.add_row(*(text for _, text in _standing_cells(now)))
    return table


def _standing_cells(now: "Standing") -> list[tuple[str, str]]:
    fewest = "-" if now.fewest_trials is None else f"{now.fewest_trials} of {now.expected_trials}"
    return [
        ("invited", str(now.invited)),
        ("active", str(now.active)),
        ("finished", str(now.done)),
        ("lost", str(now.lost)),
        ("screened", str(now.screened)),
        ("withdrawn", str(now.withdrawn)),
        ("seats", str(now.seats)),
        ("answers", str(now.answers)),
        ("fewest trials", fewest),
        ("flagged", str(now.flagged)),
    ]


@command.command("monitor", epilog="Example: palette-bench study monitor study/")
@_folder
@as_json
def monitor(folder: Path, *, as_json: bool) -> None:
    """Say who is active, finished and lost, beside a running server."""
    study = _open(folder)
    from palette_bench.study.monitor import standing
    from palette_bench.study.store import DATABASE

    if as_json:
        console.print_json(standing(study, folder / DATABASE).as_json())
        return
    console.print_table(_standing_table(folder, study))


@command.command(
    "seats", epilog="Example: palette-bench study seats study/ --url https://study.example.org --html seats.html"
)
@_folder
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where raters reach the server.")
@click.option("--count", type=click.IntRange(1, 100_000), help="Links to make.  [default: one per seat]")
@click.option("--html", type=ANY_PATH, help="Also write a page to print, with a QR code per seat.")
@as_json
def seats(folder: Path, url: str, count: int | None, html: Path | None, *, as_json: bool) -> None:
    """Print a link per seat; each lets one person in. More links than seats serve for those that are given up."""
    study = _open(folder)
    from palette_bench.study.design import seat_count
    from palette_bench.study.keys import make_keys
    from palette_bench.study.seats import seat_links, write_sheet
    from palette_bench.study.server import environment

    links = seat_links(make_keys(folder), url, count or seat_count(study))
    if html is not None:
        write_sheet(html, study, links, environment())
    if as_json:
        console.print_json([{"seat": link.number, "address": link.address} for link in links])
        return
    for link in links:
        click.echo(link.address)


@command.command(
    "simulate",
    epilog="""\b
Examples:
  palette-bench study simulate study/ --raters 50 --fooled .4
  palette-bench study simulate study/ --fooled palette=.45 --fooled boundless=.2 --browser --raters 2""",
)
@_folder
@click.option("--raters", type=click.IntRange(1), help="Simulated raters.  [default: one per seat]")
@click.option(
    "--fooled", multiple=True, default=("0.4",), metavar="[NAME=]RATE", help="Fool rate, of all or of a model."
)
@click.option("--careless", type=click.FloatRange(0, 1), default=0.0, help="Share of raters who answer by chance.")
@click.option("--browser", is_flag=True, help="By headless Chromium, in real time, one after the other.")
@as_json
def simulate(
    folder: Path, raters: int | None, fooled: tuple[str, ...], careless: float, *, browser: bool, as_json: bool
) -> None:
    """Rehearse the whole study with simulated raters, into rehearsal.sqlite beside the real answers.

    Then: palette-bench study analyze STUDY --rehearsal.
    """
    study = _open(folder)
    import shutil

    from palette_bench.common.errors import InputError, UsageError
    from palette_bench.study.design import seat_count
    from palette_bench.study.simulate import behaviour_for, simulate_in_browser
    from palette_bench.study.simulate import simulate as run

    default, by_model = 0.4, {}
    for value in fooled:
        name, separator, text = value.rpartition("=")
        try:
            rate = float(text)
        except ValueError:
            rate = -1.0
        if not 0 <= rate <= 1:
            raise UsageError("--fooled takes a rate from 0 to 1, or NAME=RATE", found=value)
        if separator:
            by_model[name] = rate
        else:
            default = rate
    behaviour = behaviour_for(study, by_model, default, careless=careless)
    count = raters or seat_count(study)
    if browser:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if program is None:
            raise InputError("no Chromium here", next_step="install it, or leave out --browser")
        done = simulate_in_browser(
            folder, study, raters=count, behaviour=behaviour, program=program, progress=console.progress()
        )
    else:
        done = run(folder, study, raters=count, behaviour=behaviour, progress=console.progress())
    facts = {
        "raters": done.finished,
        "answers": len(done.acknowledged),
        "acknowledged_ms_median": round(1000 * done.percentile(0.5), 1),
        "acknowledged_ms_99": round(1000 * done.percentile(0.99), 1),
    }
    if as_json:
        console.print_json(facts)
        return
    click.echo(f"{done.finished} raters finished; next: palette-bench study analyze {folder} --rehearsal")
    if done.acknowledged:
        click.echo(
            f"{len(done.acknowledged)} answers, acknowledged within {facts['acknowledged_ms_median']} ms (median), "
            f"{facts['acknowledged_ms_99']} ms (99 %)"
        )


@command.command(
    "analyze",
    epilog="""\b
Examples:
  palette-bench study analyze study/ --out results/study
  palette-bench study analyze study/ --rehearsal --json""",
)
@_folder
@click.option(
    "--out", type=ANY_PATH, help="Folder for the record, the tables and the picture.  [default: STUDY/results]"
)
@click.option("--rehearsal", is_flag=True, help="Analyse the rehearsal instead of the answers.")
@as_json
def analyze(folder: Path, out: Path | None, *, rehearsal: bool, as_json: bool) -> None:
    """Fool rates with two-way intervals, differences, exclusions; result.json, three CSVs and fooled.png.

    Every result is printed for all raters and after exclusions. docs/study-analysis.md says what each number is.
    """
    study = _open(folder)
    from palette_bench.study.analyze import analyze as run
    from palette_bench.study.pictures import draw_fooled
    from palette_bench.study.record import save_record
    from palette_bench.study.simulate import REHEARSAL
    from palette_bench.study.store import DATABASE

    findings = run(study, folder / (REHEARSAL if rehearsal else DATABASE))
    target = out or folder / ("rehearsal" if rehearsal else "results")
    record = save_record(findings.record, findings.tables(), target)
    draw_fooled(folder, study, findings, target / "fooled.png")
    for warning in record.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        console.print_json(record.as_json())
        return
    _print_findings(findings)
    click.echo(f"  {target}: result.json, trials.csv, raters.csv, items.csv, fooled.png")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _interval(rate: "Rate | None") -> str:
    return "-" if rate is None else f"{_percent(rate.value)} [{_percent(rate.low)}, {_percent(rate.high)}]"


def _p(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _print_findings(findings: "Findings") -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    record = findings.record
    flow = record.flow
    click.echo(
        f"{record.name}: {flow.invited} invited, {flow.consented} consented, {flow.screened} screened, "
        f"{flow.lost} lost, {flow.withdrawn} withdrawn, {flow.completed} completed, {flow.kept} kept"
    )
    for reason, count in flow.excluded.items():
        click.echo(f"  excluded, {reason}: {count}")
    table = Table(title="fool rate in %, 95 % intervals by raters and items", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("model", "set", "shown"):
        table.add_column(heading)
    for heading in (
        "kept raters",
        "binomial (too narrow)",
        "p against 50 %, Holm",
        "d'",
        "all raters",
        "raters",
        "trials",
    ):
        table.add_column(heading, justify="right")
    for r in record.rates:
        kept = r.kept
        table.add_row(
            escape(r.model),
            f"Set {r.set}" if r.set else "all",
            f"{r.exposure_ms} ms",
            _interval(kept),
            "-" if kept is None else f"[{_percent(kept.naive_low)}, {_percent(kept.naive_high)}]".replace("[", "\\["),
            _p(r.holm),
            "-" if r.detection is None else f"{r.detection.d_prime:.2f}",
            _interval(r.everybody),
            "-" if kept is None else str(kept.raters),
            "-" if kept is None else str(kept.trials),
        )
    console.print_table(table)
    if not record.differences:
        return
    table = Table(title="differences on common items, points", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("first", "second", "shown"):
        table.add_column(heading)
    for heading in ("first - second", "95 %", "p", "p, Holm", "items"):
        table.add_column(heading, justify="right")
    for d in record.differences:
        found = d.difference
        table.add_row(
            escape(d.first),
            escape(d.second),
            f"{d.exposure_ms} ms",
            _percent(found.value),
            f"{_percent(found.low)} to {_percent(found.high)}",
            _p(found.p),
            _p(found.holm),
            str(found.items),
        )
    console.print_table(table)


@command.command(
    "export",
    epilog="""\b
Examples:
  palette-bench study export study/ --static dist/ --seats 1-4
  palette-bench study export study/ --static stick/ --seats 7""",
)
@_folder
@click.option("--static", "target", type=ANY_PATH, required=True, help="Folder for the pages; must be empty.")
@click.option("--seats", "which", default="1", show_default=True, metavar="N[-M]", help="Seats, from 1.")
def export(folder: Path, target: Path, which: str) -> None:
    """Write a study that needs no server: one folder for any web server or a USB stick, a page per seat.

    The truth is in it as salted commitments only. Raters save their answers as a file; study import takes it. The same
    real image lies in the folder of several seats: give raters whom you do not trust a folder of their seat alone.
    """
    study = _open(folder)
    from palette_bench.common.errors import UsageError
    from palette_bench.study.offline import export_static

    first, _, last = which.partition("-")
    if not (first.isdigit() and (last or first).isdigit()) or int(first) < 1 or int(last or first) < int(first):
        raise UsageError("--seats takes a number or a range", expected="4 or 1-8", found=which)
    pages = export_static(folder, study, target, range(int(first) - 1, int(last or first)))
    for page in pages:
        click.echo(page)


@command.command("import", epilog="Example: palette-bench study import study/ answers-seat-1-0f3c.json")
@_folder
@click.argument("files", type=ANY_PATH, nargs=-1, required=True)
def import_files(folder: Path, files: tuple[Path, ...]) -> None:
    """Take files of answers that raters saved, all or none; one that is there already changes nothing."""
    study = _open(folder)
    from palette_bench.study.offline import import_answers

    done = import_answers(folder, study, files)
    click.echo(f"{done.new} sittings imported, {done.known} were here already")


@command.command("backup", epilog="Example: palette-bench study backup study/ --out answers-monday.sqlite")
@_folder
@click.option("--out", type=ANY_PATH, required=True, help="File for the copy.")
def backup(folder: Path, out: Path) -> None:
    """Copy the answers consistently, while the server runs."""
    _open(folder)
    from palette_bench.study.store import DATABASE, back_up

    back_up(folder / DATABASE, out)
    click.echo(out)


@command.command("withdraw", epilog="Example: palette-bench study withdraw study/ 3KQ7WX2M9BTA")
@_folder
@click.argument("code")
def withdraw(folder: Path, code: str) -> None:
    """Delete the answers of a rater who asks for it, by the code of their last page."""
    study = _open(folder)
    from palette_bench.study.privacy import withdraw_by_code

    withdraw_by_code(folder, study, code)
    click.echo("answers deleted")


@command.command("anonymize", epilog="Example: palette-bench study anonymize study/")
@_folder
def anonymize(folder: Path) -> None:
    """Drop for good what could lead to a person: platform ids, pseudonyms, their key, tokens, browsers, times of day.

    Fool rates stay as they are. Nobody can withdraw or go on afterwards. Stop the server first.
    """
    _open(folder)
    from palette_bench.study.privacy import anonymize_study

    anonymize_study(folder)
    click.echo("anonymous")
