"""How alike samples of one input are: histograms of pairwise MS-SSIM of several models (Figure 8 of the paper)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palette_bench.artifacts.record import MetricValue, RecordFile, ResultRecord
from palette_bench.common import schema
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.protocol.tasks import TASKS
from palette_bench.publish.figures.account import Figure, figure
from palette_bench.publish.figures.grid import WIDTH_INCHES
from palette_bench.publish.figures.page import Page, drawable, fitted
from palette_bench.score.recipes.catalogue import RECIPES, named
from palette_bench.score.recipes.diversity import MS_SSIM

DPI = 300.0
PANEL_HEIGHT_INCHES = 2.3
ONE_PANEL_INCHES = 3.6
LEFT_INCHES, RIGHT_INCHES, TOP_INCHES, BOTTOM_INCHES = 0.48, 0.1, 0.24, 0.37
LABEL_POINTS, TITLE_POINTS, LEGEND_POINTS, TICK_POINTS = 8.0, 9.0, 7.5, 7.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito: told apart by the colour-blind, too."""
DASHES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0.0, (5.0, 2.0)),
    (0.0, (2.0, 1.5)),
    (0.0, (6.0, 1.5, 1.5, 1.5)),
    (0.0, (1.0, 1.0)),
    (0.0, (8.0, 2.0)),
    (0.0, (6.0, 1.5, 1.5, 1.5, 1.5, 1.5)),
)
LEGEND_INCHES, LEGEND_ROW_INCHES = 0.1, 0.14
MEAN_LINE = 1.06
"""How high the lines of means are, in units of the highest bar; the legend is above them."""
TENTHS = 10
NEXT = "score several samples an item: palette-bench predict --samples K, then palette-bench score"


@dataclass(frozen=True, slots=True)
class _Curve:
    """One record in a panel."""

    title: str
    record: ResultRecord
    recipe: str
    metric: MetricValue
    counts: tuple[int, ...]

    @property
    def percents(self) -> list[float]:
        total = sum(self.counts)
        return [100.0 * count / total for count in self.counts]


def histogram(records: Sequence[RecordFile], names: Sequence[str] = (), *, width: float = WIDTH_INCHES) -> Figure:
    """A panel a task, in the order in which the tasks come; each record's pairs add up to 100 %.

    ``names`` are what the legend calls the records, in order; without them it is their names. Raises InputError for
    records without samples, of several sets, or whose numbers are of different recipes, and for a histogram that
    contradicts its own record; UsageError for names that do not fit or that are the same in one panel.
    """
    curves = _curves(records, _titles(records, names))
    panels = {task: [curve for curve in curves if curve.record.scored.task == task] for task in _tasks(curves)}
    _check_titles(panels)
    lowest = _lowest(curves)
    caption = _caption(panels)
    width = min(width, ONE_PANEL_INCHES * len(panels))
    pixels = round(width * DPI), round(PANEL_HEIGHT_INCHES * DPI)
    first = curves[0].record.scored
    with Page(*pixels, DPI) as page:
        across = width / len(panels)
        for number, (task, shown) in enumerate(panels.items()):
            _panel(page, number * across, across, task, shown, lowest)
        drawn = page.drawn(title=f"{first.set_id}, similarity of samples", caption=caption)
    return figure(
        "histogram",
        caption,
        drawn,
        {
            "set": {
                "id": first.set_id,
                "version": first.version,
                "status": first.status,
                "fingerprint": first.fingerprint,
                "data_digest": first.data_digest,
                "count": first.count,
                "size": first.size,
            },
            "tasks": [
                {"name": task, "fingerprint": shown[0].record.scored.task_fingerprint} for task, shown in panels.items()
            ],
            "items": f"all {first.count}",
            "records": [_facts(curve) for curve in curves],
            "width_inches": width,
        },
    )


def _titles(records: Sequence[RecordFile], names: Sequence[str]) -> list[str]:
    if names and len(names) != len(records):
        raise UsageError(
            "not one name for each record", expected=f"{len(records)} names", found=f"{len(names)}: {', '.join(names)}"
        )
    return list(names) or [of.record.name for of in records]


def _curves(records: Sequence[RecordFile], titles: Sequence[str]) -> list[_Curve]:
    curves: list[_Curve] = []
    problems: list[Problem] = []
    for of, title in zip(records, titles, strict=True):
        record = of.record
        found = {name: metric for name, metric in record.metrics.items() if _is_ms_ssim(name)}
        if record.histogram is None or len(found) != 1:
            problems.append(Problem("no histogram", str(of.path), f"{record.samples} samples an item"))
            continue
        name, metric = next(iter(found.items()))
        curve = _Curve(title, record, name, metric, record.histogram)
        if wrong := _contradiction(curve):
            problems.append(Problem("contradicts itself", str(of.path), wrong))
        else:
            curves.append(curve)
    if curves:
        problems += _unlike(records, curves)
    if problems:
        raise InputError("these records make no histogram", problems=problems, next_step=NEXT)
    return curves


def _is_ms_ssim(name: str) -> bool:
    # A record may hold recipes that this version does not know.
    recipe = RECIPES.get(name)
    return recipe is not None and recipe.output == MS_SSIM


def _contradiction(curve: _Curve) -> str | None:
    """What in a histogram cannot be true of its record: the number of pairs, or a mean that the bins do not allow."""
    record, counts = curve.record, curve.counts
    pairs = record.scored.count * (record.samples - 1)
    if not counts or min(counts) < 0 or sum(counts) != pairs:
        return f"{sum(counts)} pairs in the histogram, {pairs} among {record.samples} samples of each item"
    lowest = sum(number * count for number, count in enumerate(counts)) / (len(counts) * pairs)
    if not lowest - 1e-6 <= curve.metric.value <= lowest + 1.0 / len(counts) + 1e-6:
        return f"mean {curve.metric.value:.4f}, but the histogram's is {lowest:.4f} to {lowest + 1 / len(counts):.4f}"
    return None


def _unlike(records: Sequence[RecordFile], curves: Sequence[_Curve]) -> list[Problem]:
    """Why numbers of these records cannot stand in one figure."""
    problems: list[Problem] = []
    paths = {id(of.record): str(of.path) for of in records}
    first = curves[0]
    for curve in curves[1:]:
        here = paths[id(curve.record)]
        mine, other = curve.record.scored, first.record.scored
        if (mine.fingerprint, mine.data_digest) != (other.fingerprint, other.data_digest):
            problems.append(Problem("another set", here, f"{mine.set_id}, not {other.set_id} of the first"))
        if curve.metric.fingerprint != first.metric.fingerprint or len(curve.counts) != len(first.counts):
            problems.append(
                Problem(
                    "another recipe",
                    here,
                    f"{curve.recipe} in {len(curve.counts)} bins, not {first.recipe} in {len(first.counts)}",
                )
            )
    for task in _tasks(curves):
        found = {curve.record.scored.task_fingerprint for curve in curves if curve.record.scored.task == task}
        if len(found) > 1:
            problems.append(Problem("another definition", task, "its fingerprints differ between the records"))
    return problems


def _tasks(curves: Sequence[_Curve]) -> list[str]:
    return list(dict.fromkeys(curve.record.scored.task for curve in curves))


def _check_titles(panels: Mapping[str, Sequence[_Curve]]) -> None:
    problems: list[Problem] = []
    for task, curves in panels.items():
        titles = [curve.title for curve in curves]
        problems += [Problem("twice", title, task) for title in dict.fromkeys(titles) if titles.count(title) > 1]
        problems += [Problem("empty", "a name", task) for title in titles if not title.strip()]
        if len(curves) > len(COLOURS):
            problems.append(Problem("too many", task, f"{len(curves)} records, at most {len(COLOURS)} in a panel"))
    if problems:
        raise UsageError(
            "the curves of a panel cannot be told apart",
            problems=problems,
            next_step="name each record with --name, in their order",
        )


def _lowest(curves: Sequence[_Curve]) -> float:
    """Where the axis begins: the tenth at or below the lowest pair of all records."""
    bins = len(curves[0].counts)
    first = min(next(number for number, count in enumerate(curve.counts) if count) for curve in curves)
    return min(math.floor(TENTHS * first / bins) / TENTHS, 0.9)


def _panel(page: Page, left: float, width: float, task: str, curves: Sequence[_Curve], lowest: float) -> None:
    from matplotlib.lines import Line2D

    inches = PANEL_HEIGHT_INCHES - TOP_INCHES - BOTTOM_INCHES
    axes = page.axes(
        (left + LEFT_INCHES) * DPI,
        TOP_INCHES * DPI,
        (width - LEFT_INCHES - RIGHT_INCHES) * DPI,
        inches * DPI,
    )
    highest = MEAN_LINE * max(max(curve.percents) for curve in curves)
    handles = []
    for curve, colour, dashes in zip(curves, COLOURS, DASHES, strict=False):
        bins = len(curve.counts)
        edges = [number / bins for number in range(bins + 1)]
        axes.stairs(curve.percents, edges, fill=True, color=colour, alpha=0.3, linewidth=0)
        axes.stairs(curve.percents, edges, color=colour, linewidth=1.0)
        axes.vlines(curve.metric.value, 0.0, highest, color=colour, linewidth=1.0, linestyle=[dashes])
        handles.append(Line2D([], [], color=colour, linewidth=1.2, linestyle=dashes))
    axes.set_xlim(lowest, 1.0)
    axes.set_ylim(0.0, highest / (1.0 - (LEGEND_INCHES + LEGEND_ROW_INCHES * len(curves)) / inches))
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlabel("MS-SSIM of two samples of one input", fontsize=LABEL_POINTS, labelpad=2.0)
    axes.set_ylabel("pairs (%)", fontsize=LABEL_POINTS, labelpad=3.0)
    axes.tick_params(labelsize=TICK_POINTS, width=0.6, length=2.5, pad=2.0)
    axes.spines[["top", "right"]].set_visible(False)
    title = TASKS[task].title
    axes.set_title(title[:1].upper() + title[1:], fontsize=TITLE_POINTS, pad=4.0, parse_math=False)
    # A label that begins with an underscore would be left out, and one with dollars be read as mathematics.
    legend = axes.legend(
        handles, ["." for _ in handles], fontsize=LEGEND_POINTS, frameon=False, loc="upper left", handlelength=1.8
    )
    room = 0.62 * (width - LEFT_INCHES - RIGHT_INCHES) * DPI
    for text, curve in zip(legend.get_texts(), curves, strict=True):
        name = fitted(curve.title, room, points=LEGEND_POINTS, dpi=DPI, lines=1)
        text.set_parse_math(False)
        text.set_text(f"{name}, mean {_mean(curve)}")


def _mean(curve: _Curve) -> str:
    return f"{curve.metric.value:.{named(curve.recipe).digits}f}"


def _caption(panels: Mapping[str, Sequence[_Curve]]) -> str:
    first = next(iter(panels.values()))[0]
    scored = first.record.scored
    tasks = "; ".join(
        f"{TASKS[task].title}: "
        + ", ".join(
            f"{drawable(curve.title)} ({curve.record.samples} samples, mean {_mean(curve)})" for curve in curves
        )
        for task, curves in panels.items()
    )
    return (
        f"Distribution of pairwise multi-scale SSIM ({first.recipe}) of samples of one input, the first with each of "
        f"the rest, on all {scored.count:,} items of {scored.set_id} version {scored.version}. {tasks}. Vertical lines "
        "are means. A lower MS-SSIM means more diverse samples."
    )


def _facts(curve: _Curve) -> dict[str, object]:
    record = curve.record
    return {
        "shown_as": curve.title,
        "task": record.scored.task,
        "result_id": record.result_id,
        "model": None if record.origin is None else schema.dump(record.origin),
        "tree_sha256": record.tree_sha256,
        "predictions_digest": record.predictions_digest,
        "samples": record.samples,
        "recipe": curve.recipe,
        "recipe_fingerprint": curve.metric.fingerprint,
        "mean": curve.metric.value,
        "standard_error": curve.metric.standard_error,
        "counts": list(curve.counts),
        "comparable": not record.incomparable,
    }
