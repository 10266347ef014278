"""``palette-bench figure``: the paper's figures from predictions and records."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs

if TYPE_CHECKING:
    from palette_bench.artifacts.evalset import EvalSet
    from palette_bench.publish.figures.account import Figure
    from palette_bench.publish.figures.choice import Choice
    from palette_bench.publish.figures.outputs import Outputs

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group(
    short_help="Draw the paper's figures: PNG, PDF, and an account of what is in them.",
    epilog="""\b
Examples:
  palette-bench figure grid --preds palette/ --preds regression/ --out figures/jpeg
  palette-bench figure diversity --preds samples/ --out figures/samples
  palette-bench figure histogram results/l1 results/l2 --name L1 --name L2 --out figures/diversity
  palette-bench figure panorama panorama.png --out figures/panorama""",
)
def command() -> None:
    """Draw the paper's figures from predictions and records.

    Each writes NAME.png, NAME.pdf and NAME.json: set, task, fingerprints, items and how they were chosen, models,
    seeds, digests. The caption says it too, and is in all three. The same input gives the same bytes.

    Needs matplotlib: pip install 'palette-bench[figures]'.
    """


def _several(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    def apply(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return apply


_preds = click.option(
    "--preds", "preds", type=ANY_PATH, multiple=True, required=True, help="A folder of predictions; one for each model."
)
_names = click.option(
    "--name",
    "--names",
    "names",
    multiple=True,
    help="What to call each, in their order.  [default: the models' titles]",
)
_place = _several(
    click.option("--set", "set_name", help="A prepared set.  [default: that of the predictions]"),
    click.option("--task", "task_name", help="What was predicted.  [default: what predictions.json says]"),
)
_choice = _several(
    click.option("--item", "--items", "items", multiple=True, metavar="ID", help="An item; once for each row."),
    click.option(
        "--count", type=click.IntRange(1), help="Rows, spread evenly over the set in protocol order.  [default: 5]"
    ),
)
_records = click.option(
    "--result",
    "results",
    type=ANY_PATH,
    multiple=True,
    help="A result.json of these predictions: its result_id goes into the account.",
)
_file = _several(
    click.option(
        "--out", type=ANY_PATH, required=True, help="Name of the files; .png, .pdf and .json are put after it."
    ),
    click.option(
        "--width",
        type=click.FloatRange(0.5, 50.0),
        default=7.0,
        show_default=True,
        help="Inches of paper at most, for which the lettering is made.",
    ),
)


@command.command(
    short_help="Methods side by side: input, each model, original (Figures 3 to 6).",
    epilog="""\b
Examples:
  palette-bench figure grid --preds palette/ --preds regression/ --out figures/jpeg
  palette-bench figure grid --preds a/ --name Ours --preds b/ --name Theirs --item ID --item ID --out figures/two
  palette-bench figure grid --set places10k --task uncrop --preds outputs/ --count 8 --out figures/uncrop --json""",
)
@_preds
@_names
@_place
@_choice
@_records
@_file
@jobs
@as_json
def grid(
    preds: tuple[Path, ...],
    names: tuple[str, ...],
    set_name: str | None,
    task_name: str | None,
    items: tuple[str, ...],
    count: int | None,
    results: tuple[Path, ...],
    out: Path,
    *,
    width: float,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Draw methods side by side on one task: input, each model's output, original.

    Every folder is checked as palette-bench score checks it, and shown as it is scored: outside the hole, the original.
    Of several samples the first is shown. Without --item the rows are spread evenly over the set, and nobody chose
    them; the caption says which it was.
    """
    from palette_bench.publish.figures.grid import grid as draw

    eval_set, outputs, choice = _opened(preds, names, set_name, task_name, items, count, results, jobs, one_task=True)
    _finish(draw(eval_set, outputs, choice, width=width), out, as_json=as_json)


@command.command(
    short_help="Several samples of one model a row (Figures 7, C.3, C.5, C.8, C.9).",
    epilog="""\b
Examples:
  palette-bench figure diversity --preds samples/ --out figures/samples
  palette-bench figure diversity --preds colorize/ --preds inpaint/ --preds uncrop/ --count 2 --out figures/figure7
  palette-bench figure diversity --preds samples/ --samples 3 --item ID --out figures/three""",
)
@_preds
@_names
@_place
@_choice
@_records
@click.option("--samples", type=click.IntRange(2), help="Samples a row.  [default: as many as every folder has]")
@_file
@jobs
@as_json
def diversity(
    preds: tuple[Path, ...],
    names: tuple[str, ...],
    set_name: str | None,
    task_name: str | None,
    items: tuple[str, ...],
    count: int | None,
    results: tuple[Path, ...],
    samples: int | None,
    out: Path,
    *,
    width: float,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Draw the samples of a model: input, sample 1 to K, original.

    Several --preds are as many blocks of rows, each of its own task: the paper's Figure 7 has three.
    """
    from palette_bench.publish.figures.grid import diversity as draw

    eval_set, outputs, choice = _opened(preds, names, set_name, task_name, items, count, results, jobs, one_task=False)
    _finish(draw(eval_set, outputs, choice, samples=samples, width=width), out, as_json=as_json)


@command.command(
    "fool-rate",
    short_help="Fool rates of human evaluation (Figures C.1 and C.6).",
    epilog="""\b
Examples:
  palette-bench figure fool-rate study/results --out figures/fool-rate
  palette-bench figure fool-rate three-seconds/results five-seconds/results --out figures/c1""",
)
@click.argument("records", type=ANY_PATH, nargs=-1, required=True, metavar="RESULT...")
@_file
@as_json
def fool_rate(records: tuple[Path, ...], out: Path, *, width: float, as_json: bool) -> None:
    """Draw fool rates by set and exposure, with intervals over raters and items.

    RESULT is what palette-bench study analyze wrote, of one set and task; several for several exposures.
    """
    from palette_bench.publish.figures.fool_rate import fool_rate as draw
    from palette_bench.publish.figures.page import check_can_draw
    from palette_bench.study.record import read_study_record

    check_can_draw()
    _finish(draw([read_study_record(path) for path in records], width=width), out, as_json=as_json)


@command.command(
    short_help="Histograms of pairwise MS-SSIM of samples (Figure 8).",
    epilog="""\b
Examples:
  palette-bench figure histogram results/l1 results/l2 --name L1 --name L2 --out figures/diversity
  palette-bench figure histogram colorize/ inpaint/ --width 5.5 --out figures/figure8""",
)
@click.argument("records", type=ANY_PATH, nargs=-1, required=True, metavar="RESULT...")
@_names
@_file
@as_json
def histogram(records: tuple[Path, ...], names: tuple[str, ...], out: Path, *, width: float, as_json: bool) -> None:
    """Draw how alike samples of one input are: a panel per task, a curve per record, a line at its mean.

    RESULT is a result.json of palette-bench score, or its folder. All must be of one set and one recipe.
    """
    from palette_bench.artifacts.record import read_record
    from palette_bench.publish.figures.histogram import histogram as draw
    from palette_bench.publish.figures.page import check_can_draw

    check_can_draw()
    _finish(draw([read_record(path) for path in records], names, width=width), out, as_json=as_json)


@command.command(
    short_help="Images made wider, the original marked (Figures 2 and C.10).",
    epilog="""\b
Examples:
  palette-bench figure panorama panorama.png --out figures/panorama
  palette-bench figure panorama --model palette-scenes32-uncrop --item scene-00007 --out figures/panorama
  palette-bench figure panorama --set places10k --model my-model/card.toml --item ID --out figures/wide""",
)
@click.argument("made", type=ANY_PATH, required=False, metavar="[PNG]")
@click.option("--model", help="A baseline's name, a card.toml, package.module:Class, or an entry point.")
@click.option("--set", "set_name", help="A prepared set.  [default: the only one that has uncropping]")
@click.option("--item", "--items", "items", multiple=True, metavar="ID", help="The image to begin with; several: rows.")
@click.option("--name", help="What the caption calls the model.  [default: its title]")
@click.option(
    "--images", "across", type=click.IntRange(2, 101), default=5, show_default=True, help="In widths of the image."
)
@click.option("--side", type=click.Choice(["both", "right", "left"]), default="both", show_default=True, help="Where.")
@click.option("--seed", type=int, default=0, show_default=True, help="The run's seed; each step's derives from it.")
@click.option("--device", default="cpu", show_default=True, help="Where the model runs, e.g. cuda.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), help="Seconds a step may take.  [default: the card's]"
)
@_file
@as_json
@click.pass_context
def panorama(
    context: click.Context,
    made: Path | None,
    model: str | None,
    set_name: str | None,
    items: tuple[str, ...],
    name: str | None,
    across: int,
    side: str,
    seed: int,
    device: str,
    timeout: float | None,
    out: Path,
    *,
    width: float,
    as_json: bool,
) -> None:
    """Draw panoramas with the original marked: of the PNG that palette-bench panorama wrote, or of a model.

    The paper's Figure 2 is 5 images wide: four steps of half an image to the right, four to the left.
    """
    from palette_bench.common.errors import UsageError
    from palette_bench.publish.figures.page import check_can_draw
    from palette_bench.publish.figures.panorama import panorama as draw
    from palette_bench.publish.figures.panorama import read_panoramas

    check_can_draw()
    if made is not None:
        given = [
            option
            for option in ("model", "set_name", "items", "across", "side", "seed", "device", "timeout")
            if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE
        ]
        if given:
            raise UsageError(
                "a finished panorama cannot be made otherwise",
                expected="a PNG, or --model with --item",
                found=f"{made} and {', '.join(given)}",
            )
        images, account = read_panoramas(made)
        _finish(draw(images, account, name=name, width=width), out, as_json=as_json)
        return
    if model is None or not items:
        raise UsageError("nothing to draw", expected="a PNG of palette-bench panorama, or --model with --item")
    from palette_bench.artifacts.evalset import open_only_set
    from palette_bench.predict.card import find_card
    from palette_bench.predict.models.panorama import Plan, Side, make_panoramas

    sides = (Side.RIGHT, Side.LEFT) if side == "both" else (Side(side),)
    plan = Plan(items=items, width=across, sides=sides, seed=seed, device=device, seconds=timeout)
    eval_set = open_only_set(set_name, Side.RIGHT.task.name)
    panoramas = make_panoramas(eval_set, find_card(model), plan, progress=console.progress())
    _finish(draw(panoramas.images, panoramas.described, name=name, width=width), out, as_json=as_json)


def _opened(
    preds: tuple[Path, ...],
    names: "tuple[str, ...] | list[str]",
    set_name: str | None,
    task_name: str | None,
    items: tuple[str, ...],
    count: int | None,
    results: tuple[Path, ...],
    jobs: int | None,
    *,
    one_task: bool,
) -> "tuple[EvalSet, list[Outputs], Choice]":
    """Everything a figure of predictions needs, checked; what costs time comes last."""
    from palette_bench.artifacts.record import read_record
    from palette_bench.common.errors import InputError, Problem
    from palette_bench.common.workers import default_jobs
    from palette_bench.publish.figures import outputs
    from palette_bench.publish.figures.choice import choose
    from palette_bench.publish.figures.page import check_can_draw

    check_can_draw()
    eval_set = outputs.set_of(preds, set_name, task_name)
    choice = choose(eval_set, ids=items, count=count)
    tasks = [outputs.task_of(eval_set, folder, task_name) for folder in preds]
    if one_task and len(set(tasks)) > 1:
        raise InputError(
            "predictions of several tasks in one figure",
            expected="one task",
            problems=[Problem("task", str(folder), task.name) for folder, task in zip(preds, tasks, strict=True)],
        )
    titles = outputs.titles_of(preds, tasks, names)
    records = [read_record(path) for path in results]
    progress = console.progress()
    found = [
        outputs.open_outputs(eval_set, task, folder, title, records, jobs=jobs or default_jobs(), progress=progress)
        for folder, task, title in zip(preds, tasks, titles, strict=True)
    ]
    outputs.check_records_used(records, found)
    return eval_set, found, choice


def _finish(made: "Figure", out: Path, *, as_json: bool) -> None:
    """Write a figure and say what it is."""
    from palette_bench.common.errors import printable
    from palette_bench.publish.figures.account import write

    paths = write(made, out)
    if as_json:
        console.print_json(made.described)
        return
    for path in paths:
        click.echo(path)
    click.echo()
    click.echo(printable(made.caption))
